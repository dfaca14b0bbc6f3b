"""Turns one spec into one record: builds, measures, trains, evaluates.

Run one by hand:  python -m kanbench train --spec '<json>' --output record.json
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from kanbench import analysis, artifact, baselines, build, loop, measure, provenance, record, seeds, taskinfo
from kanbench import task as tasks
from kanbench.errors import Unavailable
from kanbench.locks import device_lock
from kanbench.plan import code_of
from kanbench.spec import run_name


def run(
    spec: Mapping[str, Any], *, data_root: Path | None = None, exclusive: bool = False, runs: Path = Path("runs")
) -> dict[str, Any]:
    """Return the record of a spec.

    Args:
        spec: Everything resolved, as `kanbench.plan` writes it.
        data_root: Folder of the data sets, where the task needs one.
        exclusive: Keep every other run off the device, so that times can be compared.
        runs: Folder below which runs leave their records, and their weights where the spec says `keep`.

    Outcomes of the training (divergence, out of memory, time-out, an absent package) are records too.
    Programming errors and missing data are raised.
    """
    method, _, result = lookup(spec)
    trained = None if result["status"] == "skipped" else _attempt(spec, method, result, data_root, exclusive, runs)
    if "keep" in spec:
        result["artifacts"] = artifact.write(trained, result, artifact.path(runs, spec))
    return result


def _attempt(
    spec: Mapping[str, Any], method: Any, result: dict[str, Any], data_root: Path | None, exclusive: bool, runs: Path
) -> torch.nn.Module | None:
    """Fill in `result` and return the trained model; None where the training did not come to its end."""
    device = torch.device(spec["device"])
    if device.type == "cuda" and not torch.cuda.is_available():
        result.update(status="skipped", reason=f"the spec asks for {device}, and torch finds no GPU here")
        return None
    result["environment"] = provenance.environment(device)
    trained = None
    with device_lock(device, exclusive):
        try:
            trained = _train(spec, method, result, device, data_root, runs)
        except Unavailable as error:
            result.update(status="skipped", reason=str(error))
        except loop.Diverged as error:
            result.update(status="diverged", reason=str(error))
        except loop.TimedOut as error:
            result.update(status="timed_out", reason=str(error))
        except (torch.OutOfMemoryError, MemoryError) as error:
            result.update(status="out_of_memory", reason=str(error).splitlines()[0] if str(error) else "out of memory")
    result["time"]["exclusive"] = exclusive
    return trained


def lookup(spec: Mapping[str, Any]) -> tuple[Any, taskinfo.TaskInfo, dict[str, Any]]:
    """Return method, task and blank record; the record says `skipped` where the method declines the family."""
    methods = {m.name: m for b in baselines.discover().values() for m in b.methods.values()}
    method, info = methods[spec["method"]["name"]], taskinfo.discover()[spec["task"]["name"]]
    result = record.blank(spec, label=method.label, family=info.family, metric=info.metric, goal=info.goal)
    result["code"] = provenance.code(code_of(spec, methods, taskinfo.discover()))
    reason = method.skip_reason(info.family)
    if reason:
        result.update(status="skipped", reason=reason)
    return method, info, result


def _train(
    spec: Mapping[str, Any], method: Any, result: dict[str, Any], device: torch.device, data_root: Any, runs: Path
) -> torch.nn.Module:
    """Fill `result` as far as the run gets, so that a run that ends early keeps what it has shown."""
    seed, training, dtype = spec["seed"], spec["training"], getattr(torch, spec["dtype"])
    task = tasks.load(
        spec["task"]["name"], spec["task"]["settings"], seed=seed, dtype=dtype, device=device, data_root=data_root
    )
    result.update(data=dict(task.data), floors=task.floors(), selection=dict(task.selection))
    module = build.load_model_module(method.baseline)
    adapt = _adaptation(module, spec, runs)

    def trainee() -> loop.Trainee:
        with seeds.seeded(seed, "initialisation"):
            model = task.assemble(
                lambda problem: build.build(method, spec["method"]["settings"], problem),
                build.capability(module, "share"),
            ).to(device=device, dtype=dtype)
            adapt(model)
        groups = build.parameter_groups(module, model, spec["method"]["settings"])
        optimiser = loop.make_optimiser(groups, training)
        hooks = {name: build.capability(module, name) for name in ("penalty", "after_step")}
        return loop.Trainee(model, task, optimiser, **hooks)

    subject = trainee()
    groups = build.parameter_groups(module, subject.model, spec["method"]["settings"])
    result["parameters"] = measure.count_parameters(subject.model, groups)
    describe = build.capability(module, "describe")
    result["memory"] = _memory(subject, spec, device)
    result["method_info"] = dict(describe(task.networks(subject.model)[0])) if describe else {}
    subject = trainee()
    analyses = analysis.Analyses(module, subject.model, task, spec, device)
    session = loop.Training(subject, training, seeds.generator(seed, "order", device), device, analyses.observe)
    started = time.perf_counter()
    try:
        session.run()
    finally:
        result["time"].update(train_seconds=time.perf_counter() - started, step_seconds=session.timer.summary())
        result.update(curve=session.history.curve, analyses=analyses.results)
    history = session.history
    result["metrics"] = {
        "last": history.last,
        "selected": history.selected,
        "legacy_best_on_test": history.legacy,
    }
    analyses.finish()
    result["status"] = "ok"
    return subject.model


def _adaptation(module: Any, spec: Mapping[str, Any], runs: Path) -> Callable[[torch.nn.Module], None]:
    """Return what makes of a new model the one that training starts from, given what another run learned."""
    source = spec.get("source")
    if source is None:
        return lambda model: None
    adapt = build.capability(module, "adapt")
    if adapt is None:
        raise Unavailable(f"no adapt: {spec['method']['name']} cannot start from another run")
    state = None
    if source["spec"] is not None:
        state, status = artifact.read(runs, source["spec"])
        if status != "ok":
            raise Unavailable(f"the run to start from is {status}: {run_name(source['spec'])}")
    return lambda model: adapt(model, state, source["adapt"])


def _memory(subject: loop.Trainee, spec: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the memory of a training step and of an evaluation, on a model that is thrown away afterwards."""
    generator = seeds.generator(spec["seed"], "measurement", device)
    batch = next(subject.task.batches(spec["training"]["batch_size"], generator))
    inputs = [part for part in tree_leaves(batch) if torch.is_tensor(part)]
    result = {
        "saved_for_backward_bytes": measure.saved_for_backward(subject.model, lambda: subject.loss(batch), inputs)
    }
    subject.step(batch)  # creates the optimiser's state
    allocated = reserved = evaluated = None
    if device.type == "cuda":
        allocated, reserved = measure.cuda_peak(lambda: subject.step(batch), device)
        evaluated, _ = measure.cuda_peak(lambda: subject.task.evaluate(subject.model, "validation"), device)
    simulated = measure.simulated_peak(subject.model, subject.optimiser, lambda: subject.step(batch), inputs)
    return {
        "peak_allocated_bytes": allocated,
        "peak_reserved_bytes": reserved,
        "eval_peak_allocated_bytes": evaluated,
        "resident_data_bytes": subject.task.resident_bytes(),
        **result,
        **simulated,
    }
