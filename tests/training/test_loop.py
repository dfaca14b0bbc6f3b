"""The training loop: schedules, selection, early ends."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from kanbench.training import loop, schedules

TRAINING = {
    "optimiser": "sgd",
    "learning_rate": 0.1,
    "weight_decay": 0.0,
    "schedule": "constant",
    "steps": 10,
    "batch_size": None,
    "evaluations": 5,
    "timeout_seconds": None,
}


class Scripted:
    """A task whose validation metric follows a script, while test says the opposite."""

    metric, goal, selection = "rmse", "min", {"metric": "rmse", "goal": "min"}

    def __init__(self, validation, test):
        self.script = {"validation": list(validation), "test": list(test), "train": [0.5] * 9}

    def batches(self, batch_size, generator):
        while True:
            yield torch.ones(1, 1)

    def steps_per_epoch(self, batch_size):
        return 1

    def loss(self, model, batch):
        return model(batch).square().mean()

    def evaluate(self, model, split):
        return {"rmse": self.script[split].pop(0)}


def session(task, model=None, **changes) -> loop.Training:
    training = {**TRAINING, **changes}
    model = model or nn.Linear(1, 1)
    optimiser = loop.make_optimiser([{"name": "other", "params": list(model.parameters())}], training)
    return loop.Training(loop.Trainee(model, task, optimiser), training, torch.Generator(), torch.device("cpu"))


def test_selection_follows_validation_and_never_test():
    found = session(Scripted([9, 5, 2, 3, 4, 4], [9, 1, 7, 6, 5, 0.5]))
    found.run()
    history = found.history
    assert history.selected == {"step": 4, "train": {"rmse": 0.5}, "validation": {"rmse": 2}, "test": {"rmse": 7}}
    assert history.last["step"] == 10
    assert history.last["test"] == {"rmse": 0.5}
    assert history.legacy == {"step": 10, "value": 0.5}
    assert [point["step"] for point in history.curve] == [0, 2, 4, 6, 8, 10]


def test_the_selected_parameters_are_left_in_the_model():
    model = nn.Linear(1, 1, bias=False)
    found = session(Scripted([9, 1, 2, 3, 4, 5], [0] * 6), model)
    found.run()
    again = nn.Linear(1, 1, bias=False)
    again.load_state_dict(found.history.best_state)
    assert torch.equal(model.weight, again.weight)


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged():
    model = nn.Linear(1, 1)
    found = session(Scripted([1] * 6, [1] * 6), model, learning_rate=1e30)
    with pytest.raises(loop.Diverged, match="at step"):
        found.run()
    assert found.history.curve, "what was seen before is kept"


def test_a_metric_that_is_not_finite_ends_the_run_as_diverged():
    with pytest.raises(loop.Diverged, match="validation rmse"):
        session(Scripted([1, math.nan], [1, 1])).run()


def test_the_time_limit_ends_the_run():
    with pytest.raises(loop.TimedOut, match="after step 2 of 10"):
        session(Scripted([1] * 6, [1] * 6), timeout_seconds=1e-9).run()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25, 0]),
        ("cosine", [1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0]),
        ("exponential", [1, 1, 0.7, 0.7, 0.49]),
        ("alternating", [1, 1, 0, 0, 1]),
    ],
)
def test_schedules_have_their_closed_form(name, expected):
    factor = schedules.factor(name, steps=4, steps_per_epoch=2, gamma=0.7)
    assert [factor(step) for step in range(5)] == pytest.approx(expected, abs=1e-12)


def test_the_alternating_schedule_is_what_torch_does_with_t_max_minus_one():
    parameter = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    released = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=-1)
    rates = []
    for _ in range(4):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        released.step()
    ours = schedules.factor("alternating", steps=4, steps_per_epoch=1)
    assert rates == pytest.approx([ours(step) for step in range(4)], abs=1e-12)


def test_an_unknown_schedule_names_the_known_ones():
    with pytest.raises(ValueError, match="constant, linear"):
        schedules.factor("cosin", 1, 1)


def test_groups_scale_their_learning_rate():
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    groups = [{"name": "prompts", "params": [a], "lr_scale": 10.0}, {"name": "other", "params": [b]}]
    optimiser = loop.make_optimiser(groups, {**TRAINING, "optimiser": "adam"})
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([1.0, 0.1])


def two_groups(training):
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    return loop.make_optimiser([{"name": "prompts", "params": [a]}, {"name": "meta_learners", "params": [b]}], training)


def test_settings_of_a_group_win_over_those_of_the_baseline_and_the_general_ones():
    training = {**TRAINING, "optimiser": "adamw", "weight_decay": 0.5}
    training["groups"] = {"prompts": {"learning_rate": 0.01, "weight_decay": 0.25}, "meta_learners": {}}
    prompts, learners = two_groups(training).param_groups
    assert (prompts["lr"], prompts["weight_decay"]) == (0.01, 0.25)
    assert (learners["lr"], learners["weight_decay"]) == (0.1, 0.5)
    parameter = nn.Parameter(torch.ones(1))
    group = {"name": "prompts", "params": [parameter], "lr_scale": 10.0, "weight_decay": 0.125}
    training["groups"] = {"prompts": {"learning_rate": 0.02}}
    (found,) = loop.make_optimiser([group], training).param_groups
    assert (found["lr"], found["weight_decay"]) == (0.02, 0.125)


def test_each_group_follows_its_own_schedule():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.prompts, self.learners = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

        def forward(self, x):
            return x * self.prompts * self.learners

    training = {**TRAINING, "steps": 4, "evaluations": 1}
    training["groups"] = {
        "prompts": {"learning_rate": 0.01},
        "meta_learners": {"learning_rate": 0.2, "schedule": "alternating"},
        "other": {"schedule": "exponential", "gamma": 0.7},
    }
    model, rates = Two(), []
    groups = [{"name": n, "params": [p]} for n, p in (("prompts", model.prompts), ("meta_learners", model.learners))]
    groups.append({"name": "other", "params": [nn.Parameter(torch.ones(1))]})
    optimiser = loop.make_optimiser(groups, training)
    trainee = loop.Trainee(model, Scripted([1] * 2, [1] * 2), optimiser)
    trainee.after_step = lambda *_: rates.append([group["lr"] for group in optimiser.param_groups])
    loop.Training(trainee, training, torch.Generator(), torch.device("cpu")).run()
    expected = [[0.01, 0.2, 0.1], [0.01, 0.0, 0.07], [0.01, 0.2, 0.049], [0.01, 0.0, 0.0343]]
    assert [rate for each in rates for rate in each] == pytest.approx([rate for each in expected for rate in each])


def test_lbfgs_decays_its_learning_rate_exponentially_as_the_released_dense_kan_does():
    class Rosenbrock(nn.Module):
        def __init__(self):
            super().__init__()
            self.x = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))

        def forward(self, batch):
            return torch.stack([10 * (self.x[1] - self.x[0] ** 2), 1 - self.x[0]])

    model, rates = Rosenbrock(), []
    changes = {"optimiser": "lbfgs", "learning_rate": 1.0, "schedule": "exponential", "gamma": 0.7, "steps": 6}
    found = session(Scripted(range(9, 0, -1), [1] * 6), model, **changes)
    found.trainee.after_step = lambda *_: rates.append(found.trainee.optimiser.param_groups[0]["lr"])
    found.run()
    assert rates == pytest.approx([0.7**step for step in range(6)])
    assert model.x.tolist() == pytest.approx([1.0, 1.0], abs=1e-5)


def test_evaluations_are_even_and_end_at_the_last_step():
    assert loop.evaluation_steps(10, 3) == [3, 7, 10]
    assert loop.evaluation_steps(2, 10) == [1, 2]
