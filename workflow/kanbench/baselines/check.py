"""The contract of a baseline, rule by rule: the same for `python -m kanbench check-baseline` and for the test suite."""

from __future__ import annotations

import contextlib
import copy
import os
import random
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kanbench.base import paths, seeds
from kanbench.base.errors import Unavailable
from kanbench.baselines import build, discovery
from kanbench.baselines.discovery import REST, Method
from kanbench.measurement import measure
from kanbench.tasks.task import Problem, evaluating

BATCHES = (1, 2, 7)
TOLERANCE = 1e-6
"""Largest difference between two models of one seed: least-squares initialisation is not bitwise reproducible."""
BATCH_TOLERANCE = 1e-5
"""Largest difference that the size of the batch may make, through the order of sums."""
STEP, CURVATURE_TOLERANCE = 1e-3, 1e-2
"""Width of the difference quotients for second derivatives, and how far they may be off, relative to 1 + median."""
TRAIN_STEPS, TRAIN_RATE, TRAIN_FALL = 60, 0.02, 0.7
SMALL = {"hidden_width": 5, "depth": 1}
"""Axes of the models that the rules on tiny tasks build."""


class Broken(Exception):
    """A rule is broken; the message says how."""


@dataclass(frozen=True)
class RuleResult:
    """Outcome of one rule for one method. `ok` is None where the rule could not be tried; `message` says why."""

    method: str
    rule: str
    ok: bool | None
    message: str


class Subject:
    """A method and its example. Every rule builds its models anew, so that none sees what another did."""

    def __init__(self, method: Method):
        self.method, self.example = method, method.baseline.example
        self.problem = Problem(**self.example["problem"])
        self.settings = discovery.resolve(method, self.problem.family, self.example["settings"])

    @cached_property
    def module(self) -> Any:
        """The imported `model.py`. Raises Unavailable, BrokenContract."""
        return build.load_model_module(self.method.baseline)

    @property
    def declared_count(self) -> int:
        """The number of trainable parameters that `example` declares for this variant."""
        return self.example.get("variants", {}).get(self.method.variant, self.example["trainable_parameters"])

    def model(self, seed: int = 0) -> nn.Module:
        """Return the example, initialised from a seed."""
        return self._built(seed, self.settings, self.problem)

    def small(self, problem: Problem) -> nn.Module:
        """Return a small model for a problem that is not the example."""
        return self._built(0, discovery.resolve(self.method, problem.family, SMALL), problem)

    def _built(self, seed: int, settings: Mapping[str, Any], problem: Problem) -> nn.Module:
        with seeds.seeded(seed, "initialisation"):
            return build.build(self.method, settings, problem)

    def inputs(self, batch: int, problem: Problem | None = None) -> Tensor:
        """Return uniform inputs on the grid range, shape (batch, *input_shape)."""
        problem = problem or self.problem
        low, high = problem.grid_range
        return low + (high - low) * torch.rand(batch, *problem.input_shape, generator=seeds.generator(0, "check"))


def builds(subject: Subject) -> None:
    """`build(problem, settings)` returns a torch.nn.Module."""
    subject.model()


def shapes(subject: Subject) -> None:
    """The model maps (batch, *input_shape) to (batch, outputs) for batches of 1, 2 and 7, and spares its input."""
    model = subject.model()
    for batch in BATCHES:
        x = subject.inputs(batch)
        before, expected = x.clone(), (batch, subject.problem.outputs)
        found = tuple(model(x).shape)
        _require(found == expected, f"inputs {tuple(x.shape)} gave {found}, expected {expected}")
        _require(torch.equal(x, before), "the input tensor was changed in place")


def dtype_and_device(subject: Subject) -> None:
    """After `.to(dtype)` and `.to(device)` the output has the dtype and device of the input, and finite values."""
    places = [("cpu", torch.float32), ("cpu", torch.float64)]
    places += [("cuda", torch.float32)] if torch.cuda.is_available() else []
    for device, kind in places:
        x = subject.inputs(2).to(device, kind)
        output = subject.model().to(device=device, dtype=kind)(x)
        found = (output.dtype, output.device.type)
        _require(found == (kind, device), f"inputs of {kind} on {device} gave {found[0]} on {found[1]}")
        _require(bool(torch.isfinite(output).all()), f"outputs are not finite in {kind} on {device}")


def gradients(subject: Subject) -> None:
    """Every trainable parameter receives a gradient that is finite and not zero everywhere."""
    model = subject.model()
    output = model(subject.inputs(64))
    direction = torch.rand(output.shape, generator=seeds.generator(0, "direction"))
    (output * direction).sum().backward()
    problems = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            problems.append(f"{name} received no gradient")
        elif not torch.isfinite(parameter.grad).all():
            problems.append(f"the gradient of {name} is not finite")
        elif not parameter.grad.any():
            problems.append(f"the gradient of {name} is zero everywhere")
    _require(not problems, "; ".join(problems) + ": remove such parameters or freeze them with requires_grad_(False)")


def second_derivatives(subject: Subject) -> None:
    """A model that runs on partial differential equations has second derivatives, and can be trained through them."""
    _unless_skipped(subject, "pde")
    problem = Problem("pde", inputs=3, outputs=1)
    model, x = subject.small(problem).double(), subject.inputs(16, problem).double().requires_grad_()
    step = STEP * torch.eye(3, dtype=x.dtype)[0]
    with torch.no_grad():
        expected = ((model(x + step) - 2 * model(x) + model(x - step)) / STEP**2)[:, 0]
    found = _curvature(model(x)[:, 0], x)
    # the median, since a basis of low order has knots where a difference quotient says nothing
    error, scale = (found - expected).abs().median().item(), 1 + expected.abs().median().item()
    _require(error < CURVATURE_TOLERANCE * scale, f"they differ from difference quotients by {error:.2g}")
    _curvature((1 - x.square().sum(1)) * model(x)[:, 0], x).square().sum().backward()
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    _require(bool(grads), "no parameter receives a gradient from the second derivative")
    _require(all(bool(torch.isfinite(grad).all()) for grad in grads), "a gradient through them is not finite")


def _curvature(values: Tensor, x: Tensor) -> Tensor:
    """Return the second derivative of `values (batch,)` along the first input, as a graph where it has one."""
    (slope,) = torch.autograd.grad(values.sum(), x, create_graph=True)
    if not slope.requires_grad:
        return torch.zeros_like(values)
    (curvature,) = torch.autograd.grad(slope[:, 0].sum(), x, create_graph=True, materialize_grads=True)
    return curvature[:, 0]


def count(subject: Subject) -> None:
    """The example has the declared number of trainable parameters."""
    found = measure.count_parameters(subject.model(), [])["trainable"]
    where = "example.trainable_parameters or example.variants of baseline.yaml"
    _require(found == subject.declared_count, f"{found} counted, {subject.declared_count} declared ({where})")


def groups(subject: Subject) -> None:
    """Every trainable parameter is in exactly one of the groups of `parameter_groups`, which `groups` declares."""
    found = build.parameter_groups(subject.module, subject.model(), subject.settings)
    names, declared = {group["name"] for group in found} - {REST}, set(subject.method.baseline.groups)
    expected = ", ".join(sorted(declared)) or "none"
    _require(names == declared, f"groups {', '.join(sorted(names)) or 'none'} found, {expected} declared in groups")


def files(subject: Subject) -> None:
    """Building the model and taking a training step writes no file."""
    own, before = subject.method.baseline.path, Path.cwd()
    seen = _files(own)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            subject.model()(subject.inputs(2)).sum().backward()
        finally:
            os.chdir(before)
        written = sorted(_files(Path(folder)) | (_files(own) - seen))
    _require(not written, f"written: {', '.join(written)}")


def settings_read_only(subject: Subject) -> None:
    """Neither the settings nor the problem are changed; both belong to the harness."""
    given, problem = copy.deepcopy(subject.settings), copy.deepcopy(subject.problem)
    with seeds.seeded(0, "initialisation"):
        subject.module.build(problem, given)  # not through the read-only view, so that a change is seen, not refused
    _require(given == subject.settings, f"{subject.settings} became {given}")
    _require(problem == subject.problem, f"{subject.problem} became {problem}")


def generators(subject: Subject) -> None:
    """Building draws from torch's global generator at most, reseeds none, and leaves torch's global switches alone."""
    with build.contained_generators():
        states = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
        switches = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
        drawn = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            subject.module.build(subject.problem, build.read_only(subject.settings))
            drawn.append(torch.rand(4))
        _require(not torch.equal(*drawn), "torch's global generator is reseeded, so that every seed goes on alike")
        _require(bool((np.random.get_state()[1] == states[0]).all()), "NumPy's global generator is touched")  # noqa: NPY002
        _require(random.getstate() == states[1], "the global generator of `random` is touched")
        found = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
        _require(found == switches, f"default dtype, gradient mode and threads were {switches} and are {found}")


def seed_decides(subject: Subject) -> None:
    """The same seed gives the same parameters to 1e-6, another seed gives others."""
    first, again, other = (subject.model(seed).state_dict() for seed in (0, 0, 1))
    distance = _distance(first, again)
    _require(distance <= TOLERANCE, f"two models of one seed differ by {distance:.2g}")
    _require(_distance(first, other) > TOLERANCE, "another seed changes nothing")


def state_dict(subject: Subject) -> None:
    """`state_dict` holds tensors alone and carries everything: loaded into another model it gives the same outputs."""
    model, other, x = subject.model(0), subject.model(1), subject.inputs(16)
    state = model.state_dict()
    odd = [name for name, value in state.items() if not torch.is_tensor(value)]
    _require(not odd, f"no tensors: {', '.join(odd)}")
    other.load_state_dict(state)
    with evaluating(model), evaluating(other), torch.no_grad():
        distance = (model(x) - other(x)).abs().max().item()
    _require(distance <= TOLERANCE, f"outputs differ by {distance:.2g} after load_state_dict")


def evaluation(subject: Subject) -> None:
    """In evaluation mode an output depends on its input alone: not on the call, nor on the rest of the batch."""
    model, x = subject.model(), subject.inputs(7)
    with evaluating(model), torch.no_grad():
        whole, again, part = model(x), model(x), model(x[:3])
    _require(bool((whole - again).abs().max() <= TOLERANCE), "two calls with one input differ")
    _require(bool((whole[:3] - part).abs().max() <= BATCH_TOLERANCE), "an output depends on the rest of the batch")


def learning(subject: Subject) -> None:
    """60 Adam steps lower the loss of a tiny task to less than 0.7 of the first; a line would halve it."""
    if subject.method.skip_reason("function_fitting"):
        model, x = subject.model(), subject.inputs(16)
        y = torch.rand(16, subject.problem.outputs, generator=seeds.generator(0, "targets"))
    else:
        problem = Problem("function_fitting", inputs=2, outputs=1)
        model, x = subject.small(problem), subject.inputs(64, problem)
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
    _require(fall < TRAIN_FALL, f"the loss went from {losses[0]:.3g} to {losses[-1]:.3g}, {fall:.2f} of the first")


RULES: dict[str, Callable[[Subject], None]] = {
    rule.__name__: rule
    for rule in (
        builds, shapes, dtype_and_device, gradients, second_derivatives, count, groups, files, settings_read_only,
        generators, seed_decides, state_dict, evaluation, learning,
    )
}  # fmt: skip
SCHEMA = "schema"
"""The rule that comes first: baseline.yaml is valid."""


class _NotTried(Exception):
    """The rule does not apply to the method."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise Broken(message)


def _unless_skipped(subject: Subject, family: str) -> None:
    reason = subject.method.skip_reason(family)
    if reason:
        raise _NotTried(f"{family} is skipped: {reason}")


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if "__pycache__" not in path.parts}


def _distance(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """Return the largest difference between the floating-point tensors of two state dicts."""
    pairs = [(first[name], second[name]) for name in first if first[name].is_floating_point() and first[name].numel()]
    return max(((a - b).abs().max().item() for a, b in pairs), default=0.0)


def check_rule(subject: Subject, name: str) -> RuleResult:
    """Return the outcome of one rule; whatever a baseline raises or prints ends up in the result."""
    ok: bool | None = False
    with warnings.catch_warnings(), contextlib.redirect_stdout(None):
        warnings.simplefilter("ignore")
        try:
            RULES[name](subject)
            ok, message = True, ""
        except (Unavailable, _NotTried) as reason:
            ok, message = None, f"skipped: {reason}"
        except (Broken, build.BrokenContract) as broken:
            message = str(broken).removeprefix(f"{name}: ")
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            message = f"{type(error).__name__}: {error} ({paths.relative(Path(place.filename))}:{place.lineno})"
    return RuleResult(subject.method.name, name, ok, message)


def check_method(method: Method) -> list[RuleResult]:
    """Return the outcome of every rule for a method; only `builds` where it does not build or a package is absent."""
    subject = Subject(method)
    first = check_rule(subject, "builds")
    if not first.ok:
        return [first]
    return [first, *(check_rule(subject, name) for name in RULES if name != "builds")]


def check_baseline(name: str, folder: Path | None = None) -> list[RuleResult]:
    """Return the outcome of every rule for every method of a baseline.

    Args:
        name: Name of its folder.
        folder: Where that folder is; default `baselines/` of the suite.
    """
    found, problems = discovery.read((folder or paths.root() / "baselines") / name)
    if found is None:
        return [RuleResult(name, SCHEMA, False, str(problem)) for problem in problems]
    results = [RuleResult(name, SCHEMA, True, "")]
    return results + [result for method in found.methods.values() for result in check_method(method)]


def report(results: Iterable[RuleResult]) -> int:
    """Print the outcomes by method; return 1 where a rule is broken, else 0."""
    by_method: dict[str, list[RuleResult]] = {}
    for result in results:
        by_method.setdefault(result.method, []).append(result)
    for method, outcomes in by_method.items():
        tried = [result for result in outcomes if result.ok is not None]
        print(f"{method}: {sum(bool(result.ok) for result in tried)} of {len(tried)} rules kept")
        for result in outcomes:
            if result.ok is None:
                print(f"  {result.rule}: {result.message}")
            elif not result.ok:
                text = RULES[result.rule].__doc__ if result.rule in RULES else "baseline.yaml is valid."
                print(f"  {result.rule} is BROKEN: {result.message}\n      the rule: {text}")
    return int(any(result.ok is False for outcomes in by_method.values() for result in outcomes))
