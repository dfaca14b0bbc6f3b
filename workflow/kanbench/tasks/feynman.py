"""Function fitting on closed-form targets (Udrescu and Tegmark 2020), on uniformly drawn points."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy
import torch
from torch import Tensor, nn

from kanbench.base import seeds
from kanbench.tasks import taskinfo
from kanbench.tasks.task import SPLITS, Problem, TensorTask, fingerprint

TRIGONOMETRIC = (sympy.sin, sympy.cos, sympy.tan, sympy.asin, sympy.acos, sympy.atan)
EXPONENTIAL = (sympy.exp, sympy.log, sympy.tanh)


def _expression(formula: Mapping[str, Any]) -> tuple[list[sympy.Symbol], sympy.Expr]:
    """Return the variables, in the order of the inputs, and the expression."""
    return _parse(formula["expression"], tuple(formula["variables"]))


@functools.cache
def _parse(expression: str, names: tuple[str, ...]) -> tuple[list[sympy.Symbol], sympy.Expr]:
    symbols = [sympy.Symbol(name) for name in names]
    return symbols, sympy.sympify(expression, locals={symbol.name: symbol for symbol in symbols})


@functools.cache
def _function(expression: str, names: tuple[str, ...]) -> Callable[..., Any]:
    return sympy.lambdify(*_parse(expression, names), modules="numpy")


@functools.cache
def _kind(expression: sympy.Expr) -> str:
    if expression.has(*TRIGONOMETRIC):
        return "trigonometric"
    if expression.has(*EXPONENTIAL):
        return "exponential"
    powers = [power for power in expression.atoms(sympy.Pow) if power.base.free_symbols]
    if any(not power.exp.is_integer for power in powers):
        return "root"
    return "quotient" if any(power.exp.is_negative for power in powers) else "product"


def kind(formula: Mapping[str, Any]) -> str:
    """Return what sets a formula apart: `trigonometric`, `exponential`, `root`, `quotient` or `product`.

    The first of these that its expression contains; a product has only sums, products and whole powers of variables.
    """
    return _kind(_expression(formula)[1])


def target(formula: Mapping[str, Any], points: np.ndarray) -> np.ndarray:
    """Return the values, shape `(points,)`, of a formula at `points`, shape `(points, variables)`, in float64."""
    values = _function(formula["expression"], tuple(formula["variables"]))(*points.T)
    return np.broadcast_to(np.asarray(values, dtype=np.float64), len(points)).copy()


def ranges(formula: Mapping[str, Any]) -> np.ndarray:
    """Return lower and upper bounds of the variables, shape `(variables, 2)`."""
    return np.array([[float(sympy.sympify(bound)) for bound in pair] for pair in formula["variables"].values()])


def regression_metrics(scale: float):
    """Return the metric function: rmse, mae, and nrmse, which is rmse over `scale` (deviation of training targets)."""

    def metrics(outputs: Tensor, targets: Tensor) -> dict[str, float]:
        error = (outputs.double() - targets.double()).cpu()
        rmse = error.square().mean().sqrt().item()
        return {"rmse": rmse, "mae": error.abs().mean().item(), "nrmse": rmse / scale}

    return metrics


def load(info, settings, *, seed, dtype, device, data_root=None) -> TensorTask:
    """Draw the three splits of a formula for one seed."""
    formula = taskinfo.formulas()[settings["formula"]]
    bounds = ranges(formula)
    low, span = bounds[:, 0], np.ptp(bounds, axis=1)
    splits, raw = {}, []
    for split in SPLITS:
        unit = seeds.numpy_generator(seed, f"points/{split}").random((settings[f"{split}_samples"], len(bounds)))
        points = low + span * unit
        values = target(formula, points)
        if split == "train":
            scale = float(values.std())
            noise = seeds.numpy_generator(seed, "noise").standard_normal(len(values))
            values = values + settings["noise"] * scale * noise
        inputs = 2.0 * unit - 1.0 if settings["input_scaling"] == "unit" else points
        pair = (torch.as_tensor(inputs).to(device, dtype), torch.as_tensor(values[:, None]).to(device, dtype))
        splits[split] = pair
        raw += [torch.as_tensor(points), torch.as_tensor(values)]
    metrics = regression_metrics(scale or 1.0)
    data = {"name": f"feynman {settings['formula']}", "fingerprint": fingerprint(*raw), "canonical": True}
    data["kind"] = kind(formula)
    problem = Problem(info.family, inputs=len(bounds), outputs=1)
    return TensorTask(info, problem, splits, data, nn.functional.mse_loss, metrics, regression_floors(splits, metrics))


def regression_floors(splits: Mapping[str, tuple[Tensor, Tensor]], metrics) -> dict[str, dict[str, float]]:
    """Return the test metrics of the best constant and the best affine fit of the training split."""
    inputs, targets = (part.double().cpu() for part in splits["train"])
    test_inputs, test_targets = (part.double().cpu() for part in splits["test"])
    design = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=torch.float64)], dim=1)
    weights = torch.linalg.lstsq(design, targets, driver="gelsd").solution
    affine = torch.cat([test_inputs, torch.ones(len(test_inputs), 1, dtype=torch.float64)], dim=1) @ weights
    return {
        "constant": metrics(targets.mean().expand_as(test_targets), test_targets),
        "affine": metrics(affine, test_targets),
    }
