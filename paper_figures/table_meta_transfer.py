"""Starts from a pretrained meta-learner

One row a target and way to start. Error ratio: over MetaKAN from scratch, median over paired runs (equal target and
seed; sources count as pairs of their own) with its interval. Steps to target: training steps until the validation error
is at most the one that MetaKAN from scratch ends with, median over the runs that reach it, and how many do; evaluations
are spaced, so the number is an upper bound. Parameters and simulated peak are those of the adaptation: what is frozen
needs neither gradient nor optimiser state.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from kanbench.pages import style, table
from kanbench.pages.table import Cell, Table

KIND = "table"
EXPERIMENTS = ["E10", "E10pde", "E10grid", "E10others", "E10images"]
CATEGORY = "Open questions"
ADAPT = "spec.source.adapt"
WAYS = {
    "": "from scratch",
    "frozen": "pretrained, frozen",
    "warm": "pretrained start",
    "random_frozen": "random, frozen",
}
COLUMNS = (
    "Target",
    "Start",
    "Test error",
    "/ from scratch",
    "Steps to target",
    "Trained",
    "Simulated peak (MiB)",
    "Runs ok",
)
NUMERIC = frozenset({"Trained", "Simulated peak (MiB)"})


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a target, method and way to start."""
    if ADAPT not in records:
        return pd.DataFrame()
    records = records.assign(way=records[ADAPT].fillna(""))
    adapting = records[records["method"].isin(records[records["way"] != ""]["method"])]
    rows = []
    for (task, label, way), runs in records.groupby(["task", "label", "way"], sort=True):
        scratch = adapting[(adapting["task"] == task) & (adapting["way"] == "")]
        ratio, _ = table.paired_ratio(runs, scratch, "error", f"start {task} {label} {way}")
        steps = _steps(runs, scratch)
        error = table.spread(runs["error"], f"start error {task} {label} {way}")
        rows.append(
            {
                "task": task,
                "label": label,
                "way": WAYS.get(way, way) if label in set(adapting["label"]) else "dense weights, from scratch",
                "error": error[0],
                "error_text": table.spread_text(*error),
                **ratio,
                "steps": float(np.median(steps)) if steps else math.nan,
                "n_reached": len(steps),
                "parameters": runs["parameters.trainable"].median(),
                "peak_bytes": runs["memory.simulated_peak_bytes"].median(),
                "seeds": table.status_text(runs["status"]),
                "runs": " ".join(runs["run"]),
            }
        )
    return pd.DataFrame(rows)


def _steps(runs: pd.DataFrame, scratch: pd.DataFrame) -> list[int]:
    """Return, for each run that gets there, the first evaluated step at which it is as good as scratch at its end."""
    reached = []
    for _, run in runs.iterrows():
        ends = [
            points[-1]["validation"]
            for points in scratch[scratch["seed"] == run["seed"]]["curve"]
            if points and points[-1]["validation"] is not None
        ]
        if ends and run["status"] == "ok":
            target = float(np.median(ends))
            steps = [p["step"] for p in run["curve"] if p["validation"] is not None and p["validation"] <= target]
            reached += steps[:1]
    return reached


def rows(frame: pd.DataFrame) -> Table:
    """Return the table of the targets."""
    return Table(COLUMNS, tuple(_row(row) for _, row in frame.iterrows()), frame, NUMERIC)


def _row(row: pd.Series) -> tuple[Cell, ...]:
    runs = table.run_names(row["runs"])
    ratio = table.spread_text(row["ratio"], row["low"], row["high"], row["interval"])
    planned = int(row["seeds"].split()[2])
    steps = f"{row['steps']:.0f} ({row['n_reached']} of {planned})" if row["n_reached"] else f"0 of {planned} reach it"
    return (
        Cell(row["task"]),
        Cell(f"{row['label']}: {row['way']}"),
        Cell(row["error_text"], runs, row["error"]),
        Cell(ratio if row["n_pairs"] else "no ok pair", runs, row["ratio"]),
        Cell(steps, runs, row["steps"]),
        Cell(style.exact(row["parameters"]), runs, row["parameters"]),
        Cell(style.mebibytes(row["peak_bytes"]), runs, row["peak_bytes"]),
        Cell(row["seeds"], runs),
    )
