"""The rules of the contract about what a model computes: shapes, gradients, counts, axes, seeds, states, learning."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kanbench.base import seeds
from kanbench.base.errors import InvalidInput, Unavailable
from kanbench.baselines import build
from kanbench.baselines.discovery import REST
from kanbench.baselines.subject import Broken, Subject, require, unless_skipped
from kanbench.measurement import measure
from kanbench.tasks.task import Problem, evaluating

BATCHES = (1, 2, 7)
SMALL_PROBLEMS = (
    ("function_fitting", 1, 1), ("function_fitting", 1, 3), ("function_fitting", 3, 1),
    ("pde", 1, 1), ("pde", 2, 1), ("classification", 1, 2),
)  # fmt: skip
"""Family, inputs and outputs of the problems at the edge of what there is."""
TOLERANCE = 1e-6
"""Largest difference between two models of one seed: least-squares initialisation is not bitwise reproducible."""
BATCH_TOLERANCE = 1e-5
"""Largest difference that the size of the batch may make, through the order of sums."""
STEP, CURVATURE_TOLERANCE = 1e-3, 1e-2
"""Width of the difference quotients for second derivatives, and how far they may be off, relative to 1 + median."""
TRAIN_STEPS, TRAIN_RATE, TRAIN_FALL = 60, 0.02, 0.7


def builds(subject: Subject) -> None:
    """`build(problem, settings)` returns a torch.nn.Module."""
    subject.model()


def shapes(subject: Subject) -> None:
    """The model maps (batch, *input_shape) to (batch, outputs), training and evaluating, and spares its input.

    Batches of 1, 2 and 7 are tried; any other shape might be broadcast against the targets without a word.
    """
    model = subject.model()
    for batch in BATCHES:
        _require_shape(model, subject.inputs(batch), subject.problem)


def _require_shape(model: nn.Module, x: Tensor, problem: Problem) -> None:
    before, expected = x.clone(), (len(x), problem.outputs)
    found = {"training": model(x)}
    with evaluating(model), torch.no_grad():
        found["evaluating"] = model(x)
    for mode, output in found.items():
        require(torch.is_tensor(output), f"{mode}, the output is a {type(output).__name__}, not a tensor")
        shape = tuple(output.shape)
        require(shape == expected, f"{mode}, inputs {tuple(x.shape)} gave {shape}, expected {expected}")
    require(torch.equal(x, before), "the input tensor was changed in place")


def small_problems(subject: Subject) -> None:
    """Problems of one input, of one output, and images of one channel and two classes, have outputs of their shape."""
    shape = subject.problem.input_shape
    if len(shape) == 3:
        images = Problem("classification", shape[1] * shape[2], 2, (1, *shape[1:]))
        found = [] if subject.method.skip_reason("classification") else [images]
    else:
        problems = (Problem(*each) for each in SMALL_PROBLEMS)
        found = [problem for problem in problems if not subject.method.skip_reason(problem.family)]
    for problem in found:
        model = subject.as_example(problem) if len(shape) == 3 else subject.small(problem)
        try:
            for batch in (1, 5):
                _require_shape(model, subject.inputs(batch, problem), problem)
        except Exception as error:
            inputs = " x ".join(map(str, problem.input_shape))
            where = f"{problem.family} with {inputs} input(s) and {problem.outputs} output(s)"
            raise Broken(f"{where}: {str(error) or type(error).__name__}") from error


def dtype_and_device(subject: Subject) -> None:
    """After `.to(dtype)` and `.to(device)` the output has the dtype and device of the input, and finite values."""
    places = [("cpu", torch.float32), ("cpu", torch.float64)]
    places += [("cuda", torch.float32)] if torch.cuda.is_available() else []
    for device, kind in places:
        x = subject.inputs(2).to(device, kind)
        output = subject.model().to(device=device, dtype=kind)(x)
        found = (output.dtype, output.device.type)
        require(found == (kind, device), f"inputs of {kind} on {device} gave {found[0]} on {found[1]}")
        require(bool(torch.isfinite(output).all()), f"outputs are not finite in {kind} on {device}")


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
    require(not problems, "; ".join(problems) + ": remove such parameters or freeze them with requires_grad_(False)")


def second_derivatives(subject: Subject) -> None:
    """A model that runs on partial differential equations has second derivatives, and can be trained through them."""
    unless_skipped(subject, "pde")
    problem = Problem("pde", inputs=3, outputs=1)
    model, x = subject.small(problem).double(), subject.inputs(16, problem).double().requires_grad_()
    step = STEP * torch.eye(3, dtype=x.dtype)[0]
    with torch.no_grad():
        expected = ((model(x + step) - 2 * model(x) + model(x - step)) / STEP**2)[:, 0]
    found = _curvature(model(x)[:, 0], x)
    # the median, since a basis of low order has knots where a difference quotient says nothing
    error, scale = (found - expected).abs().median().item(), 1 + expected.abs().median().item()
    require(error < CURVATURE_TOLERANCE * scale, f"they differ from difference quotients by {error:.2g}")
    _curvature((1 - x.square().sum(1)) * model(x)[:, 0], x).square().sum().backward()
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    require(bool(grads), "no parameter receives a gradient from the second derivative")
    require(all(bool(torch.isfinite(grad).all()) for grad in grads), "a gradient through them is not finite")


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
    require(found == subject.declared_count, f"{found} counted, {subject.declared_count} declared ({where})")


def groups(subject: Subject) -> None:
    """Every trainable parameter is in exactly one of the groups of `parameter_groups`, which `groups` declares."""
    found = build.parameter_groups(subject.module, subject.model(), subject.settings)
    names, declared = {group["name"] for group in found} - {REST}, set(subject.method.baseline.groups)
    expected = ", ".join(sorted(declared)) or "none"
    require(names == declared, f"groups {', '.join(sorted(names)) or 'none'} found, {expected} declared in groups")


def axes(subject: Subject) -> None:
    """Every axis that is declared changes the model: a sweep along any other trains the same network again."""
    with torch.no_grad():
        same = _portrait(subject, {})
        idle = [axis for axis in subject.method.axes if not _changes(subject, axis, same)]
    require(not idle, f"{', '.join(idle)} changes nothing: leave it out of axes, or of those of this variant")


def _portrait(subject: Subject, changes: Mapping[str, Any]) -> tuple[dict[str, tuple[int, ...]], Tensor]:
    """Return what tells two models of one seed apart: the shapes of their state, and their outputs."""
    model = subject.as_example(subject.problem, changes)
    with evaluating(model):
        outputs = model(subject.inputs(16))
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}, outputs


def _changes(subject: Subject, axis: str, same: tuple) -> bool:
    """Tell whether another value of an axis gives another model; true where no other value can be built."""
    value, tried = subject.settings[axis], False
    numbers = isinstance(value, int) and not isinstance(value, bool)
    for other in (value + 1, value + 2, 2 * value, max(1, value - 1)) if numbers else (1, 2):
        try:
            shapes_, outputs = _portrait(subject, {axis: other})
        except (InvalidInput, Unavailable):
            continue
        tried = True
        if shapes_ != same[0] or not torch.allclose(outputs, same[1], rtol=0.0, atol=TOLERANCE):
            return True
    return not tried


def settings_read_only(subject: Subject) -> None:
    """Neither the settings nor the problem are changed; both belong to the harness."""
    given, problem = copy.deepcopy(subject.settings), copy.deepcopy(subject.problem)
    with seeds.seeded(0, "initialisation"):
        subject.module.build(problem, given)  # not through the read-only view, so that a change is seen, not refused
    require(given == subject.settings, f"{subject.settings} became {given}")
    require(problem == subject.problem, f"{subject.problem} became {problem}")


def seed_decides(subject: Subject) -> None:
    """The same seed gives the same parameters to 1e-6, another seed gives others."""
    first, again, other = (subject.model(seed).state_dict() for seed in (0, 0, 1))
    distance = _distance(first, again)
    require(distance <= TOLERANCE, f"two models of one seed differ by {distance:.2g}")
    require(_distance(first, other) > TOLERANCE, "another seed changes nothing")


def state_dict(subject: Subject) -> None:
    """`state_dict` holds tensors alone and carries everything: loaded into another model it gives the same outputs."""
    model, other, x = subject.model(0), subject.model(1), subject.inputs(16)
    state = model.state_dict()
    odd = [name for name, value in state.items() if not torch.is_tensor(value)]
    require(not odd, f"no tensors: {', '.join(odd)}")
    other.load_state_dict(state)
    with evaluating(model), evaluating(other), torch.no_grad():
        distance = (model(x) - other(x)).abs().max().item()
    require(distance <= TOLERANCE, f"outputs differ by {distance:.2g} after load_state_dict")


def evaluation(subject: Subject) -> None:
    """In evaluation mode an output depends on its input alone: not on the call, nor on the rest of the batch."""
    model, x = subject.model(), subject.inputs(7)
    with evaluating(model), torch.no_grad():
        whole, again, part = model(x), model(x), model(x[:3])
    require(bool((whole - again).abs().max() <= TOLERANCE), "two calls with one input differ")
    require(bool((whole[:3] - part).abs().max() <= BATCH_TOLERANCE), "an output depends on the rest of the batch")


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
    require(fall < TRAIN_FALL, f"the loss went from {losses[0]:.3g} to {losses[-1]:.3g}, {fall:.2f} of the first")


def _distance(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """Return the largest difference between the floating-point tensors of two state dicts."""
    pairs = [(first[name], second[name]) for name in first if first[name].is_floating_point() and first[name].numel()]
    return max(((a - b).abs().max().item() for a, b in pairs), default=0.0)
