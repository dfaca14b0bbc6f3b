"""FastKAN (Li 2024, li2024): Gaussian radial basis functions in the place of B-splines, in our own formulation.

    y_o = Σ_i Σ_c w_oic · exp(-((LN(x)_i - m_c) / h)²) + Σ_i v_oi · SiLU(x_i) + b_o

LN is a layer normalisation of the layer's input; the m_c are equally spaced over [-2, 2] and h is their distance.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

NORMALISED_RANGE = (-2.0, 2.0)
"""Where the centres are if the input is normalised; otherwise they are on the grid range of the problem."""
INITIAL_DEVIATION = 0.1


class FastKANLayer(nn.Module):
    """Maps (batch, inputs) to (batch, outputs) by `count` radial functions an input, and SiLU."""

    def __init__(self, inputs: int, outputs: int, count: int, normalise: bool, grid_range):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.norm = nn.LayerNorm(inputs) if normalise else nn.Identity()
        low, high = NORMALISED_RANGE if normalise else grid_range
        self.register_buffer("centres", torch.linspace(low, high, count))
        self.inverse_width = (count - 1) / (high - low)
        self.radial_weight = nn.Parameter(torch.empty(outputs, inputs * count))
        nn.init.trunc_normal_(self.radial_weight, std=INITIAL_DEVIATION)
        self.base = nn.Linear(inputs, outputs)

    def radial(self, points: Tensor) -> Tensor:
        """Return the radial functions at `points`, along a new last dimension."""
        return torch.exp(-(((points.unsqueeze(-1) - self.centres) * self.inverse_width) ** 2))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.radial(self.norm(x)).flatten(1), self.radial_weight) + self.base(
            functional.silu(x)
        )


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    count = settings["grid_size"] + settings["spline_order"]
    layers = [
        FastKANLayer(inputs, outputs, count, normalised(inputs, at, settings), problem.grid_range)
        for at, (inputs, outputs) in enumerate(pairwise(problem.width(settings)))
    ]
    return nn.Sequential(nn.Flatten(), *layers)


def normalised(inputs: int, position: int, settings) -> bool:
    """Tell whether a layer normalises its input; a single number cannot be, it would always be 0."""
    wanted = {"all": True, "hidden": position > 0, "none": False}[settings["layer_norm"]]
    return wanted and inputs > 1


def edge_functions(model: nn.Module, layer: int) -> Callable[[Tensor], Tensor]:
    """Return what an edge adds to its output, as a function of the layer's normalised input.

    Points (n,) -> values (outputs, inputs, n). The base function, which sees the input before the norm, is part of it
    only where there is no norm.
    """
    edges = model[layer + 1]

    @torch.no_grad()
    def evaluate(points: Tensor) -> Tensor:
        values = edges.radial_weight.view(edges.outputs, edges.inputs, -1) @ edges.radial(points).T
        if isinstance(edges.norm, nn.Identity):
            values = values + edges.base.weight.unsqueeze(-1) * functional.silu(points)
        return values

    return evaluate
