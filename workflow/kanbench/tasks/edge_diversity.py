"""A KAN as the target, whose edges share few functions or have one each: where does generating functions break?

The target is y(x) = 1/H Σ_h ψ_h(1/N Σ_i φ_hi(x_i)) with N inputs and H hidden nodes. Its N·H + H edges take the
`distinct` functions in turn, so that 1 is a single function everywhere and N·H + H a different one for each edge.
Every function is bounded by 1 on [-1, 1] and drawn from the run's seed:

    smooth         a random cubic in Legendre form, scaled to a maximum of 1
    oscillating    sin(a t + b), a in [6, 15]
    discontinuous  a random step function with three jumps
    peaked         2 exp(-((t - c)/w)²) - 1, w in [0.03, 0.1]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from kanbench.base import seeds
from kanbench.tasks.feynman import regression_floors, regression_metrics
from kanbench.tasks.task import SPLITS, Problem, TensorTask, fingerprint

Function = Callable[[np.ndarray], np.ndarray]


def _smooth(random: np.random.Generator) -> Function:
    series = np.polynomial.Legendre(random.standard_normal(4))
    turning = series.deriv().roots()
    inside = turning[np.isreal(turning) & (np.abs(turning) < 1)].real
    scale = np.abs(series(np.concatenate([[-1.0, 1.0], inside]))).max()
    return lambda t: series(t) / scale


def _oscillating(random: np.random.Generator) -> Function:
    frequency, phase = random.uniform(6, 15), random.uniform(0, 2 * np.pi)
    return lambda t: np.sin(frequency * t + phase)


def _discontinuous(random: np.random.Generator) -> Function:
    jumps, levels = np.sort(random.uniform(-0.8, 0.8, 3)), random.uniform(-1, 1, 4)
    return lambda t: levels[np.searchsorted(jumps, t)]


def _peaked(random: np.random.Generator) -> Function:
    centre, width = random.uniform(-0.8, 0.8), random.uniform(0.03, 0.1)
    return lambda t: 2 * np.exp(-(((t - centre) / width) ** 2)) - 1


SHAPES = {"smooth": _smooth, "oscillating": _oscillating, "discontinuous": _discontinuous, "peaked": _peaked}


def edge_functions(shape: str, distinct: int, random: np.random.Generator) -> list[Function]:
    """Return `distinct` functions from [-1, 1] to [-1, 1] of one shape, or of the four shapes in turn for `mixed`."""
    makers = list(SHAPES.values()) if shape == "mixed" else [SHAPES[shape]]
    return [makers[position % len(makers)](random) for position in range(distinct)]


def target(x: np.ndarray, functions: list[Function], hidden: int) -> np.ndarray:
    """Return the target's values, shape `(points,)`, at `x`, shape `(points, inputs)`."""
    inputs, total = x.shape[1], np.zeros(len(x))
    edges = iter(range(inputs * hidden + hidden))
    for _ in range(hidden):
        inner = sum(functions[next(edges) % len(functions)](x[:, i]) for i in range(inputs)) / inputs
        total += functions[next(edges) % len(functions)](inner)
    return total / hidden


def load(info, settings: Mapping[str, Any], *, seed, dtype, device, data_root=None) -> TensorTask:
    """Draw the target network and the three splits for one seed."""
    functions = edge_functions(settings["shape"], settings["distinct"], seeds.numpy_generator(seed, "edge functions"))
    splits, raw = {}, []
    for split in SPLITS:
        shape = (settings[f"{split}_samples"], settings["inputs"])
        points = seeds.numpy_generator(seed, f"points/{split}").uniform(-1, 1, shape)
        values = target(points, functions, settings["hidden"])
        splits[split] = tuple(torch.as_tensor(part).to(device, dtype) for part in (points, values[:, None]))
        raw += [torch.as_tensor(points), torch.as_tensor(values)]
    metrics = regression_metrics(float(splits["train"][1].double().std(unbiased=False)) or 1.0)
    name = f"{settings['distinct']} {settings['shape']} edge functions"
    data = {"name": name, "fingerprint": fingerprint(*raw), "canonical": True, "kind": settings["shape"]}
    problem = Problem(info.family, inputs=settings["inputs"], outputs=1)
    floors = regression_floors(splits, metrics)
    return TensorTask(info, problem, splits, data, nn.functional.mse_loss, metrics, floors)
