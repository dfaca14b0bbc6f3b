"""Trains runs that differ in seed and learning rates only together: a step of all costs little more than one of each.

A small network leaves a processor or a GPU idle between its many tiny operations. The parameters of S such networks are
stacked, and one forward and one backward pass serve all of them (`torch.func.vmap`). Each run keeps its own data,
split, order of batches, learning rates, evaluations, selection and outcome; an optimiser that treats every number by
itself (Adam, AdamW, SGD) treats stacked numbers alike, so the records are those of separate runs up to rounding. What a
step takes in memory depends on neither seed nor rate: where it is simulated, once for all of them.

Where this does not hold the runs are trained one after another, and their records say why.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from kanbench.base import seeds
from kanbench.base.spec import cell
from kanbench.measurement.measure import StepTimer
from kanbench.process import watch
from kanbench.process.locks import device_lock
from kanbench.training import capture, failures
from kanbench.training.train import Attempt

ELEMENTWISE = ("adam", "adamw", "sgd")
ROUNDING = 100
"""Steps of the dtype's resolution by which the gradients of a stacked step may differ from those of single ones."""


class Apart(Exception):
    """These runs cannot be trained together; the message is the reason."""


def run(
    specs: Sequence[Mapping[str, Any]], *, data_root: Path | None = None, runs: Path = Path("runs")
) -> list[dict[str, Any]]:
    """Return the records of specs, in their order; those that differ in seed and rates only are trained together.

    `time.together` of a record is the number of runs that shared its steps; times are then those of all of them,
    divided by that number. Where runs that could have been together were not, `time.apart` says why.
    """
    attempts = [Attempt(spec, data_root, runs) for spec in specs]
    with ExitStack() as held:
        for device in {str(attempt.device) for attempt in attempts if attempt.going}:
            held.enter_context(device_lock(device, exclusive=False))
        alike: dict[str, Attempt] = {}
        for attempt in attempts:
            if attempt.going:
                attempt.prepare(alike.get(_cell(attempt)))
                alike.setdefault(_cell(attempt), attempt)
        by_cell = sorted((attempt for attempt in attempts if attempt.going), key=_cell)
        for _, members in itertools.groupby(by_cell, key=_cell):
            _train(list(members))
    return [attempt.record() for attempt in attempts]


def _cell(attempt: Attempt) -> str:
    return cell({**attempt.spec, "source": attempt.spec.get("source")})


def _train(members: list[Attempt]) -> None:
    try:
        if len(members) == 1:
            raise Apart("no other run differs from this one in seed and learning rates only")
        together = Ensemble(members)
        timeout = members[0].spec["training"]["timeout_seconds"]
        with watch.within(timeout and timeout * len(members)):
            together.run()
    except Apart as reason:
        for member in members:
            with member.outcomes():
                member.build()  # anew: an attempt to stack may have left traces in the model
            member.train()
            member.result["time"].update(together=1, apart=str(reason))


class Ensemble:
    """S prepared runs of one cell. Their models' tensors become views of stacked ones, so each model stays current.

    Raises:
        Apart: the runs cannot be trained together.
    """

    def __init__(self, members: Sequence[Attempt]):
        self.members = list(members)
        self.sessions = [member.session for member in members]
        self.first = self.sessions[0].trainee
        _check_kind(self.sessions)
        models = [session.trainee.model for session in self.sessions]
        self.parameters = _stack([dict(model.named_parameters()) for model in models])
        self.buffers = _stack([dict(model.named_buffers()) for model in models])
        self._check_gradients()
        self._handed: list[tuple[Tensor, Tensor, int]] = []
        factors = self.sessions[0].schedule.lr_lambdas
        if all(session.schedule.base_lrs == self.sessions[0].schedule.base_lrs for session in self.sessions):
            self.optimiser = self._optimiser()
        else:
            self.optimiser = self._optimiser_of_each()
            factors = [factor for session in self.sessions for factor in session.schedule.lr_lambdas]
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, factors)
        self.timer = StepTimer(self.members[0].device)
        self._batches: list[Any] = []

    def run(self) -> None:
        """Train all runs to their ends and enter what they have shown.

        Raises:
            Apart: the stacked step does not fit into memory, or raises.
        """
        started, going, size = time.perf_counter(), self.members, len(self.members)
        for member in going:
            with member.outcomes():
                member.session.begin()
        recorded = self._recorded()
        for step in range(1, self.sessions[0].steps + 1):
            going = [member for member in going if member.going]
            if not going:
                break
            batch = self._next_batch()
            try:
                with self.timer:
                    losses = self._step(self.optimiser, batch) if recorded is None else recorded(batch)
                    self.schedule.step()
            except Exception as error:
                raise Apart(_reason(error)) from error
            elapsed = (time.perf_counter() - started) / size
            for member, loss in zip(self.members, losses, strict=True):
                if member.going:
                    with member.outcomes():
                        member.session.look(step, loss, elapsed)
        for member in self.members:
            if member.going:
                with member.outcomes():
                    member.session.end()
        seconds = (time.perf_counter() - started) / size
        step_seconds = {name: value and value / size for name, value in self.timer.summary().items()}
        for member in self.members:
            member.conclude(seconds, step_seconds)
            member.result["time"]["together"] = size

    def _next_batch(self) -> Any:
        """Return the next batch of every run, stacked; a full batch is stacked once."""
        batches = [next(session.batches) for session in self.sessions]
        if not _same(batches, self._batches):
            self._batches, self._stacked = batches, _stack_batches(batches)
        return self._stacked

    def _recorded(self) -> Callable[[Any], Tensor] | None:
        """Return the step of all runs as a device replays it, or None where it is taken eagerly."""
        first = self.sessions[0]
        batches = zip(*(session.probes() for session in self.sessions), strict=True)
        probes = (_stack_batches(each) for each in batches)
        subject = capture.Subject(self._step, self.optimiser, lambda: {**self.parameters, **self.buffers}, probes)
        recorded, told = capture.choose(first.training, self.members[0].device, first.steps, subject)
        for session in self.sessions:
            session.capture = told
        return recorded

    def _step(self, optimiser: torch.optim.Optimizer, batch: Any) -> Tensor:
        for parameter in self.parameters.values():
            parameter.grad = None
        losses = self._losses(batch)
        losses.sum().backward()  # the gradient of the sum, in the slice of a run, is that of the run's own loss
        for own, stacked, index in self._handed:
            own.grad = None if stacked.grad is None else stacked.grad[index]
        optimiser.step()
        return losses.detach()

    def _losses(self, batch: Any) -> Tensor:
        return vmap(self._loss)(self.parameters, self.buffers, batch)

    def _loss(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], batch: Any) -> Tensor:
        def model(*inputs: Tensor) -> Tensor:
            return functional_call(self.first.model, (parameters, buffers), inputs)

        return self.first.task.loss(model, batch)

    def _optimiser(self) -> torch.optim.Optimizer:
        """Return the optimiser of the first run over the stacked parameters, in one fused operation a step."""
        names = {id(parameter): name for name, parameter in self.first.model.named_parameters()}
        groups = [
            {**_options(group), "params": [self.parameters[names[id(parameter)]] for parameter in group["params"]]}
            for group in self.first.optimiser.param_groups
        ]
        return type(self.first.optimiser)(groups)

    def _optimiser_of_each(self) -> torch.optim.Optimizer:
        """Return one optimiser over the slices of all runs, whose groups keep the rates of their runs."""
        groups = []
        for index, session in enumerate(self.sessions):
            for name, own in session.trainee.model.named_parameters():
                self._handed.append((own, self.parameters[name], index))
            trained = session.trainee.optimiser.param_groups
            groups += [{**_options(group), "params": group["params"]} for group in trained]
        return type(self.first.optimiser)(groups)

    def _check_gradients(self) -> None:
        """Compare losses and gradients of one stacked batch with those of each run by itself."""
        size = self.members[0].spec["training"]["batch_size"]
        batches = [
            next(session.trainee.task.batches(size, seeds.generator(member.spec["seed"], "measurement", member.device)))
            for member, session in zip(self.members, self.sessions, strict=True)
        ]
        trained = {name: tensor for name, tensor in self.parameters.items() if tensor.requires_grad}
        state = {name: tensor.clone() for name, tensor in self.buffers.items()}
        try:
            losses = self._losses(_stack_batches(batches))
            gradients = torch.autograd.grad(losses.sum(), list(trained.values()), allow_unused=True)
        except Exception as error:
            raise Apart(_reason(error)) from error
        for index, (session, batch) in enumerate(zip(self.sessions, batches, strict=True)):
            loss = session.trainee.loss(batch)
            own = dict(session.trainee.model.named_parameters())
            alone = torch.autograd.grad(loss, [own[name] for name in trained], allow_unused=True)
            slices = [None if gradient is None else gradient[index] for gradient in gradients]
            if not _agree([losses[index], *slices], [loss, *alone]):
                raise Apart("losses or gradients of the stacked step differ from those of single ones")
        if any(not torch.equal(tensor, state[name]) for name, tensor in self.buffers.items()):
            raise Apart("the model has buffers that training changes")


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    options = {key: value for key, value in group.items() if key not in ("params", "initial_lr")}
    return {**options, "lr": group["initial_lr"], "foreach": None, "fused": True}


def _reason(error: Exception) -> str:
    if failures.lacks_memory(error):
        return "the runs together do not fit into memory"
    return f"the step cannot be stacked: {(str(error).strip() or type(error).__name__).splitlines()[0]}"


def _check_kind(sessions: Sequence[Any]) -> None:
    training, trainee = sessions[0].training, sessions[0].trainee
    if training["optimiser"] not in ELEMENTWISE:
        raise Apart(f"{training['optimiser']} does not treat every parameter by itself")
    for name in ("penalty", "after_step"):
        if getattr(trainee, name) is not None:
            raise Apart(f"the method has a {name}")


def _stack(tensors: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return stacked copies by name, and make the tensors of every model views of them."""
    shapes = [{name: (tensor.shape, tensor.dtype) for name, tensor in each.items()} for each in tensors]
    if any(shape != shapes[0] for shape in shapes):
        raise Apart("the models of the seeds differ in the shapes of their tensors")
    stacked = {}
    for name, tensor in tensors[0].items():
        joint = torch.stack([each[name].detach() for each in tensors])
        for index, each in enumerate(tensors):
            each[name].data = joint[index]
        stacked[name] = nn.Parameter(joint, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else joint
    return stacked


def _stack_batches(batches: Sequence[Any]) -> Any:
    if isinstance(batches[0], Tensor):
        return torch.stack(list(batches))
    parts = list(zip(*batches, strict=True))
    if not all(isinstance(part, Tensor) for each in parts for part in each):
        raise Apart("the batches hold more than tensors")
    return tuple(torch.stack(list(part)) for part in parts)


def _same(batches: Sequence[Any], before: Sequence[Any]) -> bool:
    """Tell whether every run has been given the very tensors of its last step again."""
    if len(batches) != len(before):
        return False
    pairs = [
        zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
        for one, other in zip(batches, before, strict=True)
    ]
    return all(one is other for pair in pairs for one, other in pair)


def _agree(found: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> bool:
    """Compare lists of tensors up to rounding, relative to the largest number of the list."""
    if [each is None for each in found] != [each is None for each in expected]:
        return False
    pairs = [(one, other) for one, other in zip(found, expected, strict=True) if one is not None]
    scale = max(float(other.detach().abs().max()) for _, other in pairs if other.numel())
    limit = ROUNDING * torch.finfo(pairs[0][1].dtype).eps * scale
    return all(float((one - other).detach().abs().max()) <= limit for one, other in pairs if one.numel())
