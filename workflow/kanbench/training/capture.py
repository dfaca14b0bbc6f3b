"""Records a training step once and replays it, where that pays and gives the same numbers.

The step of a small network is dozens of operations that a GPU finishes faster than Python starts them. A CUDA graph
starts all of them at once: forward, backward and optimiser. What is recorded is replayed as it was, so a step may not
ask the device for a number, change the shapes of its tensors, or depend on what the host counts. Which steps do is not
left to trust. Before training,

1. a few steps are taken eagerly, on batches and with learning rates of their own;
2. the step is recorded, and replayed on the same batches with the same rates from the same state;
3. losses and changes of every parameter and buffer are compared, and the state is put back.

Training replays the step if they agree; otherwise, or where any of this fails, it goes on eagerly as if nothing had
been tried. The record says which it was and why (`time.capture`). Batches of another shape, such as the last one of an
epoch, take the step eagerly with the same optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from kanbench.training.graphs import RECORDERS

CAPTURABLE = ("adam", "adamw")
"""Optimisers that keep their learning rate and their count of steps on the device if they are asked to."""
MIN_STEPS = 100
"""Fewer steps than these do not pay: trying, recording and comparing takes about ten."""
FACTORS = (1.0, 0.5, 0.25)
"""Factors of the learning rates in the steps that are compared: a recorded step must follow a schedule."""
LOSS_TOLERANCE, UPDATE_TOLERANCE = 1e-5, 1e-4
"""Largest relative difference of a loss, and of the norm of what the compared steps change in a tensor."""
ROUNDING = 4
"""Roundings of a tensor's numbers that the compared steps may differ by; a coarse dtype widens the tolerances so."""
MOST_DRAWS = 32


class Eager(Exception):
    """Steps are taken eagerly; the message is the reason."""


@dataclass
class Subject:
    """A training step, and all that it changes.

    Attributes:
        step: One step of `(optimiser, batch)`; returns the losses before it, without their graph.
        optimiser: The optimiser of eager steps; its learning rates are the schedule's.
        tensors: Returns the parameters and buffers by name.
        probes: Batches for the steps that are compared; not those of the training.
    """

    step: Callable[[torch.optim.Optimizer, Any], Tensor]
    optimiser: torch.optim.Optimizer
    tensors: Callable[[], Mapping[str, Tensor]]
    probes: Iterator[Any]


def reason_for_eager(training: Mapping[str, Any], device: torch.device, steps: int, hooked: bool) -> str | None:
    """Return why steps are taken eagerly, or None where recording one should be tried.

    Args:
        training: Settings; `capture` is `auto` (the default), `eager`, or `cuda_graph`, which records short runs too.
        steps: Steps of the whole run.
        hooked: Whether the method does something after every step.
    """
    wish = training.get("capture", "auto")
    if wish == "eager":
        return "the spec says so"
    if device.type not in RECORDERS:
        return f"the device is {device.type}: only steps on a CUDA device are recorded"
    if training["optimiser"] == "lbfgs":
        return "lbfgs evaluates the loss as often as its line search asks for"
    if training["optimiser"] not in CAPTURABLE:
        return f"{training['optimiser']} keeps its learning rate on the host"
    if hooked:
        return "the method has an after_step, which runs on the host"
    if wish == "auto" and steps < MIN_STEPS:
        return f"{steps} steps are too few to pay for recording one"
    return None


def choose(
    training: Mapping[str, Any], device: torch.device, steps: int, subject: Subject, *, hooked: bool = False
) -> tuple[Callable[[Any], Tensor] | None, dict[str, Any]]:
    """Return the recorded step, or None where steps are to be taken eagerly, and what the record says about it.

    The state of the subject and the global generators are as they were. Only eager steps may raise here, which would
    raise in training, too.
    """
    reason = reason_for_eager(training, device, steps, hooked)
    if reason is not None:
        return None, {"used": "eager", "reason": reason}
    before = _copies(subject)
    try:
        recorded = Recorded(subject, device)
        recorded.verify(before)
    except Eager as eager:
        _restore(subject, before)
        subject.optimiser.zero_grad(set_to_none=True)
        return None, {"used": "eager", "reason": str(eager)}
    return recorded, {"used": RECORDERS[device.type].__name__, "reason": None, "deviation": recorded.deviation}


class Recorded:
    """A step that is replayed. Call it with a batch; it returns the losses before the update.

    Attributes:
        optimiser: Holds the state of the training. Its learning rates are tensors that follow the subject's optimiser.
        deviation: Largest difference from eager steps that `verify` found, as a share of what is allowed.

    Raises:
        Eager: the step cannot be recorded.
    """

    def __init__(self, subject: Subject, device: torch.device):
        self.subject, self._device, self.deviation = subject, device, math.nan
        if subject.optimiser.state:
            raise Eager("the optimiser has taken steps already")
        first = next(subject.probes)
        self._static, self._form = tree_flatten(first)
        tensors = [leaf for leaf in self._static if torch.is_tensor(leaf)]
        if not tensors or any(leaf.device.type != device.type for leaf in tensors):
            raise Eager("the batches are not on the device")
        self._static = [leaf.clone() if torch.is_tensor(leaf) else leaf for leaf in self._static]
        self._filled: list[tuple[Any, int]] = []
        self._expected = self._taken_eagerly([first, *self._more(first)][: len(FACTORS)])
        self.optimiser, self._rates = device_side(subject.optimiser)
        self._values = [math.nan] * len(self._rates)
        self._follow_rates()
        with self._generators():
            self._replay = self._record()

    def __call__(self, batch: Any) -> Tensor:
        self._follow_rates()
        leaves, form = tree_flatten(batch)
        if not self._fits(leaves, form):
            return self.subject.step(self.optimiser, batch)
        self._fill(leaves)
        return self._replay()

    def verify(self, before: Mapping[str, Tensor]) -> None:
        """Compare replayed steps with eager ones from the state `before`, and put that state back.

        Raises:
            Eager: they differ.
        """
        self._reset(before)
        batches, losses, after = self._expected
        with self._generators(), _reasons("the recorded step cannot be replayed"):
            found = _steps(self, self.subject.optimiser, batches)
        self.deviation = max(_of_losses(found, losses), _of_changes(_copies(self.subject), after, before))
        if not self.deviation <= 1.0:
            raise Eager(f"replayed steps differ from eager ones {self.deviation:.3g} times as much as is allowed")
        self._expected = None
        self._reset(before)

    def _record(self) -> Callable[[], Tensor]:
        batch = tree_unflatten(self._static, self._form)
        addresses = _addresses(self.subject)

        def clear() -> None:
            self.optimiser.zero_grad(set_to_none=True)

        with _reasons("the step cannot be recorded"):
            replay = RECORDERS[self._device.type](lambda: self.subject.step(self.optimiser, batch), clear, self._device)
        if _addresses(self.subject) != addresses:
            raise Eager("the step replaces tensors of the model")
        return replay

    def _taken_eagerly(self, batches: list[Any]) -> tuple[list[Any], list[Tensor], dict[str, Tensor]]:
        """Return the batches, the losses of eager steps on them, and the tensors after these steps."""
        optimiser, before = self.subject.optimiser, _copies(self.subject)
        with self._generators():
            losses = _steps(lambda batch: self.subject.step(optimiser, batch), optimiser, batches)
        after = _copies(self.subject)
        optimiser.state.clear()
        optimiser.zero_grad(set_to_none=True)
        _restore(self.subject, before)
        if not all(bool(torch.isfinite(loss).all()) for loss in losses):
            raise Eager("a loss of the steps to compare is not finite")
        return batches, losses, after

    def _more(self, first: Any) -> list[Any]:
        """Return further batches of the shape of the first."""
        found: list[Any] = []
        for _ in range(MOST_DRAWS):
            batch = next(self.subject.probes)
            if self._fits(*tree_flatten(batch)):
                found.append(batch)
            if len(found) == len(FACTORS):
                return found[1:]
        raise Eager("batches of one shape are too rare")

    def _fits(self, leaves: list[Any], form: Any) -> bool:
        if form != self._form:
            return False
        return all(
            (leaf.shape == own.shape and leaf.dtype == own.dtype) if torch.is_tensor(own) else leaf == own
            for leaf, own in zip(leaves, self._static, strict=True)
        )

    def _fill(self, leaves: list[Any]) -> None:
        """Copy a batch to where the recorded step reads it, unless it is there: a full batch never changes."""
        filled = [(leaf, leaf._version) for leaf in leaves if torch.is_tensor(leaf)]
        same = len(filled) == len(self._filled) and all(
            one is other and version == seen for (one, version), (other, seen) in zip(filled, self._filled, strict=True)
        )
        if same:
            return
        for leaf, own in zip(leaves, self._static, strict=True):
            if torch.is_tensor(own):
                own.copy_(leaf)
        self._filled = filled

    def _follow_rates(self) -> None:
        for index, group in enumerate(self.subject.optimiser.param_groups):
            if group["lr"] != self._values[index]:
                self._values[index] = group["lr"]
                self._rates[index].fill_(group["lr"])

    def _reset(self, before: Mapping[str, Tensor]) -> None:
        """Put back the tensors, and the optimiser's state to that of one that has taken no step; all in place."""
        _restore(self.subject, before)
        for state in self.optimiser.state.values():
            for value in state.values():
                if torch.is_tensor(value):
                    value.zero_()

    def _generators(self) -> AbstractContextManager[None]:
        """Leave the global generators as they were."""
        if self._device.type == "cpu":
            return torch.random.fork_rng(devices=[])
        module = torch.get_device_module(self._device)
        index = module.current_device() if self._device.index is None else self._device.index
        return torch.random.fork_rng(devices=[index], device_type=self._device.type)


@contextmanager
def _reasons(what: str) -> Iterator[None]:
    """Turn any error into a reason for eager steps: those have run, so it is a matter of the recording.

    That holds for memory, too: a recorded step has its own beside that of eager steps, which may fit without it.
    """
    try:
        yield
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Eager(f"{what}: {lines[0]}") from error


def device_side(optimiser: torch.optim.Optimizer) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """Return an optimiser over the same parameters whose steps can be recorded, and its learning rates.

    The rates are float32, the only type that the fused operation reads from a tensor.
    """
    groups, rates = [], []
    for group in optimiser.param_groups:
        options = {key: value for key, value in group.items() if key != "initial_lr"}
        rates.append(torch.tensor(group["lr"], dtype=torch.float32, device=group["params"][0].device))
        groups.append({**options, "lr": rates[-1], "foreach": False, "fused": True, "capturable": True})
    return type(optimiser)(groups), rates


def _steps(step: Callable[[Any], Tensor], optimiser: torch.optim.Optimizer, batches: list[Any]) -> list[Tensor]:
    """Take a step on each batch with the learning rates of `optimiser` times `FACTORS`; return the losses."""
    rates, losses = [group["lr"] for group in optimiser.param_groups], []
    try:
        for factor, batch in zip(FACTORS, batches, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            losses.append(step(batch).to("cpu", copy=True))
    finally:
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate
    return losses


def _copies(subject: Subject) -> dict[str, Tensor]:
    """Return the tensors on the host, where copies do not count against the memory of the device."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in subject.tensors().items()}


@torch.no_grad()
def _restore(subject: Subject, values: Mapping[str, Tensor]) -> None:
    for name, tensor in subject.tensors().items():
        tensor.copy_(values[name])


def _addresses(subject: Subject) -> dict[str, int]:
    return {name: tensor.data_ptr() for name, tensor in subject.tensors().items()}


def _of_losses(found: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest difference of losses as a share of what is allowed."""
    allowed = max(LOSS_TOLERANCE, ROUNDING * torch.finfo(expected[0].dtype).eps)
    pairs = zip(torch.stack(found).double().flatten(), torch.stack(expected).double().flatten(), strict=True)
    return max(_share(float((one - other).abs()), allowed * float(other.abs())) for one, other in pairs)


def _of_changes(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> float:
    """Return the largest difference of what the steps did to a tensor as a share of what is allowed."""
    worst = 0.0
    for name, tensor in expected.items():
        one, other, start = found[name].double(), tensor.double(), before[name].double()
        allowed = 0.0
        if tensor.is_floating_point():
            eps = torch.finfo(tensor.dtype).eps
            change = float((other - start).norm())
            allowed = max(UPDATE_TOLERANCE, ROUNDING * eps) * change + ROUNDING * eps * float(other.norm())
        worst = max(worst, _share(float((one - other).norm()), allowed))
    return worst


def _share(difference: float, allowed: float) -> float:
    """Return `difference / allowed`: 0 where nothing differs, infinite where nothing may or a number is none."""
    if difference == 0.0:
        return 0.0
    return difference / allowed if allowed > 0.0 and not math.isnan(difference) else math.inf
