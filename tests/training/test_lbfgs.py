"""Many runs of L-BFGS at once decide as `torch.optim.LBFGS` does for each of them."""

from __future__ import annotations

import copy

import pytest
import torch
from scipy import stats
from test_ensemble import numbers, of_method, seeds_of

from kanbench.training import compiled, ensemble, lbfgs, train
from kanbench.training.side_by_side import SideBySide

OPTIONS = {"history_size": 10, "max_iter": 20, "tolerance_grad": 1e-32, "tolerance_change": 1e-32}
DIRECTIONS = 20
"""Iterations of a run whose points are compared; from then on rounding errors have grown too far."""


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch, request):
    """Measure no memory, which takes longer than all else in tests, but where the test asks for it."""
    if "measured" not in request.fixturenames:
        monkeypatch.setattr(train, "_memory", lambda *_: {})


@pytest.fixture
def measured():
    """Measure memory."""


class Spied(lbfgs.LBFGS):
    """Keeps the points that each run tried, first the one where it started."""

    def __init__(self, points, *arguments, **options):
        super().__init__(points, *arguments, **options)
        self.tried = [[row.clone()] for row in points.detach()]

    def _try(self, evaluate, searches):
        running = list(searches)

        def seen(points):
            for run in running:
                if self.directions[run] <= DIRECTIONS:
                    self.tried[run].append(points[run].clone())
            return evaluate(points)

        return super()._try(seen, searches)


def torch_alone(start, loss, options, steps=1, rate=1.0):
    """Return the points that torch tries for one run, where it ends, and the optimiser's own state."""
    point = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([point], lr=rate, line_search_fn="strong_wolfe", **options)
    tried, seen = [start.clone()], False

    def closure():
        nonlocal seen
        optimiser.zero_grad()
        value = loss(point)
        value.backward()
        if seen and optimiser.state[point]["n_iter"] <= DIRECTIONS:
            tried.append(point.detach().clone())
        seen = True
        return value

    for _ in range(steps):
        seen = False  # a step begins by evaluating where it is
        optimiser.step(closure)
    return tried, point.detach(), optimiser.state[point]


def compare(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9, equal_nan=True)


def rosenbrock(point):
    return (5 * (point[1:] - point[:-1] ** 2) ** 2 + (1 - point[:-1]) ** 2).sum()


def logarithm(point):
    return (point * torch.log(point)).sum() + 3 * (point - 2).square().sum()


def stacked(losses):
    """Return what evaluates each row by a function of its own."""

    def evaluate(points):
        rows = [torch.func.grad_and_value(loss)(row) for loss, row in zip(losses, points, strict=True)]
        return torch.stack([value for _, value in rows]), torch.stack([gradient for gradient, _ in rows])

    return evaluate


def test_runs_that_converge_or_break_wait_and_the_others_go_on():
    starts = torch.tensor(
        [[-1.2, 1.0, 0.4], [1.0, 1.0, 1.0], [1.0, 1.1, 0.9], [0.5, 1.0, 2.0], [-1.0, 1.0, 1.0]]
    ).double()
    losses = [rosenbrock, rosenbrock, rosenbrock, logarithm, logarithm]  # the second starts where its gradient is 0
    options = {**OPTIONS, "tolerance_grad": 1e-7, "tolerance_change": 1e-9}
    together = Spied(starts.clone(), **options)
    before = together.step(stacked(losses))
    for run, (start, loss) in enumerate(zip(starts, losses, strict=True)):
        tried, end, state = torch_alone(start, loss, options)
        compare(together.tried[run], tried)
        torch.testing.assert_close(together.points[run], end, rtol=1e-9, atol=1e-9, equal_nan=True)
        assert together.directions[run] == state["n_iter"]
        assert float(before[run]) == pytest.approx(float(loss(start)), nan_ok=True)
    assert together.directions[1] == 0, "at rest from the start"
    assert 0 < together.directions[3] < DIRECTIONS, "converged within the step"
    assert not together.points[4].isfinite().all(), "not a number from the start"
    assert together.points[:4].isfinite().all()


def test_histories_and_rates_go_on_from_step_to_step():
    starts = torch.tensor([[-1.2, 1.0, 0.4, 2.0], [0.3, -0.5, 1.0, 0.2]]).double()
    options = {**OPTIONS, "max_iter": 3, "history_size": 4}
    together = Spied(starts.clone(), 0.5, **options)
    for _ in range(5):
        together.step(stacked([rosenbrock] * 2), renewed=False)
    for run, start in enumerate(starts):
        tried, end, state = torch_alone(start, rosenbrock, options, steps=5, rate=0.5)
        compare(together.tried[run], tried)
        torch.testing.assert_close(together.points[run], end, rtol=1e-9, atol=1e-9)
        assert together.directions[run] == state["n_iter"] > 4, "more than the history holds"


def test_runs_may_differ_in_their_rates():
    starts = torch.tensor([[-1.2, 1.0, 0.4], [-1.2, 1.0, 0.4]]).double()
    together = Spied(starts.clone(), 0.5, rates=[1.0, 0.2], **OPTIONS)
    together.step(stacked([rosenbrock] * 2))
    for run, rate in enumerate((0.5, 0.1)):
        tried, _, _ = torch_alone(starts[run], rosenbrock, OPTIONS, rate=rate)
        compare(together.tried[run], tried)
    assert not torch.equal(together.tried[0][1], together.tried[1][1])


def test_a_run_left_out_keeps_its_point():
    starts = torch.tensor([[-1.2, 1.0], [0.3, -0.5]]).double()
    together = lbfgs.LBFGS(starts.clone(), **OPTIONS)
    together.step(stacked([rosenbrock] * 2), [1])
    assert torch.equal(together.points[0], starts[0])
    compare([together.points[1]], [torch_alone(starts[1], rosenbrock, OPTIONS)[1]])


def test_the_recursion_multiplies_by_the_inverse_of_bfgs():
    generator = torch.Generator().manual_seed(3)
    moves, bends = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64).unbind()
    history = lbfgs.History(torch.zeros(2, 5, dtype=torch.float64), 3)
    kept = []
    for move, bend in zip(moves, bends, strict=True):
        history.add(torch.stack([move, move]), torch.stack([bend, -bend]), torch.tensor([True, True]))
        if move @ bend > lbfgs.LEAST_CURVATURE:
            kept = [*kept, (move, bend)][-3:]
    assert len(kept) >= 2, "pairs of negative curvature are left out"
    move, bend = kept[-1]
    inverse = torch.eye(5, dtype=torch.float64) * (move @ bend) / (bend @ bend)
    for move, bend in kept:  # Nocedal and Wright, equation 7.16
        scale = 1 / (move @ bend)
        project = torch.eye(5, dtype=torch.float64) - scale * torch.outer(bend, move)
        inverse = project.T @ inverse @ project + scale * torch.outer(move, move)
    vector = torch.arange(5, dtype=torch.float64)
    torch.testing.assert_close(history.times(torch.stack([vector, vector]))[0], inverse @ vector)


def in_double(specs):
    for spec in specs:
        spec["dtype"] = "float64"
    return specs


@pytest.mark.parametrize("name", ["mlp", "efficient_kan", "metakan-relu", "fast_kan"])
def test_the_first_twenty_directions_of_a_method_are_those_of_torch(spec, name, monkeypatch):
    monkeypatch.setattr(lbfgs, "LBFGS", Spied)
    wished = of_method(spec, name, optimiser="lbfgs", learning_rate=1.0, steps=2, evaluations=1)
    attempts = [train.Attempt(each) for each in in_double(seeds_of(wished))]
    for attempt in attempts:
        attempt.prepare()
    together = ensemble.Ensemble(attempts)
    assert isinstance(together.rows, SideBySide)
    starts = together.rows.points.clone()
    together.run()
    assert all(count >= DIRECTIONS for count in together.rows.optimiser.directions)
    for run, attempt in enumerate(attempts):
        alone = train.Attempt(attempt.spec)
        alone.prepare()
        model, batch = alone.session.trainee.model, next(alone.session.batches)
        named = dict(model.named_parameters())

        def loss(point, named=named, model=model, batch=batch, alone=alone):
            parts = point.split([each.numel() for each in named.values()])
            state = {name: part.view(named[name].shape) for name, part in zip(named, parts, strict=True)}
            return alone.task.loss(lambda x: torch.func.functional_call(model, state, (x,)), batch)

        tried, _, _ = torch_alone(starts[run], loss, OPTIONS, steps=2)
        compare(together.rows.optimiser.tried[run], tried)
        assert len(tried) > DIRECTIONS
    assert [attempt.result["status"] for attempt in attempts] == ["ok"] * 3


def test_records_are_those_of_separate_runs_formulas_with_equal_shapes_included(spec, measured):
    cell = of_method(spec, "mlp", optimiser="lbfgs", learning_rate=1.0, steps=2, evaluations=2)
    other = copy.deepcopy(cell)
    other["task"]["settings"]["formula"] = "I.14.4"
    specs = in_double([*seeds_of(cell, 2), *seeds_of(other, 2)])
    for each, found in zip(specs, ensemble.run(specs), strict=True):
        assert found["time"]["together"] == 4, found["time"]
        alone = train.run(each)
        assert "too few" in found["time"]["capture"]["reason"]
        for one, other in zip(numbers(found), numbers(alone), strict=True):
            assert one == pytest.approx(other, rel=1e-6, abs=1e-9)
        for part in ("parameters", "memory", "data", "floors", "spec", "status", "method_info", "selection", "code"):
            assert found[part] == alone[part]


def test_a_run_whose_loss_is_no_number_fails_alone(spec, monkeypatch):
    specs = in_double(seeds_of(of_method(spec, "mlp", optimiser="lbfgs", learning_rate=1.0, steps=2, evaluations=2)))
    begin = train.loop.Training.begin

    def broken(self):
        begin(self)
        if self.generator.initial_seed() == train.seeds.derive(1, "order"):
            with torch.no_grad():
                next(self.trainee.model.parameters()).fill_(float("nan"))

    alone = train.run(specs[2])
    monkeypatch.setattr(train.loop.Training, "begin", broken)
    found = ensemble.run(specs)
    assert [each["status"] for each in found] == ["ok", "diverged", "ok"]
    assert "at step 1 of 2" in found[1]["reason"]
    assert [each["time"]["together"] for each in found] == [3, 3, 3]
    assert numbers(found[2])[-1] == pytest.approx(numbers(alone)[-1], rel=1e-6)


SEEDS, LEVEL = 20, 0.01


def test_errors_after_many_steps_are_distributed_alike(spec):
    """By the two-sample test of Kolmogorov and Smirnov, which tells runs of fewer steps apart."""
    cell = of_method(spec, "mlp", optimiser="lbfgs", learning_rate=1.0, steps=10, evaluations=1)
    fewer = copy.deepcopy(cell)
    fewer["training"]["steps"] = 1
    errors = [
        [found["metrics"]["last"]["test"]["rmse"] for found in records]
        for records in (
            ensemble.run(seeds_of(cell, SEEDS)),
            [train.run(each) for each in seeds_of(cell, SEEDS)],
            ensemble.run(seeds_of(fewer, SEEDS)),
        )
    ]
    together, alone, other = errors
    assert stats.ks_2samp(together, alone).pvalue > LEVEL
    assert stats.ks_2samp(other, alone).pvalue < LEVEL


@pytest.fixture
def eager_to_compile(monkeypatch):
    monkeypatch.setattr(compiled, "LEAST_EVALUATIONS", 0)
    monkeypatch.setattr(compiled, "LEAST_NUMBERS", 0)


def test_a_compiled_evaluation_gives_the_numbers_of_an_eager_one(spec, eager_to_compile):
    specs = in_double(
        seeds_of(of_method(spec, "affine", optimiser="lbfgs", learning_rate=1.0, steps=2, evaluations=2), 2)
    )
    for each, found in zip(specs, ensemble.run(specs), strict=True):
        assert found["time"]["capture"]["used"] == "compiled", found["time"]["capture"]
        assert found["time"]["capture"]["deviation"] <= 1.0
        for one, other in zip(numbers(found), numbers(train.run(each)), strict=True):
            assert one == pytest.approx(other, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda graph: lambda *given: tuple(part * (1 + 1e-3) for part in graph(*given)), "as much as is allowed"),
        (lambda graph: 1 / 0, "cannot be compiled: division by zero"),
    ],
)
def test_where_compiling_fails_evaluations_stay_eager(spec, eager_to_compile, monkeypatch, fault, reason):
    monkeypatch.setattr(compiled, "_fused", fault)
    specs = seeds_of(of_method(spec, "mlp", optimiser="lbfgs", learning_rate=1.0, steps=1, evaluations=1), 2)
    for found in ensemble.run(specs):
        assert found["status"] == "ok"
        assert found["time"]["capture"]["used"] == "eager"
        assert reason in found["time"]["capture"]["reason"]


def test_what_depends_on_the_point_only_where_it_was_recorded_is_found_out(eager_to_compile):
    """A branch on values outside torch is recorded as it went; the second point of the comparison goes another way."""

    def function(points, factor):
        sign = 1.0 if float(points.detach().numpy().sum()) > 0 else -1.0
        return (points * factor * sign).sum(1), points * sign

    points = torch.ones(2, 3) * 1e-9  # the changes of the comparison add up to less than 0
    function, told = compiled.choose({}, 1, function, [points, torch.ones(3)])
    assert told["used"] == "eager"
