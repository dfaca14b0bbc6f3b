"""A meta-learner for another spline grid: what it generates is interpolated, not learned anew."""

from __future__ import annotations

import torch
from torch import Tensor

from .bases import make_basis
from .bases.bspline import BSpline
from .meta_learner import MetaLearner

POINTS_AN_INTERVAL = 16


def spline_interpolation(source: BSpline, target: BSpline) -> Tensor:
    """Return the matrix from spline coefficients on one grid to those on another, ``(target, source)``, float64.

    Least squares on points spread evenly over the target's ``grid_range``. It is exact where the target's knots
    contain the source's (a refined grid); otherwise it is the closest spline.
    """
    low, high = target.grid_range
    count = POINTS_AN_INTERVAL * max(source.grid_size, target.grid_size)
    points = low + (high - low) * (torch.arange(count, dtype=torch.float64) + 0.5) / count
    before, after = (basis.planes(points)[: basis.count].t() for basis in (source, target))
    return torch.linalg.lstsq(after, before, driver="gelsd").solution


@torch.no_grad()
def regrid(
    learner: MetaLearner, grid_size: int, *, spline_order: int | None = None, grid_range: tuple[float, float] = (-1, 1)
) -> MetaLearner:
    """Return a meta-learner whose numbers describe the same edge functions on another B-spline grid.

    The generated coefficients are linear in the output layer, so that only this layer changes; the SiLU term and the
    hidden layer stay. A prompt keeps its meaning.

    Args:
        learner: one whose ``basis`` says that it generates B-spline coefficients.
        grid_size, spline_order, grid_range: of the new basis; the order of the old one by default. The old grid lies
            on the same ``grid_range``.

    Raises:
        ValueError: if the meta-learner does not say what its numbers mean, or generates for another family.
    """
    basis = learner.basis or {}
    if basis.get("name") != "bspline":
        found = basis.get("name", "no description")
        raise ValueError(f"learner: found the basis {found!r}, expected 'bspline'; only splines have a grid to change")
    order = basis["spline_order"] if spline_order is None else spline_order
    source = make_basis("bspline", basis["grid_size"], basis["spline_order"], grid_range)
    target = make_basis("bspline", grid_size, order, grid_range)
    made = MetaLearner(
        learner.prompt_dim,
        learner.hidden_dim,
        target.numbers,
        learner.activation,
        init=learner.init,
        gains=target.gains,
        basis=target.describe(),
    ).to(learner.output.weight)
    made.hidden.load_state_dict(learner.hidden.state_dict())
    matrix = spline_interpolation(source, target).to(learner.output.weight)
    for new, old in ((made.output.weight, learner.output.weight), (made.output.bias, learner.output.bias)):
        new.copy_(torch.cat([matrix @ old[:-1], old[-1:]]))
    return made
