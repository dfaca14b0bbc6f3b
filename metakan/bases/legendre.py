"""Legendre polynomials plus SiLU (the KAL layers of torch-conv-kan; Drokin, 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import PolynomialBasis


class Legendre(PolynomialBasis):
    """``[P_0(u) ... P_d(u), SiLU(t)]`` with ``u = tanh(t)`` and Bonnet's recursion."""

    name = "legendre"

    def polynomials(self, u: Tensor) -> list[Tensor]:
        values = [torch.ones_like(u), u]
        for n in range(1, self.degree):
            values.append(((2 * n + 1) * u * values[n] - n * values[n - 1]) / (n + 1))
        return values[: self.degree + 1]
