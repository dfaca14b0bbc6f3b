"""A meta-learner on another grid generates the same functions."""

from __future__ import annotations

import pytest
import torch
from scipy.interpolate import BSpline

from metakan import MetaKAN, MetaLearner, regrid
from metakan.bases import make_basis
from metakan.regrid import spline_interpolation


@pytest.fixture
def points():
    return torch.linspace(-0.999, 0.999, 77, dtype=torch.float64)


def grids(first, second, order=3):
    return (make_basis("bspline", size, order, (-1, 1)) for size in (first, second))


def test_a_refined_grid_keeps_the_splines_exactly(points):
    source, target = grids(4, 12)
    coefficients = torch.randn(source.count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = spline_interpolation(source, target) @ coefficients
    before = source.planes(points)[: source.count].t() @ coefficients
    after = target.planes(points)[: target.count].t() @ moved
    assert torch.allclose(after, before, atol=1e-11, rtol=0)
    knots = -1 + (2 / 12) * (torch.arange(-3, 12 + 4, dtype=torch.float64))
    oracle = BSpline(knots.numpy(), moved.numpy(), 3)(points.numpy())
    assert torch.allclose(torch.from_numpy(oracle), before, atol=1e-11, rtol=0)


@pytest.mark.parametrize("size", [3, 5, 7, 20])
def test_polynomials_survive_any_change_of_grid(points, size):
    source, target = grids(5, size)
    cubic = 1 + points - 2 * points**2 + 0.5 * points**3
    fit = torch.linalg.lstsq(source.planes(points)[: source.count].t(), cubic.unsqueeze(1), driver="gelsd").solution
    moved = spline_interpolation(source, target) @ fit
    assert torch.allclose((target.planes(points)[: target.count].t() @ moved)[:, 0], cubic, atol=1e-10, rtol=0)


def test_a_network_on_a_refined_grid_is_the_same_function():
    torch.manual_seed(0)
    coarse = MetaKAN([3, 4, 1], grid_size=3, hidden_dim=8).double()
    fine = MetaKAN([3, 4, 1], grid_size=9, hidden_dim=8).double()
    fine.use_meta_learners(regrid(coarse.meta_learners[0], 9))
    for new, old in zip(fine.layers, coarse.layers, strict=True):
        new.prompts.data.copy_(old.prompts)
    x = torch.rand(40, 3, dtype=torch.float64) * 2 - 1
    inner = coarse.layers[0](x)
    inside = (inner.abs() <= 1).all(dim=1)  # beyond the grid range the two grids' outer splines differ
    assert inside.sum() > 5
    assert torch.allclose(fine.layers[0](x), inner, atol=1e-11)
    assert torch.allclose(fine(x)[inside], coarse(x)[inside], atol=1e-11)


def test_what_has_no_grid_is_refused():
    with pytest.raises(ValueError, match="found the basis 'no description'"):
        regrid(MetaLearner(1, 4, 9), 7)
    with pytest.raises(ValueError, match="found the basis 'rbf'"):
        regrid(MetaKAN([2, 1], basis="rbf").meta_learners[0], 7)


def test_meta_learners_that_do_not_fit_are_refused():
    model = MetaKAN([3, 4, 1], grid_size=3)
    with pytest.raises(ValueError, match="expected"):
        model.use_meta_learners(MetaKAN([3, 4, 1], grid_size=5).meta_learners[0])


CHANGES = [
    ({"grid_size": 8}, True),
    ({"grid_size": 12}, True),
    ({"grid_size": 4}, True),
    ({"grid_size": 6}, False),
    ({"grid_size": 8, "spline_order": 2}, False),
    ({"grid_size": 8, "spline_order": 4}, False),
    ({"grid_size": 4, "grid_range": (0.0, 1.0)}, True),
    ({"grid_size": 3, "grid_range": (0.0, 1.0)}, False),
    ({"grid_size": 16, "grid_range": (-2.0, 2.0)}, True),
]


@pytest.mark.parametrize(("change", "exact"), CHANGES)
def test_it_says_where_it_is_exact(change, exact):
    """The old knots are -1, -0.5, ... 1; outside the new range the functions differ in any case."""
    torch.manual_seed(0)
    learner = MetaKAN([2, 1], grid_size=4, hidden_dim=8).meta_learners[0].double()
    made = regrid(learner, **change)
    note = made.provenance["regrid"]
    assert note["from"] == learner.basis
    assert note["exact"] is exact
    new, old = (make_basis("bspline", *[each.basis[key] for key in ("grid_size", "spline_order", "grid_range")])
                for each in (made, learner))  # fmt: skip
    low, high = new.grid_range
    points = torch.linspace(low + 1e-6, high - 1e-6, 301, dtype=torch.float64)
    prompts = torch.linspace(-2, 2, 7, dtype=torch.float64).unsqueeze(1)
    with torch.no_grad():
        missed = (made(prompts) @ new.features(points, 0) - learner(prompts) @ old.features(points, 0)).abs().max()
    coefficients = learner(prompts).abs().sum(dim=1).max()
    assert missed <= note["error"] * coefficients + 1e-9
    assert bool(missed < 1e-9) is exact


def test_a_learner_that_names_no_range_is_refused():
    learner = MetaLearner(1, 4, 9, basis={"name": "bspline", "grid_size": 5, "spline_order": 3})
    with pytest.raises(ValueError, match="expected one that names its grid_range"):
        regrid(learner, 10)
