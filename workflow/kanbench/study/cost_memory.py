"""Estimates the peak memory of a training step of planned runs, beside the hours of `kanbench.study.cost`.

The closed form of the baseline (`memory_terms`, see `kanbench.measurement.memory_model`) where it holds: Adam, first
derivatives.
Elsewhere a rough sum, corrected by the peaks of records as times are:

    bytes = 4 · parameters · STATES + 4 · samples · (basis values of the inputs + outputs) · (1 + 2 · directions)

The data set, which a run keeps on its device, and what CUDA itself takes are apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kanbench.base.errors import KanbenchError
from kanbench.baselines import build
from kanbench.measurement import memory_model
from kanbench.study import cost
from kanbench.tasks import taskinfo
from kanbench.tasks.task import Problem

STATES = {"adam": 4, "adamw": 4, "sgd": 2, "lbfgs": 26}
"""Copies of the parameters that training keeps: with gradients, moments, and L-BFGS's ten pairs and work vectors."""
COPIES = 4
"""Copies of the basis values that autograd keeps of a sample, roughly."""
OTHER_DEVICE = cost.LEVELS.index("its method on another device")
"""Counts as records too: the simulated peak of a processor is nearly that of a GPU."""
CLOSED_FORM, RECORDS, GUESS = "closed form", "records", "guess"


def model_bytes(spec: Mapping[str, Any]) -> float:
    """Return the rough sum for a spec, uncorrected."""
    found = cost.size(spec)
    states = 4.0 * found.parameters * STATES[spec["training"]["optimiser"]]
    values = sum(
        rows * (COPIES * found.numbers * inputs + edges / max(1, inputs)) for edges, rows, inputs in found.layers
    )
    return states + 4.0 * found.samples * values * (1 + 2 * found.directions)


def recorded_bytes(record: Mapping[str, Any]) -> float | None:
    """Return the peak of a record: measured on its device, or simulated."""
    memory = record.get("memory") or {}
    return memory.get("peak_allocated_bytes") or memory.get("simulated_peak_bytes")


def estimator(
    records: Iterable[Mapping[str, Any]], methods: Mapping[str, Any]
) -> Callable[[Mapping[str, Any]], tuple[float, str] | None]:
    """Return the function from a spec to its peak in bytes and what that rests on."""
    calibration = cost.Calibration(records, model_bytes, recorded_bytes)

    def peak(spec: Mapping[str, Any]) -> tuple[float, str] | None:
        if spec["training"]["optimiser"] not in STATES:
            return None  # a method that trains itself, of whose memory nothing is known
        found = calibration.estimate(spec)
        if found.level in cost.MEASURED:
            return found.value, RECORDS
        exact = closed_form(spec, methods[spec["method"]["name"]])
        if exact is not None:
            return exact, CLOSED_FORM
        return found.value, RECORDS if found.level in (*cost.SCALED, OTHER_DEVICE) else GUESS

    return peak


def closed_form(spec: Mapping[str, Any], method: Any) -> float | None:
    """Return the closed form of a baseline for a spec; None where it has none or where none holds."""
    info = taskinfo.discover()[spec["task"]["name"]]
    several = "members" in spec["task"]["settings"]
    if info.family == "pde" or several or spec["dtype"] != "float32" or method.skip_reason(info.family):
        return None
    try:
        terms_of = build.capability(build.load_model_module(method.baseline), "memory_terms")
    except KanbenchError:
        return None
    if terms_of is None:
        return None
    inputs, outputs, (channels, side) = cost.features(info, spec["task"]["settings"])
    shape = (channels, side, side) if channels else ()
    problem, samples = Problem(info.family, inputs, outputs, shape), cost.size(spec).samples
    terms = terms_of(problem, build.read_only(spec["method"]["settings"]), samples)
    optimiser, device = spec["training"]["optimiser"], spec["device"].partition(":")[0]
    found = terms and memory_model.predict(terms, problem, samples, optimiser=optimiser, device=device)
    return found["total"] if found else None
