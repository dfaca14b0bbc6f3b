"""From the pairs of a claim to independent values: what counts as one, what is none, what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kanbench.statistics import stats
from kanbench.verdicts import criteria

THESE, KIND = "these tasks", "tasks of this kind"
"""Scopes: the tasks are given and their seeds vary, or the tasks vary."""
ENOUGH_TASKS = 8
"""Tasks, near twins counted once, from which a statement about tasks of their kind can be decided."""


@dataclass(frozen=True)
class Evidence:
    """The independent values of a claim against one reference.

    Attributes:
        units: One row a unit with `seed` (these tasks) and the value: as `seen` (NaN where every run is missing), and
            as `low` and as `high` as it can be, whatever the missing runs would have brought.
        seeds: The seeds of all planned pairs, in order.
        unit: What varies, in words.
        tasks: The tasks that count.
        floors, missing, unfinished: See `outcome.Outcome`.
        refused: Pairs with a value that is not positive, where a ratio is asked.
    """

    units: pd.DataFrame
    seeds: tuple[int, ...]
    unit: str
    tasks: tuple[str, ...]
    floors: int = 0
    missing: int = 0
    unfinished: int = 0
    refused: int = 0

    def first(self, seeds: int) -> pd.DataFrame:
        """Return the units of the first so many seeds."""
        return self.units[self.units["seed"].isin(self.seeds[:seeds])]

    @property
    def seen(self) -> np.ndarray:
        """The values of the units of which a run was measured."""
        return self.units["seen"].dropna().to_numpy(float)


def gather(
    criterion: Mapping[str, object], pairs: pd.DataFrame, scope: str, twins: Sequence[Sequence[str]] = ()
) -> Evidence:
    """Return the independent values of the pairs of a claim.

    A unit is a task and seed (`these tasks`) or a task (`tasks of this kind`; near twins are one). Its value is the
    median over its pairs, which may differ in settings.
    """
    pairs = pairs.assign(effect=criteria.effects(criterion, pairs))
    unknown = missing(pairs)
    refused = int((pairs["usable"] & pairs["effect"].isna()).sum())
    below = {task for task, runs in pairs.groupby("task") if _below_floor(criterion, runs)}
    counts = pairs[(pairs["usable"] | unknown) & ~pairs["task"].isin(below)]
    unknown = unknown[counts.index]
    tasks = tuple(sorted(counts["task"].unique()))
    twin = {name: group[0] for group in twins for name in group}
    counts = counts.assign(
        low=counts["effect"].where(~unknown, -math.inf),
        high=counts["effect"].where(~unknown, math.inf),
        kind=[_kind(task, twin) for task in counts["task"]],
    )
    by = ["kind"] if scope == KIND else ["task", "seed"]
    units = [
        {
            "seed": runs["seed"].iloc[0],
            "seen": stats.median(runs["effect"].dropna().to_numpy(float)),
            "low": stats.median(runs["low"].to_numpy(float)),
            "high": stats.median(runs["high"].to_numpy(float)),
        }
        for _, runs in counts.groupby(by, sort=True)
    ]
    unit = "tasks" if scope == KIND else f"runs of {len(tasks)} tasks" if len(tasks) > 1 else "seeds"
    return Evidence(
        units=pd.DataFrame(units, columns=["seed", "seen", "low", "high"]),
        seeds=tuple(sorted(int(seed) for seed in pairs["seed"].unique())),
        unit=unit,
        tasks=tasks,
        floors=len(below),
        missing=int(unknown.sum()),
        unfinished=int(pairs["unfinished"].sum()),
        refused=refused,
    )


def _kind(task: str, twin: Mapping[str, str]) -> str:
    """Return what a task is, without the settings in which it is repeated (noise, number of samples)."""
    words = [word for word in task.split() if "=" not in word or word.startswith("dimension=")]
    return " ".join(twin.get(word, word) for word in words)


def missing(pairs: pd.DataFrame) -> pd.Series:
    """Tell which pairs are missing: neither compared nor lost on both sides, as a run is absent or was not measured."""
    return ~pairs["usable"] & ~pairs["unfinished"] & ~pairs["unmeasurable"]


def _below_floor(criterion: Mapping[str, object], runs: pd.DataFrame) -> bool:
    """Tell whether neither side beats the floor of a task, by their medians over seeds."""
    floor = runs["floor"].median()
    if math.isnan(floor) or not criteria.has_floor(criterion):
        return False
    sides = (runs.loc[runs["usable"], side].to_numpy(float) for side in ("value", "reference_value"))
    return all(side.size > 0 and stats.median(side) >= floor for side in sides)


def place(evidence: Evidence, scope: str) -> str:
    """Return what a verdict is about, in words that follow from the declared scope and the tasks of the records."""
    names = [task.removeprefix("feynman ") for task in evidence.tasks]
    if not names:
        return ""
    if scope == KIND:
        return f"on tasks of this kind ({len(evidence.units)} measured)"
    return f"on {' and '.join(names)}" if len(names) <= 2 else f"on these {len(names)} tasks ({', '.join(names)})"
