"""Pruning without further training

Validation error against the share of edges that are removed from every layer, smallest functions first, relative to the
error of the whole network: median over seeds, with the range as a band. A MetaKAN is pruned in its dense form, which
computes the same function: its prompts cannot say that an edge is absent.
"""

from __future__ import annotations

import json

import pandas as pd

from kanbench.pages import style

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
    long = pd.DataFrame(points)
    long = long[long["task"].isin(sorted(long["task"].unique())[:TASKS])]
    return (
        long.groupby(["task", "label", "share"])
        .agg(
            median=("value", "median"),
            low=("value", "min"),
            high=("value", "max"),
            runs=("run", lambda names: " ".join(sorted(set(names)))),
        )
        .reset_index()
    )


def _error(value: float | None, goal: str) -> float:
    return float("nan") if value is None else 1 - value if goal == "max" else value


def draw(frame: pd.DataFrame):
    """Draw a panel a task."""
    tasks, labels = list(dict.fromkeys(frame["task"])), sorted(frame["label"].unique())
    colours, markers = style.colours(labels), style.markers(labels)
    figure, panels = style.grid_of_axes(len(tasks), columns=3, legend=0.5)
    for place, task in zip(panels, tasks, strict=True):
        for label, line in frame[frame["task"] == task].groupby("label"):
            line = line.sort_values("share")
            place.fill_between(line["share"], line["low"], line["high"], color=colours[label], alpha=0.15, linewidth=0)
            place.plot(line["share"], line["median"], color=colours[label], marker=markers[label])
        style.logarithmic(place, "y")
        place.set(xlabel="share of edges removed", title=style.title(task))
    panels[0].set_ylabel("error, relative to the whole network")
    style.method_legend(figure, labels, line=True)
    return figure
