"""Learned activations side by side

The functions on the edges of trained networks, one row a task, one column a method; the first layers that were sampled
share a panel, with as many edges as are told apart by eye. Each function is drawn about its mean over the interval, and
in units of the largest spread in its panel, since a constant on an edge is no difference between two networks. The grey
lines are single edges, the coloured ones those with the largest spread.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from kanbench.pages import drawing, palette

KIND = "figure"
EXPERIMENTS = []
CATEGORY = "Interpretation"
LAYERS, STATUS = "analyses.edge_functions.layers", "analyses.edge_functions.status"
MOST_TASKS, MOST_METHODS, MOST_EDGES, COLOURED = 3, 4, 24, 4


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task, method, layer, edge and point, of the first seed with sampled edge functions."""
    if LAYERS not in records:
        return pd.DataFrame()
    known = records[records[LAYERS].notna() & (records.get(STATUS, "ok") == "ok") & (records["status"] == "ok")]
    rows = []
    for task in _tasks(known):
        of_task = known[known["task"] == task]
        for _, runs in list(of_task.groupby("label"))[:MOST_METHODS]:
            run = runs.sort_values(["seed", "run"]).iloc[0]
            rows += _samples(run)
    return pd.DataFrame(rows)


def _tasks(known: pd.DataFrame) -> list[str]:
    """Return the tasks on which the most methods were sampled."""
    methods = known.groupby("task")["method"].nunique().sort_values(ascending=False, kind="stable")
    return list(methods.index[:MOST_TASKS])


def _samples(run: pd.Series) -> list[dict]:
    layers = json.loads(run[LAYERS]) if isinstance(run[LAYERS], str) else run[LAYERS]
    rows = []
    for number, layer in enumerate(layers):
        for edge, values in enumerate(layer["values"][:MOST_EDGES]):
            rows += [
                {
                    "task": run["task"],
                    "label": run["label"],
                    "seed": run["seed"],
                    "layer": number,
                    "edge": edge,
                    "t": point,
                    "value": value,
                    "runs": run["run"],
                }
                for point, value in zip(layer["t"], values, strict=True)
            ]
    return rows


def draw(frame: pd.DataFrame):
    """Draw one panel a task, method and layer (the first layer alone where there are many tasks)."""
    panels_of = [(key, part) for key, part in frame.groupby(["task", "label", "layer"], sort=False) if key[2] < 2]
    looks = palette.looks(frame["label"])
    columns = max(2, len(looks))
    panels_of.sort(key=lambda entry: (entry[0][0], entry[0][2], entry[0][1]))
    figure, panels = drawing.grid_of_axes(len(panels_of), columns=columns, size=(2.6, 2.2))
    for axes, ((task, label, layer), part) in zip(panels, panels_of, strict=True):
        lines = part.pivot(index="t", columns="edge", values="value").sort_index()
        lines = lines - lines.mean()
        spread = np.sqrt((lines**2).mean()).sort_values(ascending=False, kind="stable")
        scale = spread.max() or 1.0
        for edge in reversed(list(spread.index)):
            strong = edge in spread.index[:COLOURED]
            colour = looks[label].colour if strong else "#C4C4C4"
            axes.plot(lines.index, lines[edge] / scale, color=colour, linewidth=1.3 if strong else 0.7)
        axes.set(xlabel=f"input of layer {layer + 1}", title=drawing.title(f"{label}, {task}", inches=2.0))
        axes.set_ylabel("edge function (scaled)")
    drawing.key(
        figure,
        "about the mean, in units of the largest spread in the panel",
        f"in colour: the {COLOURED} edges with the largest spread; grey: further edges",
    )
    return figure
