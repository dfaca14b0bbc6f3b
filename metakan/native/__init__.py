"""CPU kernels of the engine in C, for what would take many small operators of torch on every edge or point.

They are compiled when the package is installed, if there is a compiler; without them torch's operators give the same
numbers, slower. Nothing here is recorded by autograd. The functions take float32 or float64 tensors on the CPU,
contiguous unless said otherwise, and write what they compute into tensors of the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .serving import (
    TYPES,
    active,
    differentiated,
    disabled,
    has_values,
    kernels,
    looked_up,
    needs_operators,
    ready,
    serves,
    transparent,
)

__all__ = [
    "Curve", "DERIVES", "MOST_FUNCTIONS", "MOST_ORDER", "Pieces", "SplineDerivatives", "Splines", "active",
    "differentiated", "disabled", "has_values", "looked_up", "needs_operators", "transparent", "ready", "serves",
]  # fmt: skip

MOST_ORDER = kernels.MOST_ORDER if kernels else 0
"""The highest degree of splines that the kernels know."""

DERIVES = hasattr(kernels, "derivatives_float")
"""Whether `SplineDerivatives` is among the kernels that were compiled."""

MOST_FUNCTIONS = kernels.MOST_FUNCTIONS if kernels else 0
"""The most functions that `Pieces` can hold."""

POINTS_A_THREAD = 8192
"""Another thread is not worth waking for fewer points or edges."""


def _run(name: str, points: Tensor, *arguments: Tensor | float) -> None:
    threads = min(torch.get_num_threads(), 1 + points.numel() // POINTS_A_THREAD)
    held = [ready(argument) if isinstance(argument, Tensor) else argument for argument in arguments]
    values = (argument.data_ptr() if isinstance(argument, Tensor) else argument for argument in held)
    getattr(kernels, f"{name}_{TYPES[points.dtype]}")(threads, *values)


@dataclass(frozen=True)
class Curve:
    """A piecewise-linear curve: ``table (2, segments, n_b)`` of slopes and offsets between sorted ``kinks``.

    ``low`` and ``high`` bound the prompts that it will be asked for.
    """

    table: Tensor
    kinks: Tensor
    low: float
    high: float

    def _shape(self, prompts: Tensor) -> tuple[Tensor | float, ...]:
        rows, width = prompts.shape
        place = (prompts, rows, width, prompts.stride(0), self.kinks, len(self.kinks), self.low, self.high)
        return (*place, self.table, self.table.shape[-1])

    def values(self, prompts: Tensor, out: Tensor) -> None:
        """Write the numbers ``(rows, width, n_b)`` of prompts ``(rows, width)``, whose rows may lie apart."""
        if prompts.numel():
            _run("curve_values", prompts, *self._shape(prompts), out)

    def pull(self, prompts: Tensor, gradient: Tensor, out: Tensor, sums: Tensor) -> None:
        """Write the gradient of prompts from that of the numbers; add that of the table to ``sums`` (float64).

        The rows of ``prompts`` and ``out`` may lie apart.
        """
        if prompts.numel():
            _run("curve_pull", prompts, *self._shape(prompts), gradient, out, out.stride(0), sums)


@dataclass(frozen=True)
class Splines:
    """``count`` uniform B-splines of degree ``order``, followed by SiLU.

    ``start`` is the first knot and ``spacing`` the distance of knots. ``pieces`` are the coefficients
    ``(degree + 1, order + 1)``, in rising powers, of the splines that a knot interval meets, or of their derivatives.
    """

    count: int
    order: int
    start: float
    spacing: float
    pieces: Tensor

    def _shape(self, x: Tensor) -> tuple[Tensor | float, ...]:
        inner = x[0, 0].numel()
        knots = (1 - self.start / self.spacing, 1 / self.spacing)
        return (x, x.shape[0], x.shape[1], inner, x.stride(0), *knots, self.count, self.order, self.pieces)

    def features(self, x: Tensor) -> Tensor:
        """Return the splines and SiLU ``(rows, blocks, count + 1, *inner)`` of ``x (rows, blocks, *inner)``.

        The rows of ``x`` may lie apart.
        """
        values = x.new_empty(*x.shape[:2], self.count + 1, *x.shape[2:])
        if x.numel():
            _run("features", x, *self._shape(x), torch.sigmoid(x), values)
        return values

    def pull(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient of ``x`` from that of `features`; ``pieces`` must be those of the derivatives."""
        found = x.new_empty(x.shape)
        if x.numel():
            _run("features_pull", x, *self._shape(x), torch.sigmoid(x), gradient, found, found.stride(0))
        return found


@dataclass(frozen=True)
class SplineDerivatives:
    """Some derivatives of ``count`` uniform B-splines of degree ``order``, followed by those of SiLU.

    ``start`` is the first knot and ``spacing`` the distance of knots. ``pieces (m, order + 1, order + 1)`` are the
    coefficients of each derivative, in rising powers, of the splines that a knot interval meets; ``gates (m, 2, p)``
    those of SiLU's as two polynomials in the logistic function, of which the second is multiplied by the argument.
    Points are contiguous; numbers come along the dimension ``dim`` among those of the points.
    """

    count: int
    order: int
    start: float
    spacing: float
    pieces: Tensor
    gates: Tensor

    def _run(self, x: Tensor, factors: Tensor | None, numbers: Tensor, found: Tensor | None, dim: int) -> None:
        if not x.numel():
            return
        columns = x[(0,) * dim].numel()
        knots = (1 - self.start / self.spacing, 1 / self.spacing)
        sizes = (self.count, self.order, len(self.pieces), self.gates.shape[2], self.pieces, self.gates)
        shape = (x, x.numel() // columns, columns, *knots, *sizes, torch.sigmoid(x))
        numbers_apart = (columns * (self.count + 1), 1, columns)
        given = (0 if factors is None else factors, numbers, 0 if found is None else found)
        _run("derivatives", x, *shape, *given, *numbers_apart)

    def mixed(self, x: Tensor, factors: Tensor, dim: int) -> Tensor:
        """Return the sum over derivatives of ``factors (m, *x.shape)`` times the functions at ``x``."""
        values = x.new_empty(*x.shape[:dim], self.count + 1, *x.shape[dim:])
        self._run(x, factors, values, None, dim)
        return values

    def project(self, x: Tensor, gradient: Tensor, dim: int) -> Tensor:
        """Return, for each derivative, the sum over functions of ``gradient`` times the function: ``(m, *x.shape)``."""
        found = x.new_empty(len(self.pieces), *x.shape)
        self._run(x, None, gradient, found, dim)
        return found


@dataclass(frozen=True)
class Pieces:
    """Functions made of polynomials: ``table (cells, functions, order + 1)`` in rising powers, and of SiLU.

    Cells 1, 2, ... lie ``spacing`` apart from ``start`` on; the first and the last are all that lies outside.
    """

    table: Tensor
    factors: Tensor
    start: float
    spacing: float

    def _shape(self, x: Tensor) -> tuple[Tensor | float, ...]:
        cells, functions, powers = self.table.shape
        knots = (1 - self.start / self.spacing, 1 / self.spacing, cells)
        return (x, *x.shape[:2], x[0, 0].numel(), *knots, functions, powers - 1, self.table, self.factors)

    def values(self, x: Tensor, values: Tensor, totals: Tensor) -> None:
        """Write the functions at ``x (rows, channels, *inner)``, the last one summed over the channels.

        ``values`` is ``(functions - 1, *x.shape)``, whose functions may lie apart, and ``totals``, at first zero,
        ``(rows, 1, *inner)``.
        """
        if x.numel():
            _run("pieces_values", x, *self._shape(x), torch.sigmoid(x), values, values.stride(0), totals)

    def pull(self, x: Tensor, gradient: Tensor, totals: Tensor, found: Tensor | None, sums: Tensor) -> None:
        """Write the gradient of ``x`` into ``found``, if given, from those of values and totals.

        ``found`` may be the memory of ``gradient`` where there is one function beside the last.

        That of the table and then of the factors is added to ``sums`` (float64).
        """
        if x.numel():
            found = 0 if found is None else found
            _run("pieces_pull", x, *self._shape(x), torch.sigmoid(x), gradient, gradient.stride(0), totals, found, sums)
