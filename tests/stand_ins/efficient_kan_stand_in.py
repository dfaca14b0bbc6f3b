"""The interface of the package efficient_kan: `KAN`, its arguments, the names and shapes of its parameters.

Stands in for the package in tests. The splines are written as truncated powers rather than by a recursion, so that
their agreement with another implementation says something.
"""

from math import comb, factorial

import torch
from torch import nn


class KANLinear(nn.Module):
    def __init__(self, in_features, out_features, grid_size, spline_order, scale_noise, grid_range):
        super().__init__()
        self.spline_order = spline_order
        spacing = (grid_range[1] - grid_range[0]) / grid_size
        knots = grid_range[0] + spacing * torch.arange(-spline_order, grid_size + spline_order + 1)
        self.register_buffer("grid", knots.expand(in_features, -1).contiguous())
        self.base_weight = nn.Parameter(torch.randn(out_features, in_features) / in_features**0.5)
        numbers = grid_size + spline_order
        self.spline_weight = nn.Parameter(scale_noise * torch.randn(out_features, in_features, numbers))
        self.spline_scaler = nn.Parameter(torch.randn(out_features, in_features) / in_features**0.5)

    def forward(self, x):
        assert x.dim() == 2
        order, grid = self.spline_order, self.grid.double()
        place = (x.double().unsqueeze(-1) - grid[:, : -order - 1]) / (grid[:, 1:2] - grid[:, :1])
        powers = [(-1) ** j * comb(order + 1, j) * (place - j).clamp(min=0) ** order for j in range(order + 2)]
        basis = torch.where((place >= 0) & (place < order + 1), sum(powers) / factorial(order), 0.0).to(x.dtype)
        weight = self.spline_weight * self.spline_scaler.unsqueeze(-1)
        return nn.functional.silu(x) @ self.base_weight.T + torch.einsum("bin,oin->bo", basis, weight)


class KAN(nn.Module):
    def __init__(
        self,
        layers_hidden,
        grid_size=5,
        spline_order=3,
        scale_noise=0.1,
        scale_base=1.0,
        scale_spline=1.0,
        base_activation=nn.SiLU,
        grid_eps=0.02,
        grid_range=[-1, 1],  # noqa: B006 - as upstream declares it
    ):
        super().__init__()
        assert (scale_base, scale_spline, base_activation, grid_eps) == (1.0, 1.0, nn.SiLU, 0.02)
        self.layers = nn.ModuleList(
            KANLinear(*pair, grid_size, spline_order, scale_noise, grid_range)
            for pair in zip(layers_hidden, layers_hidden[1:], strict=False)
        )

    def forward(self, x, update_grid=False):
        assert not update_grid
        for layer in self.layers:
            x = layer(x)
        return x
