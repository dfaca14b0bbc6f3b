"""Runs the analyses of a spec: during training at each evaluation, and on the trained model."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import nn

from kanbench.base import seeds
from kanbench.baselines import build
from kanbench.tasks.task import Task


def rounded(values: torch.Tensor, decimals: int = 6) -> list[float]:
    """Return a tensor of one dimension as numbers for a record: samples that are drawn, not computed with."""
    return [round(value, decimals) for value in values.double().cpu().tolist()]


class Skip(Exception):
    """An analysis does not apply to a model; the message is the reason that the record gives."""


@dataclass
class Subject:
    """What an analysis looks at.

    Attributes:
        model: The model as it is at the moment; after training, the one chosen on validation.
        capabilities: The optional functions of the baseline's `model.py`, bound to `model`.
        results: What the analysis at work has found so far, its `curve` included.
    """

    model: nn.Module
    task: Task
    spec: Mapping[str, Any]
    device: torch.device
    capabilities: Mapping[str, Callable] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)

    def generator(self, purpose: str) -> torch.Generator:
        """Return a generator for one purpose of the run's seed, on the CPU."""
        return seeds.generator(self.spec["seed"], f"analysis/{purpose}")


class Analyses:
    """The analyses of one run; `results` is what the record holds."""

    def __init__(self, module: ModuleType, model: nn.Module, task: Task, spec: Mapping[str, Any], device: torch.device):
        offered = {
            name: functools.partial(function, model)
            for name, function in vars(module).items()
            if not name.startswith("_") and callable(function) and not isinstance(function, type)
        }
        self.subject = Subject(model, task, spec, device, offered)
        self.results: dict[str, dict[str, Any]] = {}
        self._modules: dict[str, ModuleType] = {}
        for name in spec.get("analyses", {}):
            analysis = importlib.import_module(f"kanbench.training.analyses.{name}")
            missing = [needed for needed in analysis.REQUIRES if build.capability(module, needed) is None]
            reason = f"no {', '.join(missing)}" if missing else None
            self.results[name] = {"status": "skipped" if missing else "ok", "reason": reason, "curve": []}
            if not missing:
                self._modules[name] = analysis

    def observe(self, step: int) -> None:
        """Let the analyses that follow training look at the model after a step."""
        for name, analysis in list(self._modules.items()):
            look = getattr(analysis, "observe", None)
            if look is not None:
                found = self._call(name, look)
                if found is not None:
                    self.results[name]["curve"].append({"step": step, **found})

    def finish(self) -> None:
        """Complete the results from the trained model."""
        for name, analysis in list(self._modules.items()):
            found = self._call(name, analysis.finish)
            if found is not None:
                self.results[name].update(found)

    def _call(self, name: str, function: Callable) -> dict[str, Any] | None:
        self.subject.results = self.results[name]
        try:
            return function(self.subject, self.subject.spec["analyses"][name])
        except Skip as reason:
            self.results[name].update(status="skipped", reason=str(reason))
            del self._modules[name]
            return None
