"""Pruning without further training

Validation error against the share of edges that are removed from every layer, smallest functions first, relative to the
error of the whole network: median over seeds, with the range as a band. A MetaKAN is pruned in its dense form, which
computes the same function.
"""

from __future__ import annotations

import json

import pandas as pd

from kanbench.pages import cells, drawing, palette

KIND = "figure"
EXPERIMENTS = ["E13"]
CATEGORY = "Open questions"
PRUNED = "analyses.pruning.pruned"
TASKS = 3


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task, method and share: median, lowest and highest relative validation error over runs."""
    if PRUNED not in records:
        return pd.DataFrame()
    points = []
    for _, run in records[(records["status"] == "ok") & records[PRUNED].notna()].iterrows():
        found, metric = json.loads(run[PRUNED]), run["selection.metric"]
        values = [_error(entry["validation"][metric], run["selection.goal"]) for entry in found]
        points += [
            {
                "task": run["task"],
                "label": run["label"],
                "share": entry["share"],
                "value": value / values[0] if values[0] > 0 else float("nan"),
                "run": run["run"],
            }
            for entry, value in zip(found, values, strict=True)
        ]
    if not points:
        return pd.DataFrame()
    return cells.over_runs(cells.first_tasks(pd.DataFrame(points), TASKS), ["task", "label", "share"])


def _error(value: float | None, goal: str) -> float:
    return float("nan") if value is None else 1 - value if goal == "max" else value


def draw(frame: pd.DataFrame):
    """Draw a panel a task."""
    tasks, looks = list(dict.fromkeys(frame["task"])), palette.looks(frame["label"])
    figure, panels = drawing.grid_of_axes(len(tasks), columns=3)
    for axes, task in zip(panels, tasks, strict=True):
        for label, line in frame[frame["task"] == task].groupby("label"):
            drawing.curve(axes, "share", line, looks[label], name=label)
        drawing.logarithmic(axes, "y")
        axes.set(xlabel="share of edges removed", title=drawing.title(task))
    panels[0].set_ylabel("error, relative to the whole network")
    drawing.method_legend(figure, looks, line=True)
    drawing.key(figure, "line: median over seeds; band: range over seeds")
    return figure
