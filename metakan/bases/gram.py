"""Gram polynomials plus SiLU (the KAG layers of torch-conv-kan; Drokin, 2024)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import checks
from .base import PolynomialBasis


class Gram(PolynomialBasis):
    """``[p_0(u) ... p_d(u), SiLU(t)]`` with ``u = tanh(t)``.

    The p_n are orthonormal on ``nodes`` equally spaced points of [-1, 1] under the uniform discrete measure. With
    N nodes the recursion coefficients are :math:`\\beta_n = n\\sqrt{(N^2-n^2)/(4n^2-1)} / (N-1)` (Gautschi, 2004).
    The source scales these coefficients by trainable numbers; here they are fixed, so that the basis has no parameters.
    """

    name = "gram"

    def __init__(self, degree: int, nodes: int, base: bool = True):
        super().__init__(degree, base)
        self.nodes = nodes = checks.integer("nodes", nodes)
        if nodes <= self.degree:
            raise ValueError(f"nodes: found {nodes}, expected more than the degree {degree}")
        self._beta = [0.0] + [
            n * math.sqrt((nodes**2 - n**2) / (4 * n**2 - 1)) / (nodes - 1) for n in range(1, self.degree + 1)
        ]

    def polynomials(self, u: Tensor) -> list[Tensor]:
        values = [torch.ones_like(u)]
        for n in range(self.degree):
            following = u * values[n]
            if n:
                following = following - self._beta[n] * values[n - 1]
            values.append(following / self._beta[n + 1])
        return values

    def describe(self) -> dict[str, object]:
        return {**super().describe(), "nodes": self.nodes}
