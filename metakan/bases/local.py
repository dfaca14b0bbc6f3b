"""Uniform B-splines by their local support: a point meets only ``order + 1`` of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .. import native
from .silu import gate_polynomials

SMALL_PRODUCT = 2**14


def piece_coefficients(order: int) -> list[list[float]]:
    r"""Return the polynomials of the splines that a knot interval meets, from left to right.

    With :math:`s \in [0, 1)` the place inside the interval, spline ``r`` of the ``order + 1`` is
    :math:`\sum_p c_{pr} s^p`: the piece of the cardinal B-spline :math:`N_k(s + k - r)` with
    :math:`N_k(t) = \frac{1}{k!} \sum_j (-1)^j \binom{k+1}{j} (t - j)_+^k` (Schoenberg, 1946). Row ``p`` holds
    ``c_p0 ... c_pk``; the sums are of integers and therefore exact.
    """
    rows = []
    for power in range(order + 1):
        row = []
        for place in range(order, -1, -1):
            terms = ((-1) ** j * math.comb(order + 1, j) * (place - j) ** (order - power) for j in range(place + 1))
            row.append(math.comb(order, power) * sum(terms) / math.factorial(order))
        rows.append(row)
    return rows


def _small_product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b``; libraries take longer to set out than a few thousand multiplications last."""
    if a.shape[0] * b.numel() > SMALL_PRODUCT:
        return a @ b
    return (a.unsqueeze(2) * b).sum(1)


def _gates(orders: tuple[int, ...]) -> Tensor:
    pairs = [gate_polynomials(order) for order in orders]
    powers = max(len(row) for pair in pairs for row in pair)
    return torch.tensor([[row + [0] * (powers - len(row)) for row in pair] for pair in pairs], dtype=torch.float64)


class LocalSplines:
    """The ``count`` splines of degree ``order`` with knots ``start + spacing * i``, for i = 0, 1, ...

    Cell 0 is all that lies left of the knots, cells 1 to ``count + order`` are the knot intervals, and the last cell is
    all that lies right of them.
    """

    def __init__(self, count: int, order: int, start: float, spacing: float):
        self.count, self.order, self.start, self.spacing = count, order, start, spacing
        self.cells = count + order + 2
        self._pieces = piece_coefficients(order)
        self._constants: dict[tuple[object, torch.dtype], Tensor] = {}

    def locate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cell of each point, ``int64``, and the powers 0 to ``order`` of its place in it.

        Powers come first, ``(order + 1, *x.shape)``. Points that are not finite belong to an outer cell.
        """
        shift = torch.scalar_tensor(1 - self.start / self.spacing, dtype=x.dtype, device=x.device)
        u = torch.add(shift, x, alpha=1 / self.spacing).clamp_(0.5, self.cells - 0.5)
        cell = u.to(torch.int64).clamp_(0, self.cells - 1)  # again, for numbers that are not finite
        powers = u.new_empty(self.order + 1, *u.shape)
        powers[0] = 1
        torch.frac(u, out=powers[1])
        for power in range(2, self.order + 1):
            torch.mul(powers[power - 1], powers[1], out=powers[power])
        return cell, powers

    def met(self, cell: Tensor) -> Tensor:
        """Return which splines a cell meets, ``(*cell.shape, order + 1)``, ``count`` where there is none."""
        first = torch.arange(self.cells, device=cell.device).unsqueeze(1) - self.order - 1
        spline = first + torch.arange(self.order + 1, device=cell.device)
        spline.masked_fill_((spline < 0) | (spline > self.count), self.count)
        return spline.index_select(0, cell.flatten()).view(*cell.shape, self.order + 1)

    def values(self, powers: Tensor, derivative: int = 0) -> Tensor:
        """Return a derivative of the splines that the points meet, ``(order + 1, *points)``, from their powers."""
        pieces = powers.new_tensor(self.derivative(derivative)).t()
        return torch.mm(pieces, powers[: pieces.shape[1]].flatten(1)).view_as(powers)

    def kernel(self, like: Tensor, derivative: int) -> native.Splines:
        """Return the kernel of the splines' values or first derivative on tensors such as ``like``."""
        pieces = self._constant(
            derivative, like, lambda: torch.tensor(self.derivative(derivative), dtype=torch.float64)
        )
        return native.Splines(self.count, self.order, self.start, self.spacing, pieces)

    def derivatives(self, like: Tensor, orders: tuple[int, ...]) -> native.SplineDerivatives:
        """Return the kernel of several derivatives at once, those of SiLU among them."""
        pieces = self._constant(("pieces", orders), like, lambda: self._padded(orders))
        gates = self._constant(("gates", orders), like, lambda: _gates(orders))
        return native.SplineDerivatives(self.count, self.order, self.start, self.spacing, pieces, gates)

    def _padded(self, orders: tuple[int, ...]) -> Tensor:
        zeros = [[0.0] * (self.order + 1)] * (self.order + 1)
        rows = [(self.derivative(order) + zeros)[: self.order + 1] for order in orders]
        return torch.tensor(rows, dtype=torch.float64)

    def polynomials(self, coefficients: Tensor) -> Tensor:
        """Return the polynomials ``(c, cells, order + 1)`` of functions with ``coefficients (c, count)``.

        Those of a cell are in rising powers of the place in it.
        """
        return _small_product(coefficients, self._tables(coefficients)).unflatten(1, (self.cells, -1))

    def pull_polynomials(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the coefficients from that of `polynomials`."""
        return _small_product(gradient.flatten(1), self._tables(gradient).t())

    def _tables(self, like: Tensor) -> Tensor:
        """Return the polynomials of each spline alone, ``(count, cells * (order + 1))``."""
        return self._constant("tables", like, self._spline_tables)

    def _spline_tables(self) -> Tensor:
        width = self.order + 1
        rows = [[0.0] * (self.cells * width) for _ in range(self.count)]
        for spline, row in enumerate(rows):
            for place in range(width):  # where the spline is the one number `place` that a cell meets
                cell = spline + width - place
                row[cell * width : (cell + 1) * width] = [powers[place] for powers in self._pieces]
        return torch.tensor(rows, dtype=torch.float64).view(self.count, -1)

    def _constant(self, name: object, like: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """Return a constant in the dtype of ``like``, made once for tensors that have values."""
        if not native.has_values(like):
            return make().to(like)
        key = (name, like.dtype)
        if key not in self._constants:
            self._constants[key] = make().to(like.dtype)
        return self._constants[key]

    def derivative(self, derivative: int) -> list[list[float]]:
        """Return `piece_coefficients` of a derivative with respect to x."""
        factor = self.spacing**-derivative
        rows = self._pieces[derivative:] or [[0.0] * (self.order + 1)]
        return [[math.perm(p + derivative, derivative) * factor * c for c in row] for p, row in enumerate(rows)]
