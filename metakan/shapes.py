"""Families of distinct functions, as numbers of a basis, for meta-learners to start from."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .bases import Basis

POINTS = 256
BUMP = 0.5
"""Width of a bump, on an interval of length 2."""


def _polynomials(t: Tensor, count: int) -> list[Tensor]:
    """Legendre polynomials from the first degree on: a constant is the same on every edge."""
    found = [torch.ones_like(t), t]
    for degree in range(1, count):
        found.append(((2 * degree + 1) * t * found[degree] - degree * found[degree - 1]) / (degree + 1))
    return found[1 : count + 1]


def _sines(t: Tensor, count: int) -> list[Tensor]:
    """Half, one, one and a half, ... periods: sines and cosines in turn."""
    waves = (torch.sin, torch.cos)
    return [waves[place % 2]((place + 1) * math.pi / 2 * t) for place in range(count)]


def _bumps(t: Tensor, count: int) -> list[Tensor]:
    """Gaussians around the middles of equal parts."""
    middles = [(2 * place + 1) / count - 1 for place in range(count)]
    return [torch.exp(-(((t - middle) / BUMP) ** 2)) for middle in middles]


FAMILIES: dict[str, Callable[[Tensor, int], list[Tensor]]] = {
    "polynomials": _polynomials,
    "sines": _sines,
    "bumps": _bumps,
}


def shape_numbers(basis: Basis, family: str, count: int) -> Tensor:
    """Return numbers of ``count`` functions of a family, ``(count, n_b)``: the closest ones that the basis has.

    The family lives on the basis's grid, or on (-1, 1) if it has none. Every function is given the root mean square
    over that interval that edge functions start with in a dense network, before the fan-in is counted.

    Raises:
        ValueError: for a basis that is not linear in its numbers.
    """
    if not basis.linear:
        raise ValueError(f"shapes: found {family!r} with the basis {basis.name!r}, expected 'random'")
    low, high = getattr(basis, "grid_range", (-1.0, 1.0))
    t = (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS * 2 - 1
    planes = basis.planes(low + (high - low) * (t + 1) / 2)
    wanted = torch.stack(FAMILIES[family](t, count), dim=1)
    gains = torch.tensor(basis.gains, dtype=torch.float64)
    size = (gains.unsqueeze(1) * planes).square().sum(0).mean().sqrt()
    wanted *= size / wanted.square().mean(0).sqrt()
    return torch.linalg.lstsq(planes.t(), wanted, driver="gelsd").solution.t().float()
