"""The contract of a baseline, rule by rule. `python -m kanbench check-baseline` and the test suite run the same rules."""

from __future__ import annotations

import contextlib
import copy
import os
import random
import tempfile
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from kanbench import baselines, build, measure, seeds
from kanbench.baselines import Method
from kanbench.errors import Unavailable
from kanbench.task import Problem, evaluating

BATCHES = (1, 2, 7)
SAME_SEED = 1e-6
TRAIN_STEPS, TRAIN_RATE, TRAIN_FALL = 60, 0.02, 0.7


@dataclass(frozen=True)
class RuleResult:
    """Outcome of one rule for one method: `ok` is None where the method cannot be imported here."""

    method: str
    rule: str
    ok: bool | None
    message: str


class Subject:
    """A method with its example, built anew for every rule."""

    def __init__(self, method: Method):
        self.method = method
        declared = method.baseline.example
        shape = tuple(declared["problem"].get("input_shape", ()))
        self.problem = Problem(**{**declared["problem"], "input_shape": shape})
        self.settings = baselines.resolve(method, self.problem.family, declared["settings"])
        self.module = build.load_model_module(method.baseline)

    def model(self, seed: int = 0, problem: Problem | None = None, **settings) -> nn.Module:
        """Return the example, or a model for another problem, built from a seed."""
        with seeds.seeded(seed, "initialisation"):
            return build.build(self.method, {**self.settings, **settings}, problem or self.problem)

    def inputs(self, batch: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return inputs in [-1, 1], shape `(batch, *input_shape)`."""
        shape = (batch, *self.problem.input_shape)
        return 2 * torch.rand(shape, generator=seeds.generator(0, "check"), dtype=torch.float64).to(dtype) - 1


def shapes(subject: Subject) -> None:
    """The model maps (batch, *input_shape) to (batch, outputs) for batches of 1, 2 and 7."""
    model = subject.model()
    for batch in BATCHES:
        found = tuple(model(subject.inputs(batch)).shape)
        assert found == (batch, subject.problem.outputs), f"batch {batch}: {found}, not {(batch, subject.problem.outputs)}"


def dtype(subject: Subject) -> None:
    """The output has the dtype of the input after `.to(dtype)`, and finite values."""
    for kind in (torch.float32, torch.float64):
        output = subject.model().to(kind)(subject.inputs(2, kind))
        assert output.dtype == kind, f"{output.dtype} for inputs of {kind}"
        assert torch.isfinite(output).all(), f"not finite in {kind}"


def gradients(subject: Subject) -> None:
    """Every trainable parameter receives a gradient that is finite and not zero everywhere."""
    model = subject.model()
    model(subject.inputs(64)).square().mean().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"{name} received none; freeze or remove it"
            assert torch.isfinite(parameter.grad).all(), f"that of {name} is not finite"
            assert parameter.grad.abs().max() > 0, f"that of {name} is zero everywhere; freeze or remove it"


def count(subject: Subject) -> None:
    """The example has the declared number of trainable parameters."""
    found = measure.count_parameters(subject.model(), [])["trainable"]
    declared = subject.method.baseline.example_count(subject.method.variant)
    assert found == declared, f"{found} counted, {declared} declared in baseline.yaml (example.trainable_parameters)"


def groups(subject: Subject) -> None:
    """Every trainable parameter is in exactly one group."""
    model = subject.model()
    found = build.parameter_groups(subject.module, model, MappingProxyType(subject.settings))
    grouped = sorted(id(parameter) for group in found for parameter in group["params"])
    trainable = sorted(id(parameter) for parameter in model.parameters() if parameter.requires_grad)
    assert grouped == trainable, f"{len(grouped)} grouped, {len(trainable)} trainable"


def files(subject: Subject) -> None:
    """Building, running and training write no file."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            subject.model()(subject.inputs(2)).sum().backward()
            found = sorted(path.name for path in Path(folder).rglob("*"))
        finally:
            os.chdir(before)
    assert not found, f"written: {', '.join(found)}"


def settings(subject: Subject) -> None:
    """Settings and problem are left as they were given."""
    given, before = dict(subject.settings), copy.deepcopy(subject.settings)
    width = subject.problem.width
    build.build(subject.method, given, subject.problem)
    assert given == before, f"{before} became {given}"
    assert subject.problem.width == width, "the problem was changed"


def randomness(subject: Subject) -> None:
    """Building draws from torch's generator at most; NumPy's and `random`'s are left alone, and none is reseeded."""
    torch.manual_seed(1)
    states = np.random.get_state()[1].copy(), random.getstate()
    build.build(subject.method, subject.settings, subject.problem)
    first = torch.rand(1)
    torch.manual_seed(2)
    build.build(subject.method, subject.settings, subject.problem)
    assert torch.rand(1) != first, "torch's global generator is reseeded"
    assert (np.random.get_state()[1] == states[0]).all(), "NumPy's global generator is touched"
    assert random.getstate() == states[1], "the generator of `random` is touched"


def seed(subject: Subject) -> None:
    """The same seed builds the same model to 1e-6, another seed another one."""
    x = subject.inputs(16)
    with torch.no_grad():
        first, again, other = (subject.model(seed)(x) for seed in (0, 0, 1))
    assert (first - again).abs().max() <= SAME_SEED, f"the same seed differs by {(first - again).abs().max():.2g}"
    assert (first - other).abs().max() > SAME_SEED, "another seed changes nothing"


def state(subject: Subject) -> None:
    """`state_dict` carries everything: a model of another seed gives the same outputs after loading it."""
    x, model, other = subject.inputs(16), subject.model(0), subject.model(1)
    other.load_state_dict(model.state_dict())
    with evaluating(model), evaluating(other), torch.no_grad():
        assert torch.allclose(model(x), other(x), atol=SAME_SEED), "the outputs differ after load_state_dict"


def evaluation(subject: Subject) -> None:
    """In evaluation mode the output does not depend on the rest of the batch, nor on the call."""
    x, model = subject.inputs(7), subject.model()
    with evaluating(model), torch.no_grad():
        whole = model(x)
        assert torch.allclose(model(x), whole, atol=SAME_SEED), "two calls differ"
        assert torch.allclose(model(x[:3]), whole[:3], atol=1e-5), "an output depends on the rest of the batch"


def learning(subject: Subject) -> None:
    """The loss falls on a tiny task that a line can fit half of: y = x1 x2 + x1."""
    problem = Problem("function_fitting", inputs=2, outputs=1)
    if subject.method.skip_reason("function_fitting"):
        return
    small = {name: value for name, value in (("hidden_width", 5), ("depth", 1)) if name in subject.settings}
    model = subject.model(problem=problem, **small)
    x = 2 * torch.rand(64, 2, generator=seeds.generator(0, "learning")) - 1
    y = x[:, :1] * x[:, 1:] + x[:, :1]
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=TRAIN_RATE)
    losses = []
    for _ in range(TRAIN_STEPS):
        optimiser.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    fall = losses[-1] / losses[0]
    assert fall < TRAIN_FALL, f"after {TRAIN_STEPS} Adam steps the loss is {fall:.2f} of the first, not below {TRAIN_FALL}"


RULES: tuple[Callable[[Subject], None], ...] = (
    shapes,
    dtype,
    gradients,
    count,
    groups,
    files,
    settings,
    randomness,
    seed,
    state,
    evaluation,
    learning,
)


def check_method(method: Method) -> list[RuleResult]:
    """Return the outcome of every rule for a method; a method that cannot be imported here has one, `skipped`."""
    try:
        subject = Subject(method)
        subject.model()
    except Unavailable as error:
        return [RuleResult(method.name, "skipped", None, str(error))]
    except Exception as error:  # a contract check reports whatever a stranger's code raises
        return [RuleResult(method.name, "builds", False, f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-2)}")]
    return [RuleResult(method.name, "builds", True, ""), *(_apply(rule, subject) for rule in RULES)]


def _apply(rule: Callable[[Subject], None], subject: Subject) -> RuleResult:
    message = ""
    with contextlib.redirect_stdout(None):
        try:
            rule(subject)
        except AssertionError as error:
            message = str(error)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
    return RuleResult(subject.method.name, rule.__name__, not message, message)


def check_baseline(name: str) -> list[RuleResult]:
    """Return the outcome of every rule for every method of a baseline."""
    found = baselines.discover()[name]
    return [result for method in found.methods.values() for result in check_method(method)]


def report(results: Iterable[RuleResult]) -> int:
    """Print outcomes by method; return 1 where a rule is broken, else 0."""
    texts = {rule.__name__: rule.__doc__ for rule in RULES}
    by_method: dict[str, list[RuleResult]] = {}
    for result in results:
        by_method.setdefault(result.method, []).append(result)
    broken = 0
    for method, outcomes in by_method.items():
        kept = sum(result.ok is True for result in outcomes)
        print(f"{method}: {kept} of {sum(result.ok is not None for result in outcomes)} rules kept")
        for result in outcomes:
            if result.ok is None:
                print(f"  skipped: {result.message}")
            elif not result.ok:
                broken += 1
                print(f"  {result.rule} is broken: {result.message}\n      rule: {texts.get(result.rule, 'build() returns')}")
    return 1 if broken else 0
