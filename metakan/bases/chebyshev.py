"""Chebyshev polynomials of the first kind (ChebyKAN; Sidharth et al., 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import PolynomialBasis


class Chebyshev(PolynomialBasis):
    """``[T_0(u) ... T_d(u)]`` with ``u = tanh(t)``; like its source it has no SiLU term unless ``base`` is True."""

    name = "chebyshev"

    def __init__(self, degree: int, base: bool = False):
        super().__init__(degree, base)

    def released(self, outputs: int, edges: int) -> list[tuple[str, float]]:
        """Normal coefficients with the standard deviation 1 / (edges * (degree + 1)).

        That is the square of the deviation that keeps a signal's size, so that a network starts near a constant.
        """
        if self.base:
            return super().released(outputs, edges)
        return [("normal", 1 / (edges * (self.degree + 1)))] * self.numbers

    def polynomials(self, u: Tensor) -> list[Tensor]:
        values = [torch.ones_like(u), u]
        for n in range(1, self.degree):
            values.append(2 * u * values[n] - values[n - 1])
        return values[: self.degree + 1]
