"""What the rules of the contract are tried on: a method with its example, built anew for every rule."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from kanbench.base import seeds
from kanbench.baselines import build, discovery
from kanbench.baselines.discovery import Method
from kanbench.tasks.task import Problem

SMALL = {"hidden_width": 5, "depth": 1}
"""Axes of the models that the rules on tiny tasks build."""


class Broken(Exception):
    """A rule is broken; the message says how."""


class NotTried(Exception):
    """The rule does not apply to the method."""


def require(condition: bool, message: str) -> None:
    """Raise Broken with a message unless a condition holds."""
    if not condition:
        raise Broken(message)


def unless_skipped(subject: Subject, family: str) -> None:
    """Raise NotTried where the method does not run on a family of tasks."""
    reason = subject.method.skip_reason(family)
    if reason:
        raise NotTried(f"{family} is skipped: {reason}")


class Subject:
    """A method and its example. Every rule builds its models anew, so that none sees what another did."""

    def __init__(self, method: Method):
        self.method, self.example = method, method.baseline.example
        self.problem = Problem(**self.example["problem"])
        self.settings = discovery.resolve(method, self.problem.family, self.example["settings"])
        self.import_changes = ""

    @cached_property
    def module(self) -> Any:
        """The imported `model.py`. Raises Unavailable, BrokenContract.

        What a first import changes in the process is undone, and noted in `import_changes`.
        """
        switches = build.switches()
        try:
            return build.load_model_module(self.method.baseline)
        finally:
            self.import_changes = build.switched(switches)
            build.restore(switches)

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

    def as_example(self, problem: Problem, changes: Mapping[str, Any] | None = None) -> nn.Module:
        """Return a model with the settings of the example, some of them changed, for any problem of its family."""
        wanted = {**self.example["settings"], **(changes or {})}
        return self._built(0, discovery.resolve(self.method, problem.family, wanted), problem)

    def _built(self, seed: int, settings: Mapping[str, Any], problem: Problem) -> nn.Module:
        self.module  # noqa: B018 - imported here, so that what the import changes is seen and undone
        with seeds.seeded(seed, "initialisation"):
            return build.build(self.method, settings, problem)

    def inputs(self, batch: int, problem: Problem | None = None) -> Tensor:
        """Return uniform inputs on the grid range, shape (batch, *input_shape)."""
        problem = problem or self.problem
        low, high = problem.grid_range
        return low + (high - low) * torch.rand(batch, *problem.input_shape, generator=seeds.generator(0, "check"))

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Return inputs and targets as a task of the example's family hands them out."""
        x, problem = self.inputs(size), self.problem
        generator = seeds.generator(0, "targets")
        if problem.family == "classification":
            return x, torch.randint(problem.outputs, (size,), generator=generator)
        return x, torch.rand(size, problem.outputs, generator=generator)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss that the example's family of tasks takes, without the penalty of the baseline."""
        outputs, targets = model(batch[0]), batch[1]
        if self.problem.family == "classification":
            return nn.functional.cross_entropy(outputs, targets)
        return nn.functional.mse_loss(outputs, targets)
