"""Which runs others start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def supplies(other: Mapping[str, Any], spec: Mapping[str, Any], method: str | None) -> bool:
    """Tell whether a run learns what another starts from: one of its baseline and seed, on any task.

    With `method`, a run of that method on the same task and seed that agrees in every setting that both methods have.
    """
    if other["seed"] != spec["seed"]:
        return False
    if method is None:
        return other["method"]["baseline"] == spec["method"]["baseline"]
    theirs, ours = other["method"]["settings"], spec["method"]["settings"]
    same = all(theirs[name] == ours[name] for name in theirs.keys() & ours.keys())
    return method == other["method"]["name"] and other["task"] == spec["task"] and same


def of_experiment(experiment: Mapping[str, Any]) -> list[str]:
    """Return the experiments whose runs those of an experiment start from."""
    entries = [experiment, *(entry for entry in experiment["methods"] if isinstance(entry, Mapping))]
    return [entry["source"]["experiment"] for entry in entries if "experiment" in entry.get("source", {})]
