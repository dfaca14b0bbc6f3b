"""Families of edge functions, one a file."""

from __future__ import annotations

from .. import checks
from .base import Basis
from .bspline import BSpline
from .chebyshev import Chebyshev
from .gram import Gram
from .legendre import Legendre
from .rbf import RBF
from .wavelet import Wavelet

BASES = ("bspline", "rbf", "wavelet", "legendre", "gram", "chebyshev")
"""Names of the families of edge functions that `make_basis` knows."""


def make_basis(basis: str | Basis, grid_size: int, spline_order: int, grid_range: tuple[float, float]) -> Basis:
    """Return a basis by name, or ``basis`` itself if it is one already.

    ``grid_size`` and ``spline_order`` mean: intervals and degree (bspline); their sum is the number of centres (rbf);
    the order is the polynomial degree (legendre, gram, chebyshev), and Gram polynomials are orthogonal on
    ``grid_size + spline_order`` nodes. Wavelets use neither.
    """
    if isinstance(basis, Basis):
        return basis
    checks.choice("basis", basis, BASES)
    grid_size = checks.integer("grid_size", grid_size)
    spline_order = checks.integer("spline_order", spline_order)
    grid_range = checks.interval("grid_range", grid_range)
    if basis == "bspline":
        return BSpline(grid_size, spline_order, grid_range)
    if basis == "rbf":
        return RBF(grid_size, spline_order, grid_range)
    if basis == "wavelet":
        return Wavelet()
    if basis == "gram":
        return Gram(spline_order, grid_size + spline_order)
    return {"legendre": Legendre, "chebyshev": Chebyshev}[basis](spline_order)


__all__ = ["BASES", "BSpline", "Basis", "Chebyshev", "Gram", "Legendre", "RBF", "Wavelet", "make_basis"]
