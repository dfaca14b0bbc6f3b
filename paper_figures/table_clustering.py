"""Groupings of layers that share a meta-learner

One row a network, grouping and number of meta-learners C; random groups are averaged over their draws, seed by seed.
Agreement: adjusted Rand index with the groups of KMeans on widths and with those of the dense coefficients, at equal C
(1 equal, 0 chance; median over runs, pairs of equal seed). R: whether layers of a group are closer to each other than
to others in the distribution of the coefficients of the dense network, which shares nothing (Clarke's ANOSIM, 1 fully,
0 not at all; median over runs of equal seed).
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from kanbench.pages import cells, style, table
from kanbench.pages.table import Cell, Table
from kanbench.statistics import partitions, stats

KIND = "table"
EXPERIMENTS = ["E11", "E11deep", "E11fc", "E11dense", "E11fcdense"]
CATEGORY = "Open questions"
COLUMNS = ("Task", "Network", "Grouping", "C", "Test accuracy", "Trained", "to KMeans", "to dense", "R", "Runs ok")
NUMERIC = frozenset({"C", "Trained", "to KMeans", "to dense", "R"})
WIDTHS, ORACLE = partitions.STRATEGIES["kmeans_width"], partitions.STRATEGIES["coefficients"]


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task, network, grouping, number and size of meta-learners."""
    runs = partitions.described(records)
    if runs.empty:
        return runs
    dense = partitions.dense(records)
    keys = [
        "task",
        "network",
        "strategy",
        "count",
        *(f"{partitions.SETTINGS}{n}" for n in ("hidden_dim", "prompt_dim")),
    ]
    rows = []
    for (task, network, strategy, count, _, _), cell in runs.groupby(keys, sort=True):
        alike = runs[(runs["task"] == task) & (runs["network"] == network) & (runs["count"] == count)]
        teachers = dense[(dense["task"] == task) & (dense["network"] == network)]
        per_seed = cell.dropna(subset=["value"]).groupby("seed")["value"].mean()
        parameters = cell["parameters.trainable"].median()
        spread = table.spread(per_seed, f"grouping {task} {network} {strategy} {count} {parameters}")
        rows.append(
            {
                "task": task,
                "network": network,
                "strategy": strategy,
                "count": int(count),
                "value": spread[0],
                "value_text": table.spread_text(*spread) if len(per_seed) else "no ok run",
                "parameters": parameters,
                "to_widths": _agreement(cell, alike[alike["strategy"] == WIDTHS]),
                "to_oracle": _agreement(cell, alike[alike["strategy"] == ORACLE]),
                "r": _separation(cell, teachers),
                **cells.outcome(cell),
            }
        )
    ranks = {name: rank for rank, name in enumerate(partitions.ORDER)}
    frame = pd.DataFrame(rows)
    order = frame.assign(rank=frame["strategy"].map(ranks)).sort_values(
        ["task", "network", "rank", "count", "parameters"]
    )
    return frame.loc[order.index].reset_index(drop=True)


def _agreement(cell: pd.DataFrame, others: pd.DataFrame) -> float:
    """Return the median adjusted Rand index over pairs of runs of one seed; NaN where there is none."""
    found = [
        partitions.adjusted_rand(run["groups"], other["groups"])
        for _, run in cell.iterrows()
        for _, other in others[others["seed"] == run["seed"]].iterrows()
        if run["groups"] is not None and other["groups"] is not None
    ]
    return float(np.median(found)) if found else math.nan


def _separation(cell: pd.DataFrame, teachers: pd.DataFrame) -> float:
    found = []
    for _, run in cell.iterrows():
        distances = partitions.distances(teachers[teachers["seed"] == run["seed"]])
        if distances is not None and run["groups"] is not None:
            found.append(partitions.anosim(distances, run["groups"], stats.generator("R"), permutations=0)[0])
    found = [value for value in found if math.isfinite(value)]
    return float(np.median(found)) if found else math.nan


def rows(frame: pd.DataFrame) -> Table:
    """Return the table of the groupings."""
    return Table(COLUMNS, tuple(_cells(row) for _, row in frame.iterrows()), frame, NUMERIC)


def _cells(row: pd.Series) -> tuple[Cell, ...]:
    runs = table.run_names(row["runs"])
    return (
        Cell(row["task"]),
        Cell(row["network"]),
        Cell(row["strategy"]),
        Cell(str(row["count"])),
        Cell(row["value_text"], runs, row["value"]),
        Cell(style.exact(row["parameters"]), runs, row["parameters"]),
        *(Cell(_index(row[name]), runs, row[name]) for name in ("to_widths", "to_oracle", "r")),
        Cell(row["seeds"], runs),
    )


def _index(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "none"
