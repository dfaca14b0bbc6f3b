"""Trainable parameters and peak memory against four references

Ratios are method over reference, paired by task, seed and every shared axis; the median over pairs, with the range
where pairs differ. Four references stand side by side. Memory is the simulated peak of a training step, never a
measured one.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from kanbench.pages import cells, style, table
from kanbench.pages.table import Cell, Table
from kanbench.statistics import stats

KIND = "table"
EXPERIMENTS = ["E1", "E2", "E5", "E7", "E8", "E8grid"]
CATEGORY = "Memory and speed"
REFERENCES = {"mlp": "MLP", "efficient_kan": "efficient-KAN", "pykan-fast": "pykan-fast", "tiled_kan": "tiled KAN"}
QUANTITIES = {"parameters": "parameters.trainable", "peak": "memory.simulated_peak_bytes"}
HEADINGS = {"parameters": "Parameters", "peak": "Simulated peak (MiB)"}
SHOWN = {"parameters": style.exact, "peak": style.mebibytes}


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task name and method: medians over its cells and the ratios to each reference."""
    rows = []
    for (family, name), runs in records.groupby(["family", "spec.task.name"]):
        for method, mine in runs.groupby("method"):
            row = {
                "family": family,
                "task": name,
                "n_tasks": mine["task"].nunique(),
                "method": method,
                "label": mine["label"].iloc[0],
                "n_ok": int((mine["status"] == "ok").sum()),
                "n_planned": len(mine),
                "runs": " ".join(mine["run"]),
            }
            for quantity, column in QUANTITIES.items():
                row[quantity], low, high = mine[column].median(), mine[column].min(), mine[column].max()
                row.update({f"{quantity}_low": low, f"{quantity}_high": high})
                for reference in REFERENCES:
                    row.update(_ratio(mine, runs[runs["method"] == reference], column, f"{quantity}_to_{reference}"))
            rows.append(row)
    return pd.DataFrame(rows)


def _ratio(mine: pd.DataFrame, reference: pd.DataFrame, column: str, prefix: str) -> dict:
    paired = stats.pairs(mine, reference, column, counted=True)
    paired = paired[paired["usable"] & (paired["reference_value"] > 0)]
    ratios = np.exp(stats.log_ratios(paired))
    found = {"": stats.median(ratios), "_low": ratios.min(initial=math.inf), "_high": ratios.max(initial=-math.inf)}
    runs = " ".join(sorted({*paired["run"], *paired["reference_run"]}))
    return {f"{prefix}{end}": value if len(ratios) else math.nan for end, value in found.items()} | {
        f"{prefix}_runs": runs
    }


def rows(frame: pd.DataFrame) -> Table:
    """Return the table: each quantity, then its ratio to each reference."""
    columns = ["Task", "Method"]
    for quantity in QUANTITIES:
        columns += [
            HEADINGS[quantity],
            *(f"{HEADINGS[quantity].removesuffix(' (MiB)')} / {name}" for name in REFERENCES.values()),
        ]
    body = []
    for _, row in frame.iterrows():
        runs = table.run_names(row["runs"])
        task = row["task"] if row["n_tasks"] == 1 else f"{row['task']} ({row['n_tasks']} tasks)"
        line = [Cell(task), Cell(row["label"])]
        for quantity, show in SHOWN.items():
            line.append(Cell(_with_range(row, quantity, show), runs, row[quantity]))
            line += [_ratio_cell(row, f"{quantity}_to_{reference}", name) for reference, name in REFERENCES.items()]
        line.append(Cell(f"{row['n_ok']} / {row['n_planned']}", runs))
        body.append(tuple(line))
    columns.append("Runs ok")
    return Table(tuple(columns), tuple(body), frame, frozenset(columns[2:-1]))


def _ratio_cell(row: pd.Series, prefix: str, reference: str) -> Cell:
    shown = _with_range(row, prefix, style.ratio) if not math.isnan(row[prefix]) else ""
    return cells.ratio(row[prefix], row[f"{prefix}_runs"], f"no {reference} run", lambda _: shown)


def _with_range(row: pd.Series, name: str, show) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return show(row[name]) + (f" ({show(low)} to {show(high)})" if high - low > 1e-3 * high else "")
