"""Problem, batches, evaluation and metrics of supervised tasks."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from kanbench.base import seeds
from kanbench.tasks import task, taskinfo
from kanbench.tasks.feynman import regression_metrics
from kanbench.tasks.images import classification_metrics
from kanbench.tasks.task import Problem, TensorTask


def numbered(count: int) -> TensorTask:
    """A task whose inputs are their own numbers."""
    column = torch.arange(count, dtype=torch.float64)[:, None]
    splits = dict.fromkeys(task.SPLITS, (column, column))
    info = taskinfo.discover()["feynman"]
    problem = Problem("function_fitting", inputs=1, outputs=1)
    return TensorTask(info, problem, splits, {}, nn.functional.mse_loss, regression_metrics(2.0), {})


def test_a_problem_knows_its_widths_and_shapes():
    problem = Problem("classification", inputs=784, outputs=10, input_shape=[1, 28, 28])
    assert problem.width({"hidden_width": 32, "depth": 2}) == [784, 32, 32, 10]
    assert problem.width({"hidden_width": 32, "depth": 0}) == [784, 10]
    assert problem.input_shape == (1, 28, 28)
    assert Problem("pde", inputs=4, outputs=1).input_shape == (4,)
    with pytest.raises(AttributeError):
        problem.inputs = 3


@pytest.mark.parametrize(("count", "size", "steps"), [(10, 5, 2), (10, 4, 3), (10, 1, 10), (10, 10, 1), (10, 64, 1)])
def test_the_batches_of_an_epoch_hold_every_sample_once(count, size, steps):
    subject = numbered(count)
    assert subject.steps_per_epoch(size) == steps
    batches = subject.batches(size, seeds.generator(0, "order"))
    for _ in range(3):
        parts = list(itertools.islice(batches, steps))
        assert sorted(torch.cat([inputs[:, 0] for inputs, _ in parts]).tolist()) == list(range(count))
        assert all(torch.equal(inputs, targets) for inputs, targets in parts)


def test_epochs_are_reshuffled_and_a_seed_repeats_them():
    def order(seed):
        batches = numbered(32).batches(8, seeds.generator(seed, "order"))
        return [inputs[:, 0].tolist() for inputs, _ in itertools.islice(batches, 8)]

    first = order(0)
    assert first == order(0) != order(1)
    assert first[:4] != first[4:]


def test_no_batch_size_is_the_full_batch_in_its_order():
    subject = numbered(7)
    inputs, _ = next(subject.batches(None, seeds.generator(0, "order")))
    assert inputs[:, 0].tolist() == list(range(7))
    assert subject.steps_per_epoch(None) == 1
    assert subject.train_size == 7
    assert subject.resident_bytes() == 3 * 2 * 7 * 8


def test_drawing_batches_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    batches = numbered(32).batches(8, seeds.generator(0, "order"))
    for _ in range(9):
        next(batches)
    assert torch.equal(before, torch.get_rng_state())


class Noting(nn.Module):
    """Doubles its input and remembers how it was called."""

    def __init__(self):
        super().__init__()
        self.part = nn.Dropout()
        self.factor = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
        self.calls = []

    def forward(self, x):
        self.calls.append((self.training, self.part.training, torch.is_grad_enabled(), len(x)))
        return self.factor * x


def test_evaluation_is_in_parts_without_a_graph_and_leaves_every_mode_as_it_was():
    model, subject = Noting(), numbered(1500)
    model.part.eval()
    found = subject.evaluate(model, "validation")
    assert model.calls == [(False, False, False, 1024), (False, False, False, 476)]
    assert (model.training, model.part.training) == (True, False)
    assert model.factor.grad is None
    assert found["rmse"] == pytest.approx(math.sqrt(sum(i * i for i in range(1500)) / 1500), rel=1e-12)


def test_regression_metrics_by_hand():
    outputs, targets = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[1.0], [4.0], [-1.0]])
    found = regression_metrics(scale=2.0)(outputs, targets)
    rmse = math.sqrt((0 + 4 + 16) / 3)
    assert found == pytest.approx({"rmse": rmse, "mae": 2.0, "nrmse": rmse / 2})


def test_classification_metrics_by_hand():
    outputs = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25]]))
    found = classification_metrics(outputs, torch.tensor([0, 2, 0, 1]))
    entropy = -(math.log(0.7) + math.log(0.6) + math.log(0.1) + math.log(0.25)) / 4
    assert found == pytest.approx({"accuracy": 0.5, "cross_entropy": entropy}, rel=1e-6)


def test_fingerprints_do_not_see_the_last_bits_of_double_precision():
    a = torch.linspace(0.1, 3, 1000, dtype=torch.float64).sin()
    other_processor = torch.nextafter(a, a + 1)
    assert not torch.equal(a, other_processor)
    assert task.fingerprint(a) == task.fingerprint(other_processor)
    assert task.fingerprint(a) != task.fingerprint(a * (1 + 1e-6))


def test_fingerprints_tell_values_shapes_and_types_apart():
    a = torch.arange(6.0)
    assert task.fingerprint(a) == task.fingerprint(a.clone())
    different = {task.fingerprint(t) for t in (a, a.view(2, 3), a.double(), a + 1)}
    assert len(different) == 4
