"""Summary of all cells

Median over seeds of the test metric at the step chosen on validation. Square brackets: 95 % interval of the median,
from six seeds on; round brackets: the range over fewer seeds. Memory is the simulated peak of a training step, never a
measured one; its time is that of runs which had the device to themselves. Rows named 'floor' are trivial predictors; a
column says which of them a method is ahead of. A cell without an ok run shows what became of its runs.
"""

from __future__ import annotations

import math

import pandas as pd

from kanbench.pages import cells, floors, style, table
from kanbench.pages.table import Cell, Table

KIND = "table"
EXPERIMENTS = []
CATEGORY = "Accuracy"
COLUMNS = (
    "Task",
    "Method",
    "Settings",
    "Metric",
    "Test value",
    "Parameters",
    "Simulated peak (MiB)",
    "Step (ms)",
    "Floors",
    "Runs ok",
)
NUMERIC = frozenset({"Parameters", "Simulated peak (MiB)", "Step (ms)"})


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a cell and one row a floor of a task."""
    rows = table.cells(records).assign(kind="run")
    trivial = _floors(records)
    rows["floors"] = [_against(row, trivial) for _, row in rows.iterrows()]
    rows = pd.concat([rows, trivial], ignore_index=True) if len(trivial) else rows
    return rows.sort_values(["family", "task", "kind", "label", "settings"], kind="stable", ignore_index=True)


def _floors(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a trivial predictor of a task: median over seeds of its test metric."""
    rows = []
    for (family, task), runs in records.groupby(["family", "task"]):
        metric = runs["metric"].iloc[0]
        for _, known, row in floors.found(runs, metric, f"floor {task}"):
            about = {"family": family, "task": task, "method": "", "settings": "", "status": "ok", "metric": metric}
            about |= {"metric_label": table.metric_text(metric), "goal": known["goal"].iloc[0]}
            rows.append(about | row)
    return pd.DataFrame(rows)


def _against(row: pd.Series, trivial: pd.DataFrame) -> str:
    mine = trivial[trivial["task"] == row["task"]] if len(trivial) else trivial
    return floors.against(row["median"], row["goal"], mine)


def rows(frame: pd.DataFrame) -> Table:
    """Return the table of the cells."""
    notes = ()
    if not frame["canonical"].all():
        notes = ("† not the canonical archive of the data set, see the record.",)
    made = Table(COLUMNS, tuple(_row(row) for _, row in frame.iterrows()), frame, NUMERIC, notes=notes)
    return cells.emphasised(made, "Test value", ["task", "metric"], frame["goal"])


def _row(row: pd.Series) -> tuple[Cell, ...]:
    runs = table.run_names(row["runs"])
    task = row["task"] if row["canonical"] else f"{row['task']} †"
    if row["status"] == "ok" and math.isnan(row["median"]):
        value = Cell("not trained", runs)
    elif math.isnan(row["median"]):
        value = Cell(row["status"].replace("_", " "), runs, badge=row["status"])
    else:
        value = Cell(table.spread_text(row["median"], row["low"], row["high"], row["interval"]), runs, row["median"])
    floor = floors.is_floor(row)
    measured = [
        Cell("none" if floor else show(row[column]), runs, row[column])
        for column, show in (
            ("parameters", style.exact),
            ("simulated_peak_bytes", style.mebibytes),
            ("step_seconds", _milliseconds),
        )
    ]
    return (
        Cell(task),
        Cell(row["label"]),
        Cell(row["settings"] or "default"),
        Cell(row["metric_label"]),
        value,
        *measured,
        Cell(floors.IS_ONE if floor else row["floors"]),
        Cell(row["seeds"], runs, badge="" if row["status"] == "ok" else row["status"]),
    )


def _milliseconds(seconds: float) -> str:
    return "not timed alone" if math.isnan(seconds) else style.milliseconds(seconds)
