"""What rows of several figures and tables have in common: columns from runs, and cells from those columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from kanbench.pages import published, style, table
from kanbench.pages.table import Cell, Table
from kanbench.records.frame import metric_text
from kanbench.statistics import hypotheses, stats


def spread(values: Sequence[float] | pd.Series, purpose: str, name: str = "error") -> dict[str, object]:
    """Return the columns `name` (a median), `low`, `high` and `interval` of values over seeds (see `table.spread`)."""
    return dict(zip((name, "low", "high", "interval"), table.spread(values, purpose), strict=True))


def outcome(runs: pd.DataFrame) -> dict[str, str]:
    """Return the columns `seeds` (what became of the runs) and `runs` (their names)."""
    return {"seeds": table.status_text(runs["status"]), "runs": " ".join(runs["run"])}


def singles(values: pd.Series) -> str:
    """Return single values as one text, as they stand in a CSV file; `numbers` reads it."""
    return " ".join(f"{value:.6g}" for value in values.dropna())


def numbers(text: object) -> list[float]:
    """Return the values that `singles` wrote."""
    return [float(value) for value in text.split()] if isinstance(text, str) else []


def error_label(run: pd.Series) -> str:
    """Return what the column `error` of a run is: its metric, or 1 less a metric that is to be maximised."""
    return ("1 - " if run["goal"] == "max" else "") + metric_text(run["metric"])


def over_runs(points: pd.DataFrame, keys: Sequence[str], **more: tuple) -> pd.DataFrame:
    """Return median, lowest and highest `value` of points with equal `keys`, more aggregates, and their runs."""
    grouped = points.groupby(list(keys), dropna=False)
    names = ("run", lambda runs: " ".join(sorted(set(runs))))
    aggregates = {"median": ("value", "median"), "low": ("value", "min"), "high": ("value", "max")}
    return grouped.agg(**aggregates, **more, runs=names).reset_index()


def first_tasks(points: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the rows of the first `most` tasks by name."""
    return points[points["task"].isin(sorted(points["task"].unique())[:most])]


def names(rows: pd.DataFrame, within: str = "comparison") -> pd.Series:
    """Return the label of each row, with its settings where the label stands for several in one comparison."""
    several = rows.groupby([within, "label"])["settings"].transform("nunique") > 1
    return rows["label"].where(~several, rows["label"] + " (" + rows["settings"] + ")")


def setting(value: float) -> Cell:
    """Return the cell of a number that a method may not have, such as a grid size."""
    return Cell("none" if math.isnan(value) else f"{value:g}", sort=value)


def ratio(value: float, runs: object, absent: str, show: Callable[[float], str] = style.ratio) -> Cell:
    """Return the cell of a ratio to a reference; `absent` says what is missing where there is none."""
    return Cell(absent, badge="absent") if math.isnan(value) else Cell(show(value), table.run_names(runs), value)


def places(rows: Iterable[dict], same: Sequence[str], row: dict) -> list[dict]:
    """Return the rows that agree with `row` in the columns `same`."""
    return [other for other in rows if all(other[name] == row[name] for name in same)]


def of_data_set(row: pd.Series, *network: Cell) -> tuple[Cell, ...]:
    """Return the cells of a row on a data set: `network`, then method, counts, published value, ours, comparison."""
    return (
        Cell(row["dataset"] if row["canonical"] else f"{row['dataset']} †"),
        *network,
        published.configuration_cell(row),
        Cell(row["label"]),
        published.parameters_cell(row),
        published.published_cell(row),
        published.ours_cell(row),
        published.against_cell(row),
        published.verdict_cell(row),
        Cell(row["seeds"], table.run_names(row["runs"])),
    )


BOLD = "Bold: the lowest error of its group by the median."
WORSE = (
    "‡ shown to be worse than the bold one: sign test and signed-rank test over common seeds, after Holm within the "
    "group, 5 %, which takes six seeds or more."
)
MARK = " ‡"


def _pairs(first: object, second: object) -> list[tuple[float, float]]:
    """Return the values of two texts of `table.by_seed` at the seeds that both have."""
    found = []
    for text in (first, second):
        parts = (part.partition("=") for part in text.split()) if isinstance(text, str) else ()
        found.append({seed: float(value) for seed, _, value in parts})
    return [(found[0][seed], found[1][seed]) for seed in found[0] if seed in found[1]]


def shown_worse(rows: pd.DataFrame, best: int, goals: pd.Series) -> list[int]:
    """Return the rows of one group that are shown to be worse than the row `best`, by their columns `by_seed`."""
    others = [place for place in rows.index if place != best]
    p_values = []
    for place in others:
        pairs = np.array(_pairs(rows.loc[place, "by_seed"], rows.loc[best, "by_seed"])).reshape(-1, 2)
        lower = goals[place] == "min"
        pairs = np.log(pairs) if lower and (pairs > 0).all() else pairs
        p_values.append(
            hypotheses.statement_p_values(pairs[:, 0] - pairs[:, 1], 0.0, lower_is_better=lower)["worse"]
            if len(pairs) >= stats.MINIMUM_UNITS
            else 1.0
        )
    adjusted = hypotheses.holm(p_values)
    return [place for place, p_value in zip(others, adjusted, strict=True) if p_value <= hypotheses.ALPHA]


def emphasised(made: Table, heading: str, groups: Sequence[str], goal: str | pd.Series = "min") -> Table:
    """Return a table whose column `heading` has the best `median` of each group in bold, where a group has several.

    Rows that are shown to be worse are marked, where the table's data have a column `by_seed`.

    Args:
        groups: Columns of the table's data within which rows compete; floors do not.
        goal: "min" or "max", of all rows or row by row.
    """
    rows, place = made.data.reset_index(drop=True), made.columns.index(heading)
    goals = pd.Series(goal, index=rows.index) if isinstance(goal, str) else goal.reset_index(drop=True)
    errors = rows["median"].where(goals == "min", -rows["median"])
    errors = errors.where(~rows["label"].astype(str).str.startswith("floor: "))
    keys = [rows[name].astype(str) for name in groups if name in rows]
    least, known = errors.groupby(keys).transform("min"), errors.groupby(keys).transform("count")
    strong = (errors == least) & (known > 1)
    worse: set[int] = set()
    for _, group in rows[errors.notna()].groupby([key[errors.notna()] for key in keys]) if "by_seed" in rows else ():
        if strong[group.index].any():
            worse |= {*shown_worse(group, strong[group.index].idxmax(), goals)} - {*rows.index[strong]}
    body = []
    for at, row in enumerate(made.rows):
        cell = replace(row[place], strong=bool(strong[at]), text=row[place].text + (MARK if at in worse else ""))
        body.append((*row[:place], cell, *row[place + 1 :]))
    notes = [note for note, used in ((BOLD, strong.any()), (WORSE, bool(worse))) if used]
    return replace(made, rows=tuple(body), notes=(*made.notes, *notes))
