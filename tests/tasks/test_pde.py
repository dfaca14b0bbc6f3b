"""Poisson and Allen-Cahn: the exact solution, its Laplacian, the estimator, and the trivial fits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from kanbench.base import seeds
from kanbench.tasks import pde, task, taskinfo

FLOORS = {  # dimension: sum of the released coefficients, relative L2 of the best constant, affine and quadratic fit
    4: (3.14, 0.145, 0.060, 0.026),
    10: (6.97, 0.074, 0.026, 0.010),
    20: (12.24, 0.035, 0.012, 0.0037),
    50: (7.24, 0.057, 0.0091, 0.0047),
    100: (5.58, 0.065, 0.0070, 0.0039),
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def load(name="poisson", seed=0, dtype=torch.float64, **settings):
    settings = taskinfo.resolve(name, {"test_points": 200, "validation_points": 50, **settings})
    return task.load(name, settings, seed=seed, dtype=dtype, device=torch.device("cpu"))


class Exact(nn.Module):
    """What a perfect network gives: the exact solution without the boundary factor."""

    def __init__(self, subject):
        super().__init__()
        self.coefficients = nn.Parameter(subject.coefficients.clone())

    def forward(self, x):
        return pde.exact_solution(x, self.coefficients) / pde.boundary_factor(x)


def network(dimension, seed=0):
    with seeds.seeded(seed, "network"):
        return nn.Sequential(nn.Linear(dimension, 8), nn.Tanh(), nn.Linear(8, 1)).double()


@pytest.mark.parametrize("dimension", [2, 3, 7, 20, 100])
def test_the_closed_form_laplacian_is_that_of_the_exact_solution(dimension):
    subject = load(dimension=dimension)
    x = subject.points["test"].clone().requires_grad_(True)
    automatic = pde.laplacian(pde.exact_solution(x, subject.coefficients), x)
    assert torch.allclose(automatic, pde.exact_laplacian(x, subject.coefficients), rtol=0, atol=1e-10)


def test_the_exact_solution_by_hand():
    x, c = torch.tensor([[0.3, -0.5, 0.1]], dtype=torch.float64), torch.tensor([2.0, -1.0], dtype=torch.float64)
    g1 = 0.3 + np.cos(-0.5) - 0.5 * np.cos(0.3)
    g2 = -0.5 + np.cos(0.1) + 0.1 * np.cos(-0.5)
    expected = (1 - 0.35) * (2 * np.sin(g1) - np.sin(g2))
    assert pde.exact_solution(x, c).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("name", ["poisson", "allen_cahn"])
def test_the_exact_solution_has_no_residual_and_no_error(name):
    subject = load(name)
    model = Exact(subject)
    found = subject.evaluate(model, "validation")
    assert found["residual"] < 1e-20
    assert found["relative_l2"] < 1e-12
    assert found["relative_l1"] < 1e-12
    batch = next(subject.batches(16, seeds.generator(0, "order")))
    assert subject.loss(model, batch).item() < 1e-20
    assert set(subject.evaluate(model, "test")) == {"relative_l2", "relative_l1"}


def test_the_two_equations_differ_by_the_reaction():
    poisson, allen_cahn = load(), load("allen_cahn")
    allen_cahn.coefficients = poisson.coefficients
    x = poisson.points["test"]
    u = pde.exact_solution(x, poisson.coefficients)
    assert torch.allclose(allen_cahn.source(x) - poisson.source(x), u - u**3, atol=1e-12)


@pytest.mark.parametrize("dimension", [2, 10, 50])
def test_the_source_is_the_left_side_of_the_equation_at_the_exact_solution(dimension):
    for name in ("poisson", "allen_cahn"):
        subject = load(name, dimension=dimension, test_points=20)
        x = subject.points["test"].clone().requires_grad_(True)
        u = pde.exact_solution(x, subject.coefficients)
        (gradient,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        left = sum(
            torch.autograd.grad(gradient[:, i].sum(), x, retain_graph=True)[0][:, i : i + 1] for i in range(dimension)
        )
        if name == "allen_cahn":
            left = left + u - u * u * u
        assert torch.allclose(left, subject.source(x.detach()), rtol=0, atol=1e-9)


def test_the_solution_vanishes_on_the_boundary():
    subject = load()
    x = nn.functional.normalize(subject.points["test"])
    assert subject.solution(network(4), x).abs().max() < 1e-14


def test_the_sampled_laplacian_is_unbiased():
    subject = load(dimension=5)
    x = subject.points["validation"].clone().requires_grad_(True)
    u = subject.solution(network(5), x)
    exact = pde.laplacian(u, x)
    axes = torch.eye(5, dtype=torch.float64)
    subsets = list(itertools.combinations(range(5), 2))
    estimates = torch.stack([pde.laplacian(u, x, axes[list(subset)]) for subset in subsets])
    assert torch.allclose(estimates.mean(0), exact, atol=1e-10)
    assert estimates.std(0).max() > 0.1


def test_sampled_batches_take_every_dimension_equally_often_and_never_twice():
    subject = load(dimension=6, laplacian="sampled", sampled_dimensions=2)
    batches = subject.batches(1, seeds.generator(0, "order"))
    drawn = torch.stack([next(batches)[1] for _ in range(1500)])
    assert drawn.shape == (1500, 2, 6)
    assert drawn.sum(1).max() == 1
    assert torch.allclose(drawn.sum((0, 1)) / 1500, torch.tensor(1 / 3, dtype=torch.float64), atol=0.05)


def test_the_residual_on_drawn_dimensions_is_unbiased_and_its_square_is_not():
    """The mean over drawn subsets meets the exact residual; the loss exceeds the exact one by the variance."""
    subject, model = load("allen_cahn", dimension=8, laplacian="sampled", sampled_dimensions=4), network(8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 6.0  # more curvature, so that the dimensions differ
    x = subject.points["validation"][:3]
    exact = subject.residual(model, x, differentiable=False).detach()
    batches = subject.batches(1, seeds.generator(0, "order"))
    drawn = [next(batches)[1] for _ in range(500)]
    estimates = torch.stack([subject.residual(model, x, axes, differentiable=False).detach() for axes in drawn])
    error = estimates.std(0) / len(drawn) ** 0.5
    assert ((estimates.mean(0) - exact).abs() < 4 * error).all()
    axes = torch.eye(8, dtype=torch.float64)
    every = torch.stack(
        [
            subject.residual(model, x, axes[list(subset)], differentiable=False).detach()
            for subset in itertools.combinations(range(8), 4)
        ]
    )
    variance = every.var(0, unbiased=False)
    assert torch.allclose(every.square().mean(0), exact.square() + variance, rtol=1e-10)
    assert variance.min() > 1e-3 * exact.square().max()


def test_taking_all_dimensions_is_the_exact_loss():
    exact, sampled = load(), load(laplacian="sampled", sampled_dimensions=4)
    model, (points, _) = network(4), next(exact.batches(8, seeds.generator(0, "order")))
    _, axes = next(sampled.batches(8, seeds.generator(0, "order")))
    expected = exact.loss(model, (points, None)).item()
    assert sampled.loss(model, (points, axes)).item() == pytest.approx(expected, rel=1e-12)


def test_points_have_uniform_radius_and_are_drawn_afresh():
    subject = load(dimension=10)
    generator = seeds.generator(0, "order")
    batches = subject.batches(None, generator)
    first, second = next(batches)[0], next(batches)[0]
    assert first.shape == (100, 10)
    assert not torch.equal(first, second)
    again = next(subject.batches(None, seeds.generator(0, "order")))[0]
    assert torch.equal(first, again)
    radius = next(subject.batches(20_000, generator))[0].norm(dim=1)
    assert radius.max() < 1
    quantiles = radius.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    assert torch.allclose(quantiles, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), atol=0.015)


def test_gradients_of_the_loss_agree_with_differences():
    subject, model = load("allen_cahn", dimension=2), network(2)
    points = subject.points["validation"][:5]
    (weight, *_) = model.parameters()
    subject.loss(model, (points, None)).backward()
    step = 1e-6
    with torch.no_grad():
        weight[0, 0] += step
        above = subject.loss(model, (points, None)).item()
        weight[0, 0] -= 2 * step
        below = subject.loss(model, (points, None)).item()
    assert weight.grad[0, 0].item() == pytest.approx((above - below) / (2 * step), rel=1e-5)


def test_evaluation_leaves_parameters_trainable_without_gradients():
    subject, model = load(), network(4)
    model[0].weight.requires_grad_(False)
    subject.evaluate(model, "validation")
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True, True]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


def test_errors_are_evaluated_without_a_graph_and_residuals_a_part_of_the_points_at_a_time():
    subject, rows = load(test_points=1200, validation_points=1200), []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network(4)

        def forward(self, x):
            rows.append((len(x), torch.is_grad_enabled()))
            return self.inner(x)

    model = Watched()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: pytest.fail("a tensor was kept for backward"), lambda t: t):
        subject.evaluate(model, "test")
    assert rows == [(task.EVALUATION_BATCH, False), (1200 - task.EVALUATION_BATCH, False)]
    rows.clear()
    subject.evaluate(model, "validation")
    assert [count for count, graph in rows if graph] == [pde.RESIDUAL_BATCH, pde.RESIDUAL_BATCH, 200]


def test_a_seed_fixes_coefficients_and_points_unless_they_are_the_released_ones():
    first, again, other = load(), load(), load(seed=1)
    assert first.data == again.data
    assert torch.equal(first.coefficients, again.coefficients)
    assert not torch.equal(first.coefficients, other.coefficients)
    assert first.data["fingerprint"] != other.data["fingerprint"]
    released = load(coefficients="released"), load(seed=1, coefficients="released")
    assert torch.equal(released[0].coefficients, released[1].coefficients)
    assert not torch.equal(released[0].points["test"], released[1].points["test"])
    assert load(dtype=torch.float32).data == first.data


@pytest.mark.parametrize("dimension", FLOORS)
def test_the_trivial_fits_reach_the_published_floors(dimension):
    subject = load(dimension=dimension, coefficients="released", test_points=5000)
    total, *expected = FLOORS[dimension]
    assert subject.coefficients.sum().item() == pytest.approx(total, abs=0.005)
    found = [subject.floors()[name]["relative_l2"] for name in ("constant", "affine", "quadratic")]
    assert found == pytest.approx(expected, rel=0.08)
    assert sorted(found, reverse=True) == found
