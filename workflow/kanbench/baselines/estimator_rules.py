"""The rules of the contract of an estimator: an object with `fit` and `predict` (`estimators`)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from kanbench.base import seeds
from kanbench.baselines import build, conduct, estimators
from kanbench.baselines.discovery import resolve
from kanbench.baselines.rules import BATCH_TOLERANCE, BATCHES, TOLERANCE, TRAIN_FALL
from kanbench.baselines.subject import Broken, NotTried, Subject, require
from kanbench.tasks.task import Problem

SAMPLES = 64
"""Points that the rules fit to."""
FAMILIES = (("function_fitting", 1, 1), ("function_fitting", 3, 2), ("classification", 2, 2))
"""Family, inputs and outputs of the small problems."""


class EstimatorSubject(Subject):
    """An estimator and its example; `model` returns it unfitted, `fitted` fitted to drawn points."""

    def _built(self, seed, settings, problem):
        self.module  # noqa: B018 - imported here, so that what the import changes is seen and undone
        with seeds.seeded(seed, "initialisation"):
            return estimators.build(self.method, settings, problem)

    def data(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Return points and targets that every class occurs in."""
        x = self.inputs(SAMPLES, problem)
        if problem.family == "classification":
            return x, torch.arange(SAMPLES) % problem.outputs
        sums = x.flatten(1).sum(1, keepdim=True)
        return x, sums * torch.arange(1, problem.outputs + 1) + x.flatten(1)[:, :1] ** 2

    def fitted(self, seed: int = 0, problem: Problem | None = None) -> tuple[estimators.Fitted, Tensor, Tensor]:
        """Return an estimator for a problem (default: the example's), and what it was fitted to."""
        settings = self.settings if problem is None else resolve(self.method, problem.family, {})
        chosen = problem or self.problem
        model, (x, y) = self._built(seed, settings, chosen), self.data(chosen)
        with seeds.seeded(seed, "initialisation"):
            model.fit(x, y)
        return model, x, y


def builds(subject: EstimatorSubject) -> None:
    """`build(problem, settings)` returns an object with `fit` and `predict`."""
    subject.model()


def shapes(subject: EstimatorSubject) -> None:
    """`predict` returns one row a point, finite, for 1, 2 and 7 points, and leaves points and targets alone."""
    model, x, y = subject.fitted()
    again_x, again_y = subject.data(subject.problem)
    for batch in BATCHES:
        _require_outputs(model, subject.inputs(batch), subject.problem)
    require(torch.equal(x, again_x) and torch.equal(y, again_y), "fit or predict changed the data in place")


def _require_outputs(model: nn.Module, x: Tensor, problem: Problem) -> None:
    outputs = model(x)
    require(outputs.shape == (len(x), problem.outputs), f"{len(x)} points gave the shape {tuple(outputs.shape)}")
    require(bool(torch.isfinite(outputs).all()), f"outputs for {len(x)} points are not finite")


def small_problems(subject: EstimatorSubject) -> None:
    """Problems of one input, of several outputs and of two classes have outputs of their shape."""
    for problem in (Problem(*each) for each in FAMILIES):
        if subject.method.skip_reason(problem.family):
            continue
        try:
            _require_outputs(subject.fitted(problem=problem)[0], subject.inputs(5, problem), problem)
        except Exception as error:
            where = f"{problem.family} with {problem.inputs} input(s) and {problem.outputs} output(s)"
            raise Broken(f"{where}: {str(error) or type(error).__name__}") from error


def count(subject: EstimatorSubject) -> None:
    """Where `count_parameters` is offered, the fitted example has as many as are declared."""
    found = estimators.parameters(subject.module, subject.fitted()[0])
    declared = subject.example.get("variants", {}).get(
        subject.method.variant, subject.example.get("trainable_parameters")
    )
    if found is None and declared is None:
        raise NotTried("no count_parameters, and none declared")
    require(found == declared, f"{found} counted, {declared} declared (example.trainable_parameters)")


def names(subject: EstimatorSubject) -> None:
    """No function of model.py is called almost as one that the harness looks for."""
    conduct.check_names(subject.module, estimators.OFFERS)


def files(subject: EstimatorSubject) -> None:
    """Building, fitting and predicting write no file anywhere and start no process."""
    subject.module  # noqa: B018 - what importing a package writes is not the baseline's
    with tempfile.TemporaryDirectory() as folder, conduct.written_in(Path(folder), subject) as written:
        model, x, _ = subject.fitted()
        model(x)
    require(not written, f"written: {', '.join(sorted(written))}")


def settings_read_only(subject: EstimatorSubject) -> None:
    """Neither the settings nor the problem are changed; both belong to the harness."""
    given, problem = dict(subject.settings), Problem(**subject.example["problem"])
    subject.module.build(problem, given)
    require(given == subject.settings, f"{subject.settings} became {given}")


def generators(subject: EstimatorSubject) -> None:
    """No switch of torch is changed; importing, building and fitting leave them as they were."""
    require(not subject.import_changes, f"importing model.py changes {subject.import_changes}")
    before = build.switches()
    model, x, _ = subject.fitted()
    model(x)
    changed = build.switched(before)
    build.restore(before)
    require(not changed, f"fitting changes {changed}")


def seed_decides(subject: EstimatorSubject) -> None:
    """Fitted twice from one seed it predicts the same to 1e-6; all that it draws comes from the global generators."""
    (first, x, _), (again, *_) = subject.fitted(3), subject.fitted(3)
    distance = (first(x) - again(x)).abs().max().item()
    require(distance <= TOLERANCE, f"two fits of one seed differ by {distance:.2g}")


def evaluation(subject: EstimatorSubject) -> None:
    """A prediction depends on its point alone: not on the call, nor on the other points."""
    model, x, _ = subject.fitted()
    whole, again, part = model(x), model(x), model(x[:3])
    require(bool((whole - again).abs().max() <= TOLERANCE), "two calls with the same points differ")
    require(bool((whole[:3] - part).abs().max() <= BATCH_TOLERANCE), "a prediction depends on the other points")


def learning(subject: EstimatorSubject) -> None:
    """On points that it was fitted to, the error is less than 0.7 of that of the best constant."""
    family = "function_fitting" if not subject.method.skip_reason("function_fitting") else "classification"
    problem = Problem(family, 2, 1) if family == "function_fitting" else Problem(family, 2, 2)
    model, x, y = subject.fitted(problem=problem)
    if family == "classification":
        y = (x[:, 0] > 0).long()
        model.fit(x, y)
        found, worst = nn.functional.cross_entropy(model(x), y).item(), torch.tensor(2.0).log().item()
    else:
        found, worst = nn.functional.mse_loss(model(x), y).item(), y.var(unbiased=False).item()
    require(found < TRAIN_FALL * worst, f"the error is {found:.3g}, that of the best constant {worst:.3g}")
