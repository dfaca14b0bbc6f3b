"""A few functions shared by all inputs, evaluated a block of points at a time; nothing here is recorded by autograd.

Functions on B-splines are piecewise polynomials: a point looks up the few coefficients of its knot interval instead
of meeting every spline. Other bases form their features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import native
from ..bases import Basis, BSpline
from ..bases.silu import pull_silu, silu_values
from .budget import MIB

# Features of one block should stay in a core's cache; a block of pieces should occupy several cores.
BLOCK_BYTES = MIB
BLOCK_POINTS = 2**16
# A kernel needs one array of a block's points.
KERNEL_POINTS = 2**18
# Up to so many intervals, sums over the points of each are a matrix product with indicators.
INDICATORS = 64


class Planes:
    """Functions ``coefficients (c, n_b)`` on any linear basis, by its features."""

    def __init__(self, basis: Basis, coefficients: Tensor):
        self.basis, self.coefficients = basis, coefficients
        self.sums = torch.zeros_like(coefficients)
        self.block = max(1024, BLOCK_BYTES // (basis.numbers * coefficients.element_size()))

    def values(self, x: Tensor) -> Tensor:
        """Return the functions ``(c, n)`` at points ``(n,)``."""
        return self.coefficients @ self.basis.planes(x)

    def pull(self, x: Tensor, gradient: Tensor, wants_x: bool) -> Tensor | None:
        """Add the gradient of the coefficients, given that of `values`; return that of the points."""
        self.sums.addmm_(gradient, self.basis.planes(x).t())
        if not wants_x:
            return None
        return (self.coefficients @ self.basis.slopes(x)).mul_(gradient).sum(0)

    def gradients(self) -> Tensor:
        """Return the gradient of the coefficients."""
        return self.sums


class Pieces:
    """The same on B-splines: a table of the polynomial of each function on each interval."""

    def __init__(self, basis: BSpline, coefficients: Tensor):
        self.local, self.silu = basis.local, coefficients[:, -1:]
        self.table = basis.local.polynomials(coefficients[:, :-1]).permute(2, 0, 1)  # (order + 1, c, cells)
        powers = torch.arange(1, basis.local.order + 1, dtype=coefficients.dtype, device=coefficients.device)
        self.slope_table = self.table[1:] * powers.view(-1, 1, 1) / basis.spacing
        self.sums = coefficients.new_zeros(basis.local.cells, self.table.shape[:2].numel())
        self.silu_sums = torch.zeros_like(self.silu)
        intervals = torch.arange(1, basis.local.cells - 1, dtype=coefficients.dtype, device=coefficients.device)
        self.intervals = intervals.unsqueeze(1)
        self.scratch: list[Tensor] = []  # allocating anew for each block costs more than computing in it
        self.block = BLOCK_POINTS

    def _polynomials(self, table: Tensor, cell: Tensor, place: Tensor) -> Tensor:
        rows = table.flatten(0, 1).index_select(1, cell).view(*table.shape[:2], -1)
        result = rows[-1]
        for row in reversed(rows[:-1].unbind(0)):
            result = row.addcmul_(result, place)
        return result

    def values(self, x: Tensor) -> Tensor:
        """Return the functions ``(c, n)`` at points ``(n,)``."""
        cell, powers = self.local.locate(x)
        result = self._polynomials(self.table, cell, powers[1])
        return result.addcmul_(self.silu, silu_values(x))

    def pull(self, x: Tensor, gradient: Tensor, wants_x: bool) -> Tensor | None:
        """Add the gradient of the coefficients, given that of `values`; return that of the points."""
        cell, powers = self.local.locate(x)
        self.silu_sums.addmm_(gradient, silu_values(x).unsqueeze(1))
        found = self._slope(x, gradient, cell, powers[1]) if wants_x else None
        self._sum(cell, powers, gradient)
        return found

    def _slope(self, x: Tensor, gradient: Tensor, cell: Tensor, place: Tensor) -> Tensor:
        slopes = self._polynomials(self.slope_table, cell, place)
        found = pull_silu((self.silu.t() @ gradient)[0], x)
        for slope, pulled in zip(slopes, gradient, strict=True):
            found.addcmul_(slope, pulled)
        return found

    def _sum(self, cell: Tensor, powers: Tensor, gradient: Tensor) -> None:
        """Add up gradient times each power over the points of each interval."""
        points, few = len(cell), self.local.cells <= INDICATORS
        if not self.scratch or self.scratch[0].shape[-1] != points:
            self.scratch = [gradient.new_empty(len(powers), *gradient.shape)]
            if few:
                self.scratch.append(gradient.new_empty(len(self.intervals), points))
        moments = torch.mul(powers.unsqueeze(1), gradient, out=self.scratch[0]).flatten(0, 1)
        if few:
            inside = torch.eq(cell.to(powers.dtype), self.intervals, out=self.scratch[1])
            self.sums[1:-1] += inside @ moments.t()
        else:
            for total, moment in zip(self.sums.unbind(1), moments, strict=True):
                total.index_add_(0, cell, moment)

    def gradients(self) -> Tensor:
        """Return the gradient of the coefficients."""
        sums = self.sums.t().view(-1, len(self.silu), self.local.cells).permute(1, 2, 0)
        return torch.cat([self.local.pull_polynomials(sums), self.silu_sums], 1)


class KernelPieces:
    """The same by a kernel, which takes points ``(rows, channels, ...)`` and sums the last function over channels."""

    def __init__(self, basis: BSpline, coefficients: Tensor):
        self.local, self.functions = basis.local, len(coefficients)
        table = basis.local.polynomials(coefficients[:, :-1]).transpose(0, 1).contiguous()  # (cells, c, order + 1)
        factors = coefficients[:, -1].contiguous()
        self.kernel = native.Pieces(table, factors, basis.local.start, basis.spacing)
        self.sums = table.new_zeros(table.numel() + len(factors), dtype=torch.float64)

    def reduced(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the functions but the last, ``(c - 1, *x.shape)``, and the last summed, ``(rows, 1, ...)``."""
        x = x.contiguous()
        values = x.new_empty(self.functions - 1, *x.shape)
        totals = x.new_zeros(x.shape[0], 1, *x.shape[2:])
        for rows in self._rows(x):
            self.kernel.values(x[rows], values[:, rows], totals[rows])
        return values, totals

    def pull_reduced(self, x: Tensor, gradient: Tensor, totals: Tensor, wants_x: bool) -> Tensor | None:
        """Add the gradient of the coefficients, given those of `reduced`; return that of the points.

        ``gradient`` may be overwritten.
        """
        x, totals = x.contiguous(), totals.contiguous()
        gradient = native.ready(gradient).contiguous()
        found = None
        if wants_x:
            found = gradient[0] if len(gradient) == 1 else torch.empty_like(x)
        for rows in self._rows(x):
            part = found[rows] if wants_x else None
            self.kernel.pull(x[rows], gradient[:, rows], totals[rows], part, self.sums)
        return found

    @staticmethod
    def _rows(x: Tensor) -> list[slice]:
        step = max(1, KERNEL_POINTS // max(x[:1].numel(), 1))
        return [slice(start, start + step) for start in range(0, len(x), step)]

    def gradients(self) -> Tensor:
        """Return the gradient of the coefficients."""
        table = self.kernel.table
        cells, factors = self.sums.to(table.dtype).split([table.numel(), self.functions])
        pulled = self.local.pull_polynomials(cells.view(table.shape).transpose(0, 1))
        return torch.cat([pulled, factors.unsqueeze(1)], 1)


def make_functions(basis: Basis, coefficients: Tensor, *others: Tensor) -> Planes | Pieces | KernelPieces:
    """Return the quickest evaluation of ``coefficients`` at the points of ``others``."""
    if not (isinstance(basis, BSpline) and native.looked_up(coefficients)):
        return Planes(basis, coefficients)
    fits = basis.spline_order <= native.MOST_ORDER and len(coefficients) <= native.MOST_FUNCTIONS
    return (KernelPieces if fits and native.serves(coefficients, *others) else Pieces)(basis, coefficients)


def blocks(functions: Planes | Pieces, total: int) -> list[tuple[int, int]]:
    """Cut ``total`` points into ranges that a form evaluates at once."""
    return [(start, min(start + functions.block, total)) for start in range(0, total, functions.block)]
