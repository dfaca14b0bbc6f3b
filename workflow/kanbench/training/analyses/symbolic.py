"""Symbolic fidelity: the formula that pykan's tools read off a trained network, against the target that is known.

The network is exported to pykan and sparsified, pruned and turned into symbols there, whatever method it came from.
Symbols are chosen edge by edge (`isolated`, as pykan does) and by the network's loss (`in_context`). The sparsifying
steps train the exported weights, so that a generated weight is free from then on; 0 `sparsify_steps` leave it as it is.
Either way weighs complexity by `weight_simple`: at 0.5 a unit of it has to halve the unexplained variance. (pykan's
default of 0.8 prefers a line that explains nothing to a parabola that explains 90 %.)
"""

from __future__ import annotations

import time

import numpy as np
import sympy
import torch
from torch import nn

from kanbench.tasks import feynman, taskinfo
from kanbench.tasks.task import evaluating
from kanbench.training.analysis import Skip
from kanbench.training.symbolic import equivalence, extraction, formula

DEFAULTS = {
    "library": ["x", "x^2", "x^3", "1/x", "sqrt", "exp", "log", "sin", "tanh"],
    "sparsify_steps": 4,
    "penalty": 0.003,
    "node_threshold": 0.01,
    "edge_threshold": 0.03,
    "refit_iterations": 60,
    "refit_evaluations": 100,
    "context_iterations": 8,
    "candidates": 4,
    "weight_simple": 0.5,
    "probe_points": 50,
    "train_points": 400,
    "check_points": 1000,
    "snap": 0.01,
    "snap_within": 0.05,
    "equal_within": 0.01,
    "simplify_seconds": 2.0,
    "curves": 12,
}
"""`penalty` and `weight_simple` are chosen on validation, on seeds of their own: workflow/config/tuning.csv."""
REQUIRES = ("to_pykan",)
DIGITS = 5
"""Significant digits of what is recorded for drawing."""


def finish(subject, settings) -> dict:
    """Return what the extraction gives by both ways of choosing symbols, and how the network fared on the way.

    Keys: `target`; `edges_before` and `edges_after` pruning; `network` with the R² against the truth of the trained,
    the sparsified and the pruned network; `isolated` and `in_context` (see `_judged`); `curves`, sampled edges with
    their fits; `seconds`. Whatever fails is a `reason` and leaves scores of 0.
    """
    target = Target(subject, settings)
    started = time.perf_counter()
    result = {"target": str(target.truth), "edges_before": None, "edges_after": None, "curves": []}
    result["network"] = {"r2_truth": target.r2(target.outputs, target.values), "r2_truth_pruned": None}
    ways = {"isolated": _isolated, "in_context": _in_context}
    try:
        exported = subject.capabilities["to_pykan"]()
    except (TypeError, ValueError, ImportError) as error:
        raise Skip(f"to_pykan: {error}") from error
    with extraction.contained() as folder:
        try:
            network, edges = _sparse(exported, target, settings, folder, result)
        except extraction.NoFormula as failure:
            return result | {way: _nothing(failure) for way in ways} | {"seconds": time.perf_counter() - started}
        result["curves"] = _curves(network, edges, target, settings["curves"])
        for way, choose in ways.items():
            result[way] = _judged(extraction.duplicate(network), edges, choose, target, settings)
    return result | {"seconds": time.perf_counter() - started}


class Target:
    """The known formula of a task, its points in the network's inputs, and what the trained network says of them."""

    def __init__(self, subject, settings):
        name = subject.spec["task"]["settings"].get("formula")
        if name not in taskinfo.formulas():
            raise Skip(f"the task {subject.spec['task']['name']} has no known formula")
        declared, splits = taskinfo.formulas()[name], subject.task.splits
        self.symbols = [sympy.Symbol(variable, real=True) for variable in declared["variables"]]
        self.truth = sympy.sympify(declared["expression"], locals={symbol.name: symbol for symbol in self.symbols})
        self.bounds = feynman.ranges(declared)
        low, span = self.bounds[:, 0], np.ptp(self.bounds, axis=1)
        scaled = subject.spec["task"]["settings"].get("input_scaling") == "unit"
        # The network's inputs as expressions of the formula's variables.
        self.inputs = [
            2 * (symbol - sympy.nsimplify(start)) / sympy.nsimplify(width) - 1 if scaled else symbol
            for symbol, start, width in zip(self.symbols, low, span, strict=True)
        ]
        self.rng = np.random.default_rng(torch.randint(2**31, (4,), generator=subject.generator("symbolic")).tolist())
        train, test = splits["train"], splits["test"]
        chosen = self.rng.permutation(len(train[0]))[: settings["train_points"]]
        self.train = tuple(part[chosen].cpu().double() for part in train)
        self.probe = self.train[0][: settings["probe_points"]]
        in_units = (lambda points: low + span * (points + 1) / 2) if scaled else (lambda points: points)
        self.points, self.validation_points = (
            in_units(splits[split][0].cpu().double().numpy()) for split in ("test", "validation")
        )
        self.values, self.validation_values = (
            splits[split][1].cpu().double().numpy()[:, 0] for split in ("test", "validation")
        )
        with torch.no_grad(), evaluating(subject.model):
            self.outputs = subject.model(test[0]).cpu().double().numpy()[:, 0]
        self.test = test[0].cpu().double()

    @staticmethod
    def r2(found: np.ndarray, expected: np.ndarray) -> float | None:
        """Return 1 - the unexplained share of the variance; None where `found` is not finite or nothing varies."""
        spread = float(np.sum((expected - expected.mean()) ** 2))
        value = 1 - float(np.sum((found - expected) ** 2)) / spread if spread else np.nan
        return value if np.isfinite(value) else None


def _sparse(exported: nn.Module, target: Target, settings, folder: str, result: dict):
    with extraction.stage("export"):
        network = extraction.private_copy(exported, target.train[0], folder)
    result["edges_before"] = len(extraction.live_edges(network))
    network = extraction.sparsify(network, *target.train, settings)
    places = extraction.live_edges(network)
    result["edges_after"] = len(places)
    with torch.no_grad():
        result["network"]["r2_truth_pruned"] = target.r2(network(target.test).numpy()[:, 0], target.values)
    with extraction.stage("suggest"), torch.no_grad():
        network(target.probe)
        return network, [
            extraction.suggest(network, place, settings["library"], settings["weight_simple"]) for place in places
        ]


def _isolated(network, edges, target: Target, settings):
    return extraction.choose_isolated(network, edges)


def _in_context(network, edges, target: Target, settings):
    return extraction.choose_in_context(network, edges, *target.train, target.probe, settings)


def _judged(network: nn.Module, edges, choose, target: Target, settings) -> dict:
    """Return one way's formula and what it is worth.

    Keys: `status` and `reason`; `formula` (four digits) and `snapped` (numbers replaced by exact ones, unless that
    moves a value by more than `snap_within` standard deviations); `equivalence` of the latter
    (`equivalence.equivalence`) and `exact`; `r2_truth`, `r2_network` on the test split, `r2_validation` on the one that
    settings are chosen on, and the scores made of them;
    errors `inside` and `outside` the training range in standard deviations of the target, and `equal_*`, whether the
    largest is within `equal_within`; `operations` of the snapped formula; `edges` as [layer, input, output, symbol,
    R² of its fit], and these R² in short; `seconds`.
    """
    started = time.perf_counter()
    try:
        with extraction.stage("choice of symbols"):
            edges = choose(network, edges, target, settings)
        with extraction.stage("refit of the formula"):
            extraction.refit_symbols(network, *target.train, settings["refit_evaluations"])
        with extraction.stage("formula"):
            found, snapped = _written_out(network, target, settings)
    except extraction.NoFormula as failure:
        return _nothing(failure) | {"seconds": time.perf_counter() - started}
    scale, within = float(target.values.std()) or 1.0, settings["equal_within"]
    test = formula.values(found, target.symbols, target.points)
    validation = formula.values(found, target.symbols, target.validation_points)
    inside = equivalence.inside(target.bounds, settings["check_points"], target.rng)
    outside = equivalence.outside(target.bounds, settings["check_points"], target.rng)
    if not _within(equivalence.errors(snapped, found, target.symbols, inside, scale)["max"], settings["snap_within"]):
        snapped = formula.rounded(found)  # exact numbers nearby are a coincidence
    shown = (snapped, target.truth, target.symbols)
    verdict = equivalence.equivalence(*shown, inside, settings["simplify_seconds"])
    errors = {
        "inside": equivalence.errors(found, *shown[1:], inside, scale),
        "outside": equivalence.errors(found, *shown[1:], outside, scale),
    }
    r2 = [edge.r2 for edge in edges]
    return {
        "status": "ok",
        "reason": None,
        "formula": str(formula.rounded(found)),
        "snapped": str(snapped),
        "equivalence": verdict,
        "exact": verdict == "exact",
        **_scores(
            truth=target.r2(test, target.values),
            network=target.r2(test, target.outputs),
            validation=target.r2(validation, target.validation_values),
        ),
        **errors,
        **{f"equal_{key}": _within(error["max"], within) for key, error in errors.items()},
        "operations": formula.operations(snapped),
        "edges": [[*edge.place, edge.symbol, _short(edge.r2)] for edge in edges],
        "edge_r2_median": float(np.median(r2)),
        "edge_r2_least": min(r2),
        "seconds": time.perf_counter() - started,
    }


def _written_out(network: nn.Module, target: Target, settings) -> tuple[sympy.Expr, sympy.Expr]:
    """Return the formula, multiplied out, and the same with exact numbers; powers of powers can grow without end."""
    snapped, limit = None, 5 * settings["simplify_seconds"]
    with equivalence.time_limit(limit):
        found = formula.expand(extraction.expression(network, target.inputs))
        snapped = formula.snap(found, settings["snap"])
    if snapped is None:
        raise extraction.NoFormula(f"formula: not multiplied out within {limit:g} s")
    return found, snapped


def _within(error: float | None, limit: float) -> bool:
    return error is not None and error <= limit


def _scores(**r2: float | None) -> dict:
    """Return each R² and its score: 0 where it is negative or missing, so that every run has one."""
    scores = {f"score_{name}": max(value, 0.0) if value is not None else 0.0 for name, value in r2.items()}
    return {**{f"r2_{name}": value for name, value in r2.items()}, **scores}


def _nothing(failure: extraction.NoFormula) -> dict:
    return {
        "status": "no formula",
        "reason": str(failure),
        "formula": None,
        "equivalence": "different",
        "exact": False,
        "equal_inside": False,
        "equal_outside": False,
        **_scores(truth=None, network=None, validation=None),
    }


def _curves(network: nn.Module, edges, target: Target, most: int) -> list[dict]:
    """Return sampled edges: place, points `t`, learned values, and those of the symbol that fits the edge best."""
    with torch.no_grad():
        network(target.probe)
    curves = []
    for edge in edges[:most]:
        layer, source, output = edge.place
        order = torch.argsort(network.acts[layer][:, source])[:: max(1, len(target.probe) // 25)]
        points = network.acts[layer][order, source]
        learned = network.spline_postacts[layer][order, output, source]
        argument = sympy.Symbol("t", real=True)
        fitted = formula.apply(edge.symbol, edge.fits[edge.symbol][1], argument)
        fit = formula.values(fitted, [argument], points.numpy()[:, None])
        curves.append(
            {
                "edge": list(edge.place),
                "symbol": edge.symbol,
                "r2": _short(edge.r2),
                "t": [_short(value) for value in points.tolist()],
                "learned": [_short(value) for value in learned.tolist()],
                "fit": [_short(value) for value in fit.tolist()],
            }
        )
    return curves


def _short(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
