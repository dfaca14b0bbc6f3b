"""Gaussian radial basis functions plus SiLU (FastKAN; Li, 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import Basis


class RBF(Basis):
    """``[exp(-((t - c_1)/h)^2) ... exp(-((t - c_n)/h)^2), SiLU(t)]``.

    The n = ``grid_size + spline_order`` centres are equally spaced over ``grid_range``, ends included, and h is their
    distance. FastKAN also normalises a layer's input; put `torch.nn.LayerNorm` before the layer for that.
    """

    name = "rbf"

    def __init__(self, grid_size: int, spline_order: int, grid_range: tuple[float, float]):
        self.grid_size, self.spline_order, self.grid_range = grid_size, spline_order, grid_range
        self.count = grid_size + spline_order
        self.spacing = (grid_range[1] - grid_range[0]) / (self.count - 1)
        self.numbers = self.count + 1
        self.amplitude = (True,) * self.numbers
        self.gains = (0.1,) * self.count + (1.0,)  # the functions start close to SiLU

    def features(self, x: Tensor, dim: int = -1) -> Tensor:
        dim = dim if dim >= 0 else x.dim() + 1 + dim
        shape = [1] * (x.dim() + 1)
        shape[dim] = -1
        centres = torch.linspace(*self.grid_range, self.count, dtype=x.dtype, device=x.device).view(shape)
        bumps = torch.exp(-(((x.unsqueeze(dim) - centres) / self.spacing) ** 2))
        return torch.cat([bumps, nn.functional.silu(x).unsqueeze(dim)], dim)

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "grid_size": self.grid_size, "spline_order": self.spline_order}
