"""The one training loop, for every task and every method."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from kanbench.base import seeds
from kanbench.baselines.build import BrokenContract
from kanbench.measurement.measure import StepTimer
from kanbench.process import watch
from kanbench.tasks.task import Task
from kanbench.training import capture, schedules

CHECK_EVERY = 50
"""Steps between two looks at the loss: looking costs a wait for the device."""
LBFGS = {"history_size": 10, "max_iter": 20, "line_search_fn": "strong_wolfe"}
LBFGS_TOLERANCE = {"tolerance_grad": 1e-32, "tolerance_change": 1e-32}


class Diverged(Exception):
    """The loss or a metric is not finite any more."""


class TimedOut(Exception):
    """The run has used the seconds that its spec allows."""


@dataclass
class Trainee:
    """A model with all that a step needs: its task, optimiser and the optional hooks of its baseline."""

    model: nn.Module
    task: Task
    optimiser: torch.optim.Optimizer
    penalty: Callable[[nn.Module], torch.Tensor] | None = None
    after_step: Callable[[nn.Module, int, Any], None] | None = None

    def loss(self, batch: Any) -> torch.Tensor:
        """Return the scalar training loss of a batch, the baseline's penalty included."""
        loss = self.task.loss(self.model, batch)
        if self.penalty is None:
            return loss
        penalty = self.penalty(self.model)
        if not isinstance(penalty, torch.Tensor):
            raise BrokenContract(f"penalises: penalty returned a {type(penalty).__name__}, not a tensor")
        return loss + penalty

    def step(self, batch: Any, number: int = 0) -> torch.Tensor:
        """Update the parameters once; return the loss before the update, without its graph."""

        def closure() -> torch.Tensor:
            self.optimiser.zero_grad(set_to_none=True)
            loss = self.loss(batch)
            loss.backward()
            return loss

        if isinstance(self.optimiser, torch.optim.LBFGS):
            loss = self.optimiser.step(closure)
        else:
            loss = closure()
            self.optimiser.step()
        if self.after_step is not None:
            self.after_step(self.model, number, batch)
        return loss.detach()


def make_optimiser(groups: list[dict[str, Any]], training: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Return the optimiser of a spec over parameter groups.

    What `training["groups"]` says of a group counts; then what the baseline's group carries: `lr_scale` (factor of the
    learning rate) and `weight_decay`; then the general settings. L-BFGS takes one group and follows the settings of
    pykan: history 10, 20 inner iterations, strong Wolfe line search.
    """
    rate = training["learning_rate"]
    if training["optimiser"] == "lbfgs":
        parameters = [parameter for group in groups for parameter in group["params"]]
        return torch.optim.LBFGS(parameters, lr=rate, **LBFGS, **LBFGS_TOLERANCE)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    own, decay = training.get("groups", {}), training["weight_decay"]
    return kinds[training["optimiser"]](
        [
            {
                "name": group["name"],
                "params": group["params"],
                "lr": own.get(group["name"], {}).get("learning_rate", rate * group.get("lr_scale", 1.0)),
                "weight_decay": own.get(group["name"], {}).get("weight_decay", group.get("weight_decay", decay)),
            }
            for group in groups
        ]
    )


def total_steps(training: Mapping[str, Any], task: Task) -> int:
    """Return the number of steps that `steps` or `epochs` of a spec stand for."""
    if "steps" in training:
        return training["steps"]
    return training["epochs"] * task.steps_per_epoch(training["batch_size"])


def evaluation_steps(steps: int, evaluations: int) -> list[int]:
    """Return the evenly spaced numbers of finished steps after which the model is evaluated; the last is `steps`."""
    return sorted({max(1, round(i * steps / evaluations)) for i in range(1, evaluations + 1)})


@dataclass
class History:
    """What the loop saw: the curve, the choice made on validation, and the choice on test for comparison only."""

    curve: list[dict[str, Any]] = field(default_factory=list)
    last: dict[str, Any] | None = None
    selected: dict[str, Any] | None = None
    legacy: dict[str, Any] | None = None
    best_state: dict[str, torch.Tensor] | None = None


class Training:
    """Trains a `Trainee`, keeping its history even where it ends early.

    Raises (from `run`):
        Diverged, TimedOut, torch.OutOfMemoryError
    """

    def __init__(
        self,
        trainee: Trainee,
        training: Mapping[str, Any],
        generator: torch.Generator,
        device: torch.device,
        observe: Callable[[int], None] = lambda step: None,
    ):
        """Prepare a training; `observe` is called after every evaluation with the number of finished steps."""
        self.trainee, self.training, self.device, self.observe = trainee, training, device, observe
        self.history, self.timer = History(), StepTimer(device)
        self.steps = total_steps(training, trainee.task)
        self._due = set(evaluation_steps(self.steps, training["evaluations"]))
        self.batches = trainee.task.batches(training["batch_size"], generator)
        self.generator, self.capture = generator, {"used": "eager", "reason": "no step was taken"}
        per_epoch = trainee.task.steps_per_epoch(training["batch_size"])
        names = [group.get("name") for group in trainee.optimiser.param_groups]
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            trainee.optimiser, schedules.of_groups(training, names, self.steps, per_epoch)
        )

    def run(self) -> None:
        """Train to the last step, evaluating on the way."""
        started = time.monotonic()
        self.begin()
        recorded = self._recorded()
        for step in range(1, self.steps + 1):
            batch = next(self.batches)
            with self.timer:
                loss = self.trainee.step(batch, step) if recorded is None else recorded(batch)
                self.schedule.step()
            self.look(step, loss, time.monotonic() - started)
        self.end()

    def _recorded(self) -> Callable[[Any], torch.Tensor] | None:
        """Return the step as a device replays it, or None where it is taken eagerly; `capture` tells which and why."""
        trainee = self.trainee

        def step(optimiser: torch.optim.Optimizer, batch: Any) -> torch.Tensor:
            return replace(trainee, optimiser=optimiser).step(batch)

        def tensors() -> dict[str, torch.Tensor]:
            return dict([*trainee.model.named_parameters(), *trainee.model.named_buffers()])

        subject = capture.Subject(step, trainee.optimiser, tensors, self.probes())
        hooked = trainee.after_step is not None
        recorded, self.capture = capture.choose(self.training, self.device, self.steps, subject, hooked=hooked)
        return recorded

    def probes(self) -> Iterator[Any]:
        """Yield batches that are drawn as those of the training are, from a generator of their own."""
        seed = seeds.derive(self.generator.initial_seed(), "capture")
        generator = torch.Generator(device=self.generator.device).manual_seed(seed)
        return self.trainee.task.batches(self.training["batch_size"], generator)

    def begin(self) -> None:
        """Evaluate the model as it was initialised."""
        self._evaluate(0, None)
        self.observe(0)

    def look(self, step: int, loss: torch.Tensor, elapsed: float) -> None:
        """Check and evaluate after a step where that is due, `elapsed` seconds after the start."""
        watch.alive()
        due = step in self._due
        if due or step % CHECK_EVERY == 0:
            self._check(loss, step)
            limit = self.training["timeout_seconds"]
            if limit is not None and elapsed > limit:
                raise TimedOut(f"{limit:g} s were over after step {step} of {self.steps}")
        if due:
            self._evaluate(step, float(loss))
            self.observe(step)

    def _check(self, loss: torch.Tensor, step: int) -> None:
        if not torch.isfinite(loss):
            raise Diverged(f"the training loss was {float(loss)} at step {step} of {self.steps}")

    def _evaluate(self, step: int, loss: float | None) -> None:
        """Evaluate on validation and test. Nothing but `legacy` depends on what test says."""
        task, history = self.trainee.task, self.history
        metrics = {split: task.evaluate(self.trainee.model, split) for split in ("validation", "test")}
        chosen = metrics["validation"][task.selection["metric"]]
        point = {"step": step, "train_loss": loss, "validation": chosen, "test_legacy": metrics["test"][task.metric]}
        history.curve.append(point)
        if step == 0:
            return
        if not math.isfinite(chosen):
            raise Diverged(f"the validation {task.selection['metric']} was {chosen} at step {step} of {self.steps}")
        history.last = {"step": step, **metrics}
        if history.selected is None or _better(
            chosen, history.selected["validation"][task.selection["metric"]], task.selection["goal"]
        ):
            history.selected = history.last
            state = self.trainee.model.state_dict()
            for name, value in state.items():
                state[name] = value.clone() if torch.is_tensor(value) else copy.deepcopy(value)
            history.best_state = state
        value = metrics["test"][task.metric]
        if history.legacy is None or _better(value, history.legacy["value"], task.goal):
            history.legacy = {"step": step, "value": value}

    def end(self) -> None:
        """Add the training metrics of the last step and of the chosen one, which it leaves in the model."""
        model, task, history = self.trainee.model, self.trainee.task, self.history
        train = task.evaluate(model, "train")
        history.last = {"step": history.last["step"], "train": train, **history.last}
        if history.selected["step"] != history.last["step"]:
            model.load_state_dict(history.best_state)
            train = task.evaluate(model, "train")
        history.selected = {"step": history.selected["step"], "train": train, **history.selected}


def _better(value: float, best: float, goal: str) -> bool:
    return value < best if goal == "min" else value > best
