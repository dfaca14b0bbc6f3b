"""What rows of several figures and tables have in common: columns from runs, and cells from those columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pandas as pd

from kanbench.pages import published, style, table
from kanbench.pages.table import Cell, Table
from kanbench.records.frame import metric_text


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


BOLD = "Bold: the lowest error of its group by the median; whether it is shown to be lower is what a verdict says."


def emphasised(made: Table, heading: str, groups: Sequence[str], goal: str | pd.Series = "min") -> Table:
    """Return a table whose column `heading` has the best `median` of each group in bold, where a group has several.

    Args:
        groups: Columns of the table's data within which rows compete; floors do not.
        goal: "min" or "max", of all rows or row by row.
    """
    rows, place = made.data, made.columns.index(heading)
    goals = pd.Series(goal, index=rows.index) if isinstance(goal, str) else goal
    errors = rows["median"].where(goals == "min", -rows["median"])
    errors = errors.where(~rows["label"].astype(str).str.startswith("floor: "))
    keys = [rows[name].astype(str) for name in groups if name in rows]
    least, known = errors.groupby(keys).transform("min"), errors.groupby(keys).transform("count")
    strong = (errors == least) & (known > 1)
    body = tuple(
        tuple(replace(cell, strong=True) if chosen and at == place else cell for at, cell in enumerate(row))
        for row, chosen in zip(made.rows, strong, strict=True)
    )
    return replace(made, rows=body, notes=(*made.notes, BOLD) if strong.any() else made.notes)
