"""Gram polynomials plus SiLU (the KAG layers of torch-conv-kan; Drokin, 2024)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import checks
from .base import PolynomialBasis
from .silu import silu

FORMS = ("orthonormal", "released")


class Gram(PolynomialBasis):
    r"""``[p_0(u) ... p_d(u), SiLU(t)]`` with ``u = tanh(t)``.

    "orthonormal": the p_n are orthonormal on ``nodes`` equally spaced points of [-1, 1] under the uniform discrete
    measure. With N nodes the recursion coefficients are :math:`\beta_n = n\sqrt{(N^2-n^2)/(4n^2-1)} / (N-1)` (Gautschi,
    2004). The basis has no parameters.

    "released": as torch-conv-kan and the MetaKAN experiments have it. SiLU is applied to each polynomial, so that the
    features are :math:`\mathrm{SiLU}(p_n(u))`; they span another space. The recursion
    :math:`p_{n+1} = u\,p_n - b_n \beta_n\,p_{n-1}` with :math:`\beta_n = (2n+1)\,n^2\,(4n^2-1) / (n+1)^2` is scaled
    by ``degree + 1`` trainable numbers a layer, :math:`b_0 ... b_d` (the first and the last have no effect; a degree of
    1 needs none), which start so small that the p_n are powers of u. A layer of this form is evaluated as it is defined
    ("materialized"), whatever its mode. ``nodes`` is not used.

    Args:
        degree: highest degree.
        nodes: points of the discrete measure, more than the degree.
        base: whether SiLU(t) comes last.
        form: "orthonormal" or "released".

    Raises:
        ValueError, TypeError: for an unknown form, or sizes that do not fit.
    """

    name = "gram"

    def __init__(self, degree: int, nodes: int, base: bool = True, form: str = "orthonormal"):
        super().__init__(degree, base)
        self.nodes = nodes = checks.integer("nodes", nodes)
        if nodes <= self.degree:
            raise ValueError(f"nodes: found {nodes}, expected more than the degree {degree}")
        self.form = checks.choice("form", form, FORMS)
        orders = range(1, self.degree + 1)
        if form == "released":
            self.learned = self.degree + 1 if self.degree > 1 else 0
            self._beta = [0.0] + [(2 * n + 1) * n**2 * (4 * n**2 - 1) / (n + 1) ** 2 for n in orders]
        else:
            self._beta = [0.0] + [n * math.sqrt((nodes**2 - n**2) / (4 * n**2 - 1)) / (nodes - 1) for n in orders]
        self._recursion: Tensor | None = None

    def bound(self, parameters: Tensor) -> Gram:
        """Return the released form with the trainable numbers ``(degree + 1,)`` of a layer."""
        made = Gram(self.degree, self.nodes, self.base, self.form)
        made._recursion = parameters
        return made

    def initial(self, edges: int) -> Tensor:
        """Return normal numbers with the standard deviation 1 / (edges * (degree + 1)), as released."""
        return torch.randn(self.learned) / (edges * (self.degree + 1))

    def released(self, outputs: int, edges: int) -> list[tuple[str, float]]:
        """Uniform weights: the base branch by its fan-in; the polynomials by a fan-in that counts the outputs, too.

        Kaiming's rule takes the second dimension of a tensor for the inputs, and the released tensor of polynomial
        weights has a leading dimension of groups.
        """
        polynomials = ("uniform", (outputs * edges * (self.degree + 1)) ** -0.5)
        return [polynomials] * (self.degree + 1) + [("uniform", edges**-0.5)] * self.base

    def polynomials(self, u: Tensor) -> list[Tensor]:
        return self._released(u) if self.form == "released" else self._orthonormal(u)

    def _orthonormal(self, u: Tensor) -> list[Tensor]:
        values = [torch.ones_like(u)]
        for n in range(self.degree):
            following = u * values[n]
            if n:
                following = following - self._beta[n] * values[n - 1]
            values.append(following / self._beta[n + 1])
        return values

    def _released(self, u: Tensor) -> list[Tensor]:
        values = [torch.ones_like(u), u]
        for n in range(1, self.degree):
            following = u * values[n]
            if self._recursion is not None:
                following = following - self._beta[n] * self._recursion[n] * values[n - 1]
            values.append(following)
        return [silu(value) for value in values]

    def describe(self) -> dict[str, object]:
        if self.form == "released":
            return {**super().describe(), "form": self.form}
        return {**super().describe(), "nodes": self.nodes}
