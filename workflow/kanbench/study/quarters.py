"""Experiments at a quarter of their budget: `quarter: true` plans `E1quarter` beside `E1`, so that a verdict can say
whether it depends on how long the networks train.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from kanbench.base.budget import is_quarter, quarter, whole
from kanbench.base.errors import Finding

SHARE = 0.25
TITLE = "{}, a quarter of the budget"
NEAR = (0.22, 0.28)
"""Shares that pass for a quarter where steps or epochs do not divide by four."""


def added(experiments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the experiments with those that `quarter: true` adds, each after its own."""
    found: dict[str, Any] = {}
    for key, experiment in experiments.items():
        found[key] = experiment
        if experiment.get("quarter") and quarter(key) not in experiments:
            found[quarter(key)] = _at_a_quarter(experiment)
    return found


def _at_a_quarter(experiment: Mapping[str, Any]) -> dict[str, Any]:
    shorter = copy.deepcopy({name: value for name, value in experiment.items() if name != "quarter"})
    shorter["title"] = TITLE.format(experiment["title"])
    for _, training in _trainings(shorter, ""):
        for unit in ("steps", "epochs"):
            if unit in training:
                training[unit] = max(1, round(training[unit] * SHARE))
    return shorter


def _trainings(experiment: Mapping[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield f"{where}.training", experiment["training"]
    for position, entry in enumerate(experiment["methods"]):
        if isinstance(entry, Mapping) and "training" in entry:
            yield f"{where}.methods.{position}.training", entry["training"]


def findings(experiments: Mapping[str, Any], label: str) -> Iterator[Finding]:
    """Yield budgets that have no quarter, and ids that are taken by one."""
    for key, experiment in experiments.items():
        if is_quarter(key) and not experiments.get(whole(key), {}).get("quarter"):
            step = "rename it, or write `quarter: true` in the experiment that it belongs to"
            yield Finding(label, f"experiments.{key}", key, "another ending: this one is for planned quarters", step)
        for where, training in _trainings(experiment, f"experiments.{key}") if experiment.get("quarter") else ():
            for unit in ("steps", "epochs"):
                budget = training.get(unit, 4)
                if not NEAR[0] <= max(1, round(budget * SHARE)) / budget <= NEAR[1]:
                    yield Finding(label, f"{where}.{unit}", f"{budget} {unit}", "a multiple of 4", "change the budget")
