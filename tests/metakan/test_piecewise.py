"""Functions that all inputs share: piecewise polynomials against the features they stand for."""

from __future__ import annotations

import pytest
import torch
from scipy.interpolate import BSpline as Reference

from metakan.bases import make_basis
from metakan.engine import piecewise

pytestmark = pytest.mark.usefixtures("evaluation")


def points(count: int) -> torch.Tensor:
    return 4 * torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 2


@pytest.mark.parametrize(("grid_size", "order"), [(1, 1), (5, 3), (100, 2), (6, 5)])
def test_values_are_scipys(grid_size, order):
    basis = make_basis("bspline", grid_size, order, (-1.0, 1.0))
    coefficients = torch.randn(3, basis.numbers, dtype=torch.float64)
    x = points(300).clamp(-1, 1 - 1e-9)
    found = piecewise.Pieces(basis, coefficients).values(x) - coefficients[:, -1:] * torch.nn.functional.silu(x)
    knots = [-1 + basis.spacing * (i - order) for i in range(grid_size + 2 * order + 1)]
    for values, row in zip(found, coefficients, strict=True):
        expected = torch.from_numpy(Reference(knots, row[:-1].numpy(), order)(x.numpy()))
        assert torch.allclose(values, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("grid_size", "order"), [(1, 1), (5, 3), (100, 3)])  # the last sums without indicators
def test_both_evaluations_agree_on_values_and_gradients(grid_size, order):
    basis = make_basis("bspline", grid_size, order, (-1.0, 1.0))
    coefficients, x = torch.randn(2, basis.numbers, dtype=torch.float64), points(500)
    first, second = (kind(basis, coefficients) for kind in (piecewise.Pieces, piecewise.Planes))
    gradient = torch.randn(2, 500, dtype=torch.float64)
    assert torch.allclose(first.values(x), second.values(x), rtol=0, atol=1e-12)
    for part in (slice(0, 200), slice(200, 400), slice(400, 500)):  # the last block is shorter
        ours, theirs = (kind.pull(x[part], gradient[:, part], True) for kind in (first, second))
        assert torch.allclose(ours, theirs, rtol=1e-11, atol=1e-11)
    assert torch.allclose(first.gradients(), second.gradients(), rtol=1e-11, atol=1e-11)
    assert first.pull(x, gradient, False) is None


def test_only_splines_have_pieces(evaluation):
    pieces = piecewise.KernelPieces if evaluation == "kernels" else piecewise.Pieces
    for name, kind in (("bspline", pieces), ("rbf", piecewise.Planes), ("chebyshev", piecewise.Planes)):
        basis = make_basis(name, 5, 3, (-1.0, 1.0))
        assert type(piecewise.make_functions(basis, torch.zeros(2, basis.numbers))) is kind
    basis = make_basis("bspline", 5, 3, (-1.0, 1.0))
    assert isinstance(piecewise.make_functions(basis, torch.zeros(2, 9, dtype=torch.bfloat16)), piecewise.Planes)


def test_blocks_cover_all_points_once():
    functions = piecewise.Pieces(make_basis("bspline", 5, 3, (-1.0, 1.0)), torch.zeros(2, 9))
    ranges = piecewise.blocks(functions, 2 * functions.block + 7)
    assert [stop - start for start, stop in ranges] == [functions.block, functions.block, 7]
    assert piecewise.blocks(functions, 0) == []
