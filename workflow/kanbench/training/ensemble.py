"""Trains runs of a cell together: one step of all of them costs little more than one of each.

A small network leaves a processor or a GPU idle between its many tiny operations. The parameters of S such networks are
stacked, and one forward and one backward pass serve all of them (`torch.func.vmap`). Each run keeps its own data,
split, order of batches, learning rates, evaluations, selection and outcome. An optimiser that treats every number by
itself (Adam, AdamW, SGD) treats stacked numbers alike; L-BFGS keeps histories and line searches apart (`lbfgs`). So the
records are those of separate runs up to rounding. What a step takes in memory is simulated once for all of them, but
for L-BFGS, whose line search goes as the data say.

Where this does not hold the runs are trained one after another, and their records say why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from kanbench.base import seeds
from kanbench.measurement.measure import StepTimer
from kanbench.process import watch
from kanbench.process.locks import device_lock
from kanbench.training import capture, failures, stacking
from kanbench.training.cell import cell
from kanbench.training.side_by_side import SideBySide
from kanbench.training.stacking import Apart
from kanbench.training.train import Attempt

LEAST_STACKED = 4
"""On a processor fewer runs are quicker one after another: their steps take native kernels, a stacked step does not.

`benchmarks/training_loop.py` shows both. L-BFGS, whose steps are mostly overhead, is stacked from two runs on.
"""


def run(
    specs: Sequence[Mapping[str, Any]], *, data_root: Path | None = None, runs: Path = Path("runs")
) -> list[dict[str, Any]]:
    """Return the records of specs, in their order; those of one cell are trained together.

    `time.together` of a record is the number of runs that shared its steps; times are then those of all of them,
    divided by that number. Where runs that could have been together were not, `time.apart` says why.
    """
    attempts = [Attempt(spec, data_root, runs) for spec in specs]
    with ExitStack() as held:
        for device in {str(attempt.device) for attempt in attempts if attempt.going}:
            held.enter_context(device_lock(device, exclusive=False))
        cells: dict[str, list[Attempt]] = {}
        for attempt in attempts:
            if attempt.going:
                members = cells.setdefault(cell(attempt.spec), [])
                attempt.prepare(members[0] if members else None)
                members.append(attempt)
        for _, prepared in sorted(cells.items()):
            members = [attempt for attempt in prepared if attempt.going]
            if members:
                _train(members)
    return [attempt.record() for attempt in attempts]


def _train(members: list[Attempt]) -> None:
    try:
        _check_number(members)
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
        self.parameters = stacking.stack([dict(model.named_parameters()) for model in models])
        self.buffers = stacking.stack([dict(model.named_buffers()) for model in models])
        self._check_gradients()
        self._handed: list[tuple[Tensor, Tensor, int]] = []
        self.rows: SideBySide | None = None
        factors = self.sessions[0].schedule.lr_lambdas
        rates = [session.schedule.base_lrs for session in self.sessions]
        if isinstance(self.first.optimiser, torch.optim.LBFGS):
            first, losses = self.first.optimiser, self._losses
            self.rows = SideBySide(models, self.parameters, self.buffers, losses, first, [rate for (rate,) in rates])
            self.optimiser = self.rows.optimiser
        elif all(each == rates[0] for each in rates):
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
        take = self._chosen()
        for step in range(1, self.sessions[0].steps + 1):
            going = [member for member in going if member.going]
            if not going:
                break
            try:
                with self.timer:
                    losses = take()
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

    def _next_batch(self) -> tuple[Any, bool]:
        """Return the next batch of every run, stacked, and whether it is another; a full batch is stacked once."""
        batches = [next(session.batches) for session in self.sessions]
        renewed = not stacking.same(batches, self._batches)
        if renewed:
            self._batches, self._stacked = batches, stacking.stack_batches(batches)
        return self._stacked, renewed

    def _chosen(self) -> Callable[[], Tensor]:
        """Return what takes a step of all runs that go on and returns their losses, as quickly as the device can."""
        first, rows = self.sessions[0], self.rows
        batches = zip(*(session.probes() for session in self.sessions), strict=True)
        probes = (stacking.stack_batches(each) for each in batches)
        if rows is not None:
            told = rows.choose(first.training, first.steps, next(probes))
        else:
            subject = capture.Subject(self._step, self.optimiser, lambda: {**self.parameters, **self.buffers}, probes)
            recorded, told = capture.choose(first.training, self.members[0].device, first.steps, subject)
        for session in self.sessions:
            session.capture = told

        def take() -> Tensor:
            batch, renewed = self._next_batch()
            if rows is not None:
                return rows.step(batch, (at for at, member in enumerate(self.members) if member.going), renewed)
            return self._step(self.optimiser, batch) if recorded is None else recorded(batch)

        return take

    def _step(self, optimiser: torch.optim.Optimizer, batch: Any) -> Tensor:
        for parameter in self.parameters.values():
            parameter.grad = None
        losses = self._losses(self.parameters, self.buffers, batch)
        losses.sum().backward()  # the gradient of the sum, in the slice of a run, is that of the run's own loss
        for own, stacked, index in self._handed:
            own.grad = None if stacked.grad is None else stacked.grad[index]
        optimiser.step()
        return losses.detach()

    def _losses(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], batch: Any) -> Tensor:
        return vmap(self._loss)(parameters, buffers, batch)

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
            losses = self._losses(self.parameters, self.buffers, stacking.stack_batches(batches))
            gradients = torch.autograd.grad(losses.sum(), list(trained.values()), allow_unused=True)
        except Exception as error:
            raise Apart(_reason(error)) from error
        for index, (session, batch) in enumerate(zip(self.sessions, batches, strict=True)):
            loss = session.trainee.loss(batch)
            own = dict(session.trainee.model.named_parameters())
            alone = torch.autograd.grad(loss, [own[name] for name in trained], allow_unused=True)
            slices = [None if gradient is None else gradient[index] for gradient in gradients]
            if not stacking.agree([losses[index], *slices], [loss, *alone]):
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


def _check_number(members: Sequence[Attempt]) -> None:
    if len(members) == 1:
        raise Apart("no other run of its cell is trained with it")
    quick = members[0].device.type == "cpu" and members[0].spec["training"]["optimiser"] != "lbfgs"
    if quick and len(members) < LEAST_STACKED:
        raise Apart(f"on a processor, fewer than {LEAST_STACKED} runs are quicker one after another")


def _check_kind(sessions: Sequence[Any]) -> None:
    trainee = sessions[0].trainee
    for name in ("penalty", "after_step"):
        if getattr(trainee, name) is not None:
            raise Apart(f"the method has a {name}")
