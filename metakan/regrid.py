"""A meta-learner for another spline grid: what it generates is interpolated, not learned anew."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .bases import make_basis
from .bases.bspline import BSpline
from .meta_learner import MetaLearner

POINTS_AN_INTERVAL = 16
EXACT = 1e-9
"""Errors below it are rounding."""


def spline_interpolation(source: BSpline, target: BSpline) -> Tensor:
    """Return the matrix from spline coefficients on one grid to those on another, ``(target, source)``, float64.

    Least squares on points spread evenly over the target's ``grid_range``.
    """
    before, after = _values(source, target)
    return torch.linalg.lstsq(after, before, driver="gelsd").solution


def interpolation_error(source: BSpline, target: BSpline) -> float:
    """Return the most by which a spline of one grid, of height 2/3 for cubics, differs from its form on another.

    The largest over the splines of the source and points of the target's ``grid_range``. It is rounding where the
    interpolation is exact.
    """
    before, after = _values(source, target)
    return float((after @ spline_interpolation(source, target) - before).abs().max())


def _values(source: BSpline, target: BSpline) -> tuple[Tensor, Tensor]:
    low, high = target.grid_range
    width = min(source.spacing, target.spacing)
    count = math.ceil(POINTS_AN_INTERVAL * (high - low) / width)
    points = low + (high - low) * (torch.arange(count, dtype=torch.float64) + 0.5) / count
    before, after = (basis.planes(points)[: basis.count].t() for basis in (source, target))
    return before, after


@torch.no_grad()
def regrid(
    learner: MetaLearner,
    grid_size: int,
    *,
    spline_order: int | None = None,
    grid_range: tuple[float, float] | None = None,
) -> MetaLearner:
    """Return a meta-learner whose numbers describe the same edge functions on another B-spline grid.

    The generated coefficients are linear in the output layer, so that only this layer changes; the SiLU term and the
    hidden layer stay. A prompt keeps its meaning.

    Every generated function is kept exactly on the new ``grid_range`` if the order stays and each old knot inside it
    is a new one: a grid that is refined by a whole factor (5 to 10, not 5 to 8), on the old range or on a part of it
    that ends on knots. Otherwise the functions are the closest splines there, by least squares; polynomials up to the
    order are kept in any case. Outside the new ``grid_range`` the functions differ always, since the outer splines of a
    finer grid reach less far. ``provenance["regrid"]`` of the result holds the old basis, ``exact`` and ``error``: the
    most by which one old spline (a coefficient of 1) is missed inside the range.

    Args:
        learner: one whose ``basis`` says that it generates B-spline coefficients, and on which grid.
        grid_size, spline_order, grid_range: of the new basis; order and range are the old ones by default.

    Raises:
        ValueError: if the meta-learner does not say what its numbers mean, or generates for another family.
        TypeError: for a grid that is not made of integers.
    """
    basis = learner.basis or {}
    if basis.get("name") != "bspline":
        found = basis.get("name", "no description")
        raise ValueError(f"learner: found the basis {found!r}, expected 'bspline'; only splines have a grid to change")
    if "grid_range" not in basis:
        raise ValueError(f"learner: found the basis {basis}, expected one that names its grid_range")
    order = basis["spline_order"] if spline_order is None else spline_order
    source = make_basis("bspline", basis["grid_size"], basis["spline_order"], basis["grid_range"])
    target = make_basis("bspline", grid_size, order, source.grid_range if grid_range is None else grid_range)
    made = MetaLearner(
        learner.prompt_dim,
        learner.hidden_dim,
        target.numbers,
        learner.activation,
        init=learner.init,
        gains=target.gains,
        basis=target.describe(),
        separate=learner.separate,
    ).to(learner.output.weight)
    if learner.hidden_dim:
        made.hidden.load_state_dict(learner.hidden.state_dict())
    matrix = spline_interpolation(source, target).to(learner.output.weight)
    for new, old in zip(made.output.parameters(), learner.output.parameters(), strict=True):
        new.copy_(torch.cat([matrix @ old[:-1], old[-1:]]))
    error = interpolation_error(source, target)
    made.provenance = {**learner.provenance, "regrid": {"from": basis, "exact": error < EXACT, "error": error}}
    return made
