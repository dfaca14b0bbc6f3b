"""Which dense form a claim is compared with: the strongest one, chosen on validation before any verdict.

Where a table says which form is best in a task family at a budget, that one decides. Without a choice the method must
stand against every declared form, and falls with the first (at the error rate of one): which of them is strongest then
does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kanbench.base import paths
from kanbench.base.budget import nearest_budget
from kanbench.base.errors import Finding, InvalidInput, nearest
from kanbench.records.frame import FAILED, of_experiments
from kanbench.statistics import stats
from kanbench.verdicts import criteria

COLUMNS = ("experiment", "family", "budget", "method", "metric", "median", "standard_error", "seeds", "chosen")
HIGHER = ("accuracy",)
"""Metrics of which more is better; of every other one less is."""


@dataclass(frozen=True)
class Choice:
    """The references of a claim: the `methods` to judge by, and `how` they were chosen, in words."""

    methods: tuple[str, ...]
    how: str
    made: bool = True


def load(path: Path | None) -> pd.DataFrame:
    """Return the table of references chosen on validation; an empty one where there is no such file.

    Columns: experiment, family (of tasks), budget (`100 steps`), method, metric, median (of the validation metric over
    tasks and tuning seeds), standard_error, seeds, chosen (true for one method an experiment, family and budget).

    Raises:
        InvalidInput: columns are missing, or an experiment, family and budget has not exactly one choice, the one with
            the best median.
    """
    if path is None or not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    label = paths.relative(path)
    table = pd.read_csv(path)
    absent = [name for name in COLUMNS if name not in table]
    step = "write it again with make tuning"
    if absent:
        found = ", ".join(map(str, table.columns))
        raise InvalidInput([Finding(label, name, found, f"a column '{name}'", step) for name in absent])
    problems = []
    table["chosen"] = table["chosen"].astype(str).str.lower().isin(["true", "1", "yes"])
    table["median"] = pd.to_numeric(table["median"], errors="coerce")
    for place, rows in table.groupby(["experiment", "family", "budget"], sort=True):
        chosen, where = list(rows.loc[rows["chosen"], "method"]), ", ".join(place)
        order = rows.sort_values("median", ascending=rows["metric"].iloc[0] not in HIGHER)["method"]
        if len(chosen) != 1:
            found = f"{len(chosen)} chosen ({', '.join(chosen)})" if chosen else "none chosen"
            problems.append(Finding(label, where, found, "one chosen method", step))
        elif chosen[0] != order.iloc[0]:
            found, expected = f"{chosen[0]} chosen", f"{order.iloc[0]}, whose median is the best"
            problems.append(Finding(label, where, found, expected, step))
    if problems:
        raise InvalidInput(problems)
    return table


def unknown(table: pd.DataFrame, label: str, known: Sequence[str]) -> list[Finding]:
    """Return a finding for every method of the table that no baseline provides."""
    names = sorted(set(table["method"]) - set(known))
    return [Finding(label, "method", name, nearest(name, known), "correct the name") for name in names]


def of_claim(claim: Mapping[str, Any], frame: pd.DataFrame, table: pd.DataFrame) -> Choice:
    """Return the reference of a claim: the declared one, or of several dense forms the strongest on validation."""
    criterion = claim["criterion"]
    declared = tuple(criterion.get("references", ()))
    if not declared:
        return Choice((_name(criterion),), "declared")
    rows = of_experiments(frame, _listed(claim["experiment"]))
    rows = criteria.select(rows, criterion.get("select", {}))
    family = criterion.get("select", {}).get("family") or next(iter(rows["family"].dropna()), "")
    row = _listed_choice(table[table["method"].isin(declared) & table["chosen"]], claim, family, rows)
    if row is not None:
        return Choice((row["method"],), f"strongest on validation, {row['seeds']} seeds at {row['budget']}")
    scores = _validation_scores(rows[(rows["seed"] >= criteria.TUNING_SEEDS) & rows["method"].isin(declared)])
    if set(claim.get("required", declared)) <= scores.keys():
        return Choice((min(scores, key=scores.get),), "strongest on validation, tuning seeds of these records")
    return Choice(declared, "none chosen on validation, so that all count", made=False)


def _listed_choice(chosen: pd.DataFrame, claim: Mapping[str, Any], family: str, rows: pd.DataFrame) -> pd.Series | None:
    """Return the row of the choice for a claim: of its experiment, else of its family, at the budget nearest to its."""
    same = chosen[chosen["family"] == family]
    mine = same[same["experiment"].isin(_listed(claim["experiment"]))]
    listed = mine if len(mine) else same
    if listed.empty:
        return None
    listed = listed.assign(steps=listed["budget"].str.extract(r"([0-9]+)", expand=False).astype(float))
    steps = rows["spec.training.steps"].dropna() if "spec.training.steps" in rows else pd.Series(dtype=float)
    wanted = float(steps.max()) if len(steps) else listed["steps"].max()
    return listed[listed["steps"] == nearest_budget(listed["steps"], wanted)].iloc[0]


def _validation_scores(rows: pd.DataFrame) -> dict[str, float]:
    """Return for each method the mean rank of its median validation metric over the tasks that all were run on."""
    rows = rows.assign(score=[_score(run) for _, run in rows.iterrows()])
    medians = rows.groupby(["task", "method"])["score"].agg(lambda scores: stats.median(scores.to_numpy(float)))
    by_task = medians.unstack("method").dropna() if len(medians) else pd.DataFrame()
    return by_task.rank(axis=1).mean().to_dict() if len(by_task) else {}


def _score(run: pd.Series) -> float:
    if run["status"] in FAILED:
        return math.inf
    value = float(run.get(f"metrics.selected.validation.{run.get('selection.metric')}", math.nan))
    return -value if run.get("selection.goal") == "max" else value


def _name(criterion: Mapping[str, Any]) -> str:
    named = criterion.get("reference", "")
    return named if isinstance(named, str) else " / ".join(named)


def _listed(experiment: str | Sequence[str]) -> list[str]:
    return [experiment] if isinstance(experiment, str) else list(experiment)


def combine(p_values: Sequence[Mapping[str, float]], statement: str, *, all_measured: bool) -> float:
    """Return the p-value of a statement about the strongest of several references, whichever it is.

    That the method is better (or not worse) than the strongest needs to be shown against each, with the largest
    p-value; that it is worse (or not better) than the strongest follows from any, with the smallest p-value times their
    number. A statement against each that lacks one reference is not established.
    """
    found = [each[statement] for each in p_values]
    if statement in ("worse", "not_better"):
        return min(1.0, len(found) * min(found))
    return max(found) if all_measured else 1.0
