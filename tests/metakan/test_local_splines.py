"""B-splines by local support against scipy and against the closed form over all splines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline as Reference

from metakan.bases import make_basis

pytestmark = pytest.mark.usefixtures("evaluation")

CASES = [(1, 1), (5, 3), (7, 2), (20, 3), (200, 3), (3, 5)]


def knots(grid_size: int, order: int, low: float = -1.0, high: float = 1.5) -> np.ndarray:
    return low + (high - low) / grid_size * np.arange(-order, grid_size + order + 1)


def basis_of(grid_size: int, order: int):
    return make_basis("bspline", grid_size, order, (-1.0, 1.5))


def dense(basis, x: torch.Tensor, derivative: int) -> torch.Tensor:
    """Spread the splines that each point meets over all of them, SiLU's place left out."""
    cell, powers = basis.local.locate(x)
    full = torch.zeros(len(x), basis.numbers, dtype=x.dtype)
    full.scatter_(1, basis.local.met(cell), basis.local.values(powers, derivative).t())
    return full[:, :-1]


@pytest.mark.parametrize(("grid_size", "order"), CASES)
def test_values_and_derivatives_are_scipys(grid_size, order):
    basis, places = basis_of(grid_size, order), knots(grid_size, order)
    x = np.random.default_rng(0).uniform(places[0], places[-1], 400)
    for derivative in range(order + 2):
        found = dense(basis, torch.from_numpy(x), derivative).numpy()
        for spline in range(basis.count):
            one = Reference.basis_element(places[spline : spline + order + 2], extrapolate=False)
            expected = np.nan_to_num(one.derivative(derivative)(x)) if derivative <= order else np.zeros_like(x)
            assert np.abs(found[:, spline] - expected).max() <= 1e-11 * basis.spacing**-derivative


@pytest.mark.parametrize(("grid_size", "order"), CASES)
def test_knots_belong_to_the_interval_on_their_right_and_nothing_is_outside(grid_size, order):
    basis, places = basis_of(grid_size, order), torch.from_numpy(knots(grid_size, order))
    cell, powers = basis.local.locate(places + 1e-9)
    assert cell.tolist() == list(range(1, grid_size + 2 * order + 2))
    assert powers[0].eq(1).all()
    outside = torch.tensor([-1e30, places[0] - 1e-6, places[-1] + 1e-6, 1e30, torch.inf, -torch.inf, torch.nan])
    assert dense(basis, outside.double(), 0).eq(0).all()


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize(("grid_size", "order"), [(5, 3), (20, 2), (100, 3)])
def test_an_evaluation_equals_the_planes_and_their_slopes(evaluation, grid_size, order, dim):
    basis = basis_of(grid_size, order)
    x = (4 * torch.rand(6, 7, generator=torch.Generator().manual_seed(1)) - 2).double().t()  # not contiguous
    point = basis.at(x, dim)
    kernel = evaluation == "kernels" and dim == 2
    assert type(point).__name__ == ("_NativeEvaluation" if kernel else "_LocalEvaluation")
    assert torch.allclose(point.features(), basis.features(x, dim), rtol=0, atol=1e-12)
    gradient = torch.randn(basis.features(x, dim).shape, dtype=x.dtype)
    expected = (gradient * basis.slopes(x).movedim(0, dim)).sum(dim)
    assert torch.allclose(point.pull(gradient.clone()), expected, rtol=1e-11, atol=1e-11)


def test_what_is_not_a_number_stays_visible():
    features = basis_of(5, 3).at(torch.tensor([[torch.nan, 0.0]]), 2).features()
    assert features[0, 0].isnan().any()
    assert features[0, 1].isfinite().all()
