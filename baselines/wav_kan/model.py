"""WavKAN (Bozorgasl and Chen 2024, bozorgasl2024) with the Mexican hat, in our own formulation.

    y_o = BN(Σ_i w_oi · ψ((x_i - t_oi) / s_oi)),    ψ(u) = 2 / (√3 π^¼) · (1 - u²) exp(-u²/2)

BN is a batch normalisation, which every layer has, the last one too. Scales start at 1 and translations at 0. The
published code also registers a second weight an edge that no output depends on; it is left out here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM = 2 / (math.sqrt(3) * math.pi**0.25)


class BatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` that meets a batch of one sample, which has no variance, with the running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) == 1:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class WavKANLayer(nn.Module):
    """Maps (batch, inputs) to (batch, outputs) by one wavelet an edge; the norm comes after it.

    `scale`, `translation` and `weight` have the shape (outputs, inputs).
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(outputs, inputs))
        self.translation = nn.Parameter(torch.zeros(outputs, inputs))
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def wavelets(self, x: Tensor) -> Tensor:
        """Return the edge functions at `x`, which has to broadcast with (outputs, inputs)."""
        square = ((x - self.translation) / self.scale) ** 2
        return self.weight * NORM * (1 - square) * torch.exp(-0.5 * square)

    def forward(self, x: Tensor) -> Tensor:
        return self.wavelets(x.unsqueeze(1)).sum(2)


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(problem.width(settings)):
        layers += [WavKANLayer(inputs, outputs), BatchNorm(outputs) if settings["batch_norm"] else nn.Identity()]
    return nn.Sequential(*layers)


def edge_functions(model: nn.Module, layer: int) -> Callable[[Tensor], Tensor]:
    """Return the edge functions of a layer before its norm: points (n,) -> values (outputs, inputs, n)."""
    edges = model[1 + 2 * layer]

    @torch.no_grad()
    def evaluate(points: Tensor) -> Tensor:
        return edges.wavelets(points.view(-1, 1, 1)).permute(1, 2, 0)

    return evaluate
