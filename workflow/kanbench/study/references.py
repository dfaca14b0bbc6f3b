"""Which dense KAN generated ones are compared with: the strongest on validation, on the seeds of the study `tuning`.

A baseline or variant that is a dense KAN says so (`role: dense_reference` in its description). Where an experiment of
the study has two of them or more, each with the learning rate chosen for it, the best median of the reported metric on
the validation split is the reference of its family of tasks and budget.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from kanbench.base.budget import whole
from kanbench.study import rates
from kanbench.study.rate_choice import Cell, trial_of

FILE = "workflow/config/references.csv"
COLUMNS = ("experiment", "family", "budget", "method", "metric", "median", "standard_error", "seeds", "chosen")
OF_A_MEDIAN = math.sqrt(math.pi / 2)
"""Standard error of the median of normal values over that of their mean, in large samples."""


def table(found: Iterable[Cell], records: Sequence[Mapping[str, Any]], dense: Collection[str]) -> pd.DataFrame:
    """Return one row a dense KAN, experiment and budget, with the best one `chosen`.

    Args:
        found: The trials of the study, of which those of the `dense` methods count.
        records: The records of the study.
        dense: Names of the methods whose role is `dense_reference`.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell in found:
        if cell.method in dense and cell.chosen is not None:
            groups.setdefault((cell.experiment, cell.family), []).append(_row(cell, records))
    rows = []
    for members in groups.values():
        best = min(members, key=lambda row: row["order"])
        rows += [{**row, "chosen": row is best} for row in members if len(members) > 1]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(cell: Cell, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    runs = [run for run in records if _is_chosen(run, cell)]
    metric, goal = runs[0]["metric"], runs[0]["goal"]
    values = pd.Series([(run["metrics"]["selected"] or {}).get("validation", {}).get(metric, math.nan) for run in runs])
    median = float(values.median())
    return {
        "experiment": whole(cell.experiment),
        "family": cell.family,
        "budget": f"{cell.budget} steps",
        "method": cell.method,
        "metric": metric,
        "median": float(f"{median:.4g}"),
        "standard_error": float(f"{OF_A_MEDIAN * values.std() / math.sqrt(len(values)):.2g}"),
        "seeds": len(cell.seeds),
        "order": (median if goal == "min" else -median, cell.method),
    }


def _is_chosen(run: Mapping[str, Any], cell: Cell) -> bool:
    mine = cell.experiment in run["experiments"] and run["spec"]["method"]["name"] == cell.method
    return mine and run["family"] == cell.family and rates.text(trial_of(run["spec"])) == cell.chosen


def merged(new: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Return a new table with the rows of the one before it for experiments that it lacks."""
    old = before[~before["experiment"].isin(set(new["experiment"]))]
    joined = pd.concat([each for each in (old, new) if len(each)] or [new], ignore_index=True)
    return joined.sort_values(["family", "budget", "chosen"], ascending=[True, True, False], ignore_index=True)
