"""The line search tries and chooses what torch's does, on any line."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch.optim.lbfgs import _strong_wolfe

from kanbench.training.line_search import Trial, strong_wolfe

SHAPES = {
    "quartic": lambda t, a, b, c: a * t + b * t**2 + c * t**3 + 0.3 * t**4,
    "wave": lambda t, a, b, c: a * t + 0.2 * b * torch.sin(5 * c * t) + 0.1 * t**2,
    "valley": lambda t, a, b, c: torch.log1p((t - 3 * b) ** 2) + 0.01 * c * t,
    "cliff": lambda t, a, b, c: a * t + torch.exp(t * (0.3 + abs(b))) * (0.3 + c**2),
    "broken": lambda t, a, b, c: a * t - 0.1 * torch.log(1 + b - t),  # not a number beyond 1 + b
}


def line(shape, a, b, c):
    """Return what gives loss and slope at a step."""

    def at(step: float) -> tuple[float, float]:
        t = torch.tensor(float(step), dtype=torch.float64, requires_grad=True)
        loss = SHAPES[shape](t, a, b, c)
        (slope,) = torch.autograd.grad(loss, t)
        return loss.item(), slope.item()

    return at


def ours(at, first, most):
    start = Trial(0.0, *at(0.0))
    search, tried = strong_wolfe(start, first, 1.0, most), []
    step = next(search)
    while True:
        tried.append(step)
        try:
            step = search.send(Trial(step, *at(step)))
        except StopIteration as end:
            chosen, count = end.value
            return tried, chosen, count


def theirs(at, first, most):
    tried = []

    def objective(_, step, __):
        tried.append(float(step))
        loss, slope = at(float(step))
        return loss, torch.tensor([slope], dtype=torch.float64)

    loss, slope = at(0.0)
    along, start = torch.ones(1, dtype=torch.float64), torch.tensor([slope], dtype=torch.float64)
    found = _strong_wolfe(objective, None, first, along, loss, start, start.dot(along), max_ls=most)
    return tried, found


@settings(max_examples=300, deadline=None, derandomize=True)  # on lines without bend, the last bit decides
@given(
    shape=some.sampled_from(sorted(SHAPES)),
    numbers=some.tuples(some.floats(-2, 2), some.floats(-2, 2), some.floats(-2, 2)),
    first=some.sampled_from([0.25, 1.0, 8.0]),
    most=some.integers(1, 24),
)
def test_trials_and_choice_are_those_of_torch(shape, numbers, first, most):
    at = line(shape, *numbers)
    loss, slope = at(0.0)
    if not (math.isfinite(loss) and slope < -1e-6):
        return
    try:
        expected, (loss, gradient, step, count) = theirs(at, first, most)
    except ZeroDivisionError:  # torch divides Python's floats where two trials are at one point
        return
    tried, chosen, found = ours(at, first, most)
    assert tried == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)
    assert found == count == len(expected)
    assert chosen.step == pytest.approx(float(step), rel=1e-9, abs=1e-12, nan_ok=True)
    assert chosen.loss == pytest.approx(float(loss), rel=1e-9, abs=1e-12, nan_ok=True)
    assert chosen.slope == pytest.approx(gradient.item(), rel=1e-6, abs=1e-9, nan_ok=True)


def test_a_step_that_was_chosen_fulfils_both_conditions():
    at = line("wave", -1.0, 1.0, 1.3)
    start = Trial(0.0, *at(0.0))
    tried, chosen, _ = ours(at, 7.0, 24)
    assert len(tried) > 2, "the first step does not do"
    assert chosen.loss <= start.loss + 1e-4 * chosen.step * start.slope
    assert abs(chosen.slope) <= 0.9 * abs(start.slope)
