"""A KAN whose edges share one learned function a layer, after GS-KAN (Eliasson 2025, eliasson2025).

    y_o = Σ_i w_oi · ψ(x_i) + b_o,    ψ(x) = Σ_c a_c · B_c(x) + a_0 · SiLU(x)

GS-KAN gives each edge its own linear transformation of one function a layer. Only the outer one, the weight w_oi, is
kept: a shift of the argument that depends on the edge would take a function value an edge and sample. What is left is
an MLP with a learned spline activation, at an MLP's cost, and a part of the affine MetaKAN with prompt_dim 1: that adds
a second function to this sum, Σ_i u(x_i), which does not depend on the output. ψ starts close to SiLU.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from metakan import Basis, make_basis


class SharedLayer(nn.Module):
    """Maps (batch, inputs) to (batch, outputs); `coefficients` (n_b,) are those of ψ, the last one SiLU's."""

    def __init__(self, inputs: int, outputs: int, basis: Basis):
        super().__init__()
        self.basis = basis
        gains = torch.tensor(basis.gains)
        self.coefficients = nn.Parameter(gains * torch.randn(basis.numbers))
        with torch.no_grad():
            self.coefficients[-1] = gains[-1]  # of fixed sign, so that no seed starts from a reflected SiLU
        self.linear = nn.Linear(inputs, outputs)

    def function(self, points: Tensor) -> Tensor:
        """Return ψ at `points`, elementwise."""
        return torch.tensordot(self.coefficients, self.basis.planes(points), dims=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.function(x))


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    basis = make_basis("bspline", settings["grid_size"], settings["spline_order"], problem.grid_range)
    layers = [SharedLayer(inputs, outputs, basis) for inputs, outputs in pairwise(problem.width(settings))]
    return nn.Sequential(nn.Flatten(), *layers)


def edge_functions(model: nn.Module, layer: int) -> Callable[[Tensor], Tensor]:
    """Return the edge functions of a layer: points (n,) -> values (outputs, inputs, n)."""
    edges = model[layer + 1]

    @torch.no_grad()
    def evaluate(points: Tensor) -> Tensor:
        return edges.linear.weight.unsqueeze(-1) * edges.function(points)

    return evaluate
