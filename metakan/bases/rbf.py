"""Gaussian radial basis functions, by default plus SiLU (FastKAN; Li, 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import checks
from .base import Basis
from .silu import silu

NEGLIGIBLE = 32.0
"""Distance from a centre, in units of h, from which a Gaussian is 0 in every dtype."""


class RBF(Basis):
    """``[exp(-((t - c_1)/h)^2) ... exp(-((t - c_n)/h)^2), SiLU(t)]``.

    The n = ``grid_size + spline_order`` centres are equally spaced over ``grid_range``, ends included, and h is their
    distance. FastKAN also normalises what the Gaussians see, but not the argument of SiLU, which ``base=False``
    leaves out.
    """

    name = "rbf"

    def __init__(self, grid_size: int, spline_order: int, grid_range: tuple[float, float], base: bool = True):
        self.grid_size = checks.integer("grid_size", grid_size)
        self.spline_order = checks.integer("spline_order", spline_order)
        self.grid_range = checks.interval("grid_range", grid_range)
        self.base = base = bool(base)
        self.count = self.grid_size + self.spline_order
        self.spacing = (self.grid_range[1] - self.grid_range[0]) / (self.count - 1)
        self.numbers = self.count + base
        self.amplitude = (True,) * self.numbers
        self.gains = (0.1,) * self.count + (1.0,) * base  # the functions start close to SiLU

    def planes(self, x: Tensor) -> Tensor:
        centres = torch.linspace(*self.grid_range, self.count, dtype=x.dtype, device=x.device)
        low, high = self.grid_range
        near = x.clamp(low - NEGLIGIBLE * self.spacing, high + NEGLIGIBLE * self.spacing)  # its square stays finite
        distance = (near.unsqueeze(0) - centres.view(-1, *[1] * x.dim())) / self.spacing
        planes = torch.exp(-distance * distance)
        return torch.cat([planes, silu(x).unsqueeze(0)]) if self.base else planes

    def describe(self) -> dict[str, object]:
        settings = {
            "name": self.name,
            "grid_size": self.grid_size,
            "spline_order": self.spline_order,
            "grid_range": list(self.grid_range),
        }
        return settings if self.base else {**settings, "base": False}
