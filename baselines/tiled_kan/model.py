"""A KAN (Liu et al. 2024, liu2024) with dense weights, evaluated by the tiled engine of the package `metakan`."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

import metakan
from metakan import KAN, MetaKAN
from metakan.engine.memory import Layer, layer_memory
from metakan.misfit import feature_moments, misfit

MIXED = {"meta_activation": "none", "hidden_dim": 0}
GENERATED: dict[str, dict[str, object]] = {
    "curve": {"hidden_dim": 16},
    "curve with amplitudes": {"hidden_dim": 16, "amplitude": True},
    "curve with a remainder of rank 1": {"hidden_dim": 16, "remainder_rank": 1},
    "sum of two curves": {"hidden_dim": 16, "prompt_dim": 2, "separate": True},
    "ReLU, three numbers": {"hidden_dim": 16, "prompt_dim": 3},
    "one function": {**MIXED, "prompt_dim": 1},
    **{f"{count} functions mixed": {**MIXED, "prompt_dim": count} for count in (2, 3, 4)},
    "2 functions mixed with a remainder of rank 1": {**MIXED, "prompt_dim": 2, "remainder_rank": 1},
}
"""Forms of a generated KAN, as settings of `metakan.MetaKAN`, with a meta-learner a layer each."""


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    options = {name: settings[name] for name in ("grid_size", "spline_order", "basis", "mode")}
    return nn.Sequential(nn.Flatten(), KAN(problem.width(settings), grid_range=problem.grid_range, **options))


def edge_functions(model: nn.Module, layer: int) -> Callable[[Tensor], Tensor]:
    """Return the edge functions of a layer: points (n,) -> values (outputs, inputs, n)."""
    return torch.no_grad()(model[1].layers[layer].edge_functions)


def dense_copy(model: nn.Module) -> tuple[nn.Module, list[Tensor]]:
    """Return a copy of the network and its edge numbers (outputs, inputs, n_b), to be changed."""
    dense = copy.deepcopy(model)
    return dense, [layer.edges.weight for layer in dense[1].layers]


def generated_forms(
    model: nn.Module, inputs: Tensor
) -> dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Tensor]]]:
    """Return by name, for forms of a generated KAN of these widths, what makes a new network and what compares one.

    The second function maps a network of the form to the relative squared error of its edge functions, weighted by what
    they see of `inputs` (batch, *input_shape), differentiably; see `metakan.misfit`. Empty where edge functions are not
    linear in their numbers.
    """
    dense = model[1]
    if not dense.basis.linear:
        return {}
    moments = feature_moments(dense, inputs.flatten(1))

    def start(settings: dict[str, object]) -> nn.Module:
        network = MetaKAN(dense.width, basis=dense.basis, num_clusters=len(dense.width) - 1, **settings)
        return nn.Sequential(nn.Flatten(), network.to(moments[0]))

    return {
        name: (lambda settings=settings: start(settings), lambda network: misfit(network[1], dense, moments))
        for name, settings in GENERATED.items()
    }


def to_pykan(model: nn.Module) -> nn.Module:
    """Return the same function as a `kan.KAN`, its symbolic branch enabled; for the basis "bspline"."""
    return metakan.to_pykan(model[1])


def coefficients(model: nn.Module) -> list[Tensor]:
    """Return the numbers of each layer's edge functions, free of its width: (edges, n_b)."""
    return [metakan.unit_numbers(layer.numbers(), layer.basis) for layer in model[1].layers]


def describe(model: nn.Module) -> dict[str, str | bool]:
    """Return how the engine evaluated the network."""
    return {"mode": model[1].mode_used, "cpu_kernels": metakan.native.active()}


def memory_terms(problem, settings, batch_size: int) -> dict | None:
    """Return the terms of the memory model, float32 (metakan/MEMORY.md); None for a basis without one."""
    if settings["basis"] != "bspline":
        return None
    width, splines = problem.width(settings), settings["grid_size"] + settings["spline_order"]
    layers = [
        Layer(inputs, outputs, batch_size, splines, first=position == 0, spline_order=settings["spline_order"])
        for position, (inputs, outputs) in enumerate(zip(width[:-1], width[1:], strict=True))
    ]
    return {
        "tensors": [layer.parameter for layer in layers],
        "buffers": 0,
        "layers": [layer_memory(layer, settings["mode"]) for layer in layers],
    }
