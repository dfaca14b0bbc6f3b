"""A KAN with a low-rank tensor of coefficients and as many parameters as a MetaKAN.

    φ_oi(x) = Σ_b w_oib · b_b(x),    w_oib = Σ_r U_or · V_ir · C_br    (b_b: B-splines, then SiLU)

This is the canonical polyadic form (Kolda and Bader 2009, kolda2009). It restricts how edges differ over outputs and
inputs, to rank r, and leaves their functions free: the r-th term has a function of its own, Σ_b C_br b_b. MetaKAN does
the opposite: every edge has its own prompt, and the functions lie on one curve or surface. A factorisation into numbers
an edge and shared functions, w_oib = Σ_r A_oir C_rb, would not do as a control: with r = prompt_dim it is the affine
MetaKAN without its offset. Separate factors for each b, W_b = U_b V_bᵀ, would: but a unit of rank takes n_b (in + out)
numbers there, too coarse to meet MetaKAN's count.

The ranks are those with which the trainable parameters come nearest to MetaKAN's at the same task and axes; every layer
gets its share by its edges. They are not bounded by the full rank, so that small networks are matched as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from metakan import Basis, MetaKAN, make_basis


class LowRankLayer(nn.Module):
    """Maps (batch, inputs) to (batch, outputs); its factors are (outputs, rank), (inputs, rank) and (n_b, rank)."""

    def __init__(self, inputs: int, outputs: int, rank: int, basis: Basis):
        super().__init__()
        self.basis = basis
        # the variances multiply to those of a dense KAN: gain² / inputs
        self.output_factor = nn.Parameter(torch.randn(outputs, rank) * rank**-0.5)
        self.input_factor = nn.Parameter(torch.randn(inputs, rank) * inputs**-0.5)
        self.basis_factor = nn.Parameter(torch.randn(basis.numbers, rank) * torch.tensor(basis.gains).unsqueeze(1))

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.einsum("ir,br->ibr", self.input_factor, self.basis_factor).flatten(0, 1)
        return self.basis.features(x).flatten(1) @ inner @ self.output_factor.T

    def numbers(self) -> Tensor:
        """Return the coefficients of every edge function, (outputs, inputs, n_b)."""
        return torch.einsum("or,ir,br->oib", self.output_factor, self.input_factor, self.basis_factor)


class LowRankKAN(nn.Module):
    """A stack of layers with the given ranks; `target` is the number of parameters aimed at."""

    def __init__(self, width: Sequence[int], ranks: Sequence[int], basis: Basis, target: int):
        super().__init__()
        self.ranks, self.target = list(ranks), target
        shapes = zip(pairwise(width), ranks, strict=True)
        self.layers = nn.ModuleList(LowRankLayer(inputs, outputs, rank, basis) for (inputs, outputs), rank in shapes)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = layer(x)
        return x


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    width = problem.width(settings)
    basis = make_basis("bspline", settings["grid_size"], settings["spline_order"], problem.grid_range)
    target = target_parameters(width, settings)
    return LowRankKAN(width, matched_ranks(width, basis.numbers, target), basis, target)


def target_parameters(width: list[int], settings) -> int:
    """Return the trainable parameters of the MetaKAN that is matched, counted on a model without storage."""
    clusters = settings["num_clusters"]
    options = {name: settings[name] for name in ("grid_size", "spline_order", "prompt_dim", "hidden_dim")}
    with torch.device("meta"):
        reference = MetaKAN(width, num_clusters=len(width) - 1 if clusters == "per_layer" else clusters, **options)
    return sum(parameter.numel() for parameter in reference.parameters())


def matched_ranks(width: Sequence[int], numbers: int, target: int) -> list[int]:
    """Return a rank a layer: its share of `target` by its edges, rounded down, and then up where that is nearer."""
    units = [inputs + outputs + numbers for inputs, outputs in pairwise(width)]
    edges = [inputs * outputs for inputs, outputs in pairwise(width)]
    shares = [target * count / sum(edges) / unit for count, unit in zip(edges, units, strict=True)]
    ranks = [max(1, int(share)) for share in shares]
    left = target - sum(rank * unit for rank, unit in zip(ranks, units, strict=True))
    for layer in sorted(range(len(units)), key=lambda layer: ranks[layer] - shares[layer]):
        if abs(left - units[layer]) < abs(left):
            ranks[layer], left = ranks[layer] + 1, left - units[layer]
    return ranks


def edge_functions(model: LowRankKAN, layer: int) -> Callable[[Tensor], Tensor]:
    """Return the edge functions of a layer: points (n,) -> values (outputs, inputs, n)."""
    edges = model.layers[layer]

    @torch.no_grad()
    def evaluate(points: Tensor) -> Tensor:
        return edges.numbers() @ edges.basis.features(points, dim=0)

    return evaluate


def describe(model: LowRankKAN) -> dict[str, object]:
    """Return the ranks and the count that were reached, and the count aimed at."""
    reached = sum(parameter.numel() for parameter in model.parameters())
    return {"ranks": model.ranks, "parameters": reached, "target_parameters": model.target}
