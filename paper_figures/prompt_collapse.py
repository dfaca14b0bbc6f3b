"""Prompts through training: do they collapse?

Spread of the prompts of each layer (root of the mean variance of their coordinates) relative to its value before
training: median over runs, with the range as a band; the dotted line is the alarm. Below it, the share of prompts that
are distinct to within a thousandth of the spread at the start. At most three tasks; a panel says how many runs raised
the alarm.
"""

from __future__ import annotations

import json

import pandas as pd

from kanbench.pages import style

KIND = "figure"
EXPERIMENTS = ["E13", "E13collapse"]
CATEGORY = "Open questions"
CURVE, ALARM = "analyses.prompts.curve", "analyses.prompts.alarm"
QUANTITIES = {"spread": "spread, relative to the start", "distinct": "share of distinct prompts"}
THRESHOLD = 0.1
TASKS = 3


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task, method, quantity, layer and step: median, lowest and highest over runs."""
    if CURVE not in records:
        return pd.DataFrame()
    followed = records[(records["status"] == "ok") & records[CURVE].map(_was_followed)]
    points = [point for _, run in followed.iterrows() for point in _points(run)]
    if not points:
        return pd.DataFrame()
    long = pd.DataFrame(points)
    long = long[long["task"].isin(sorted(long["task"].unique())[:TASKS])]
    keys = ["task", "label", "quantity", "layer", "step"]
    return (
        long.groupby(keys)
        .agg(
            median=("value", "median"),
            low=("value", "min"),
            high=("value", "max"),
            n_runs=("run", "nunique"),
            n_alarms=("alarm", "sum"),
            runs=("run", lambda names: " ".join(sorted(set(names)))),
        )
        .reset_index()
    )


def _was_followed(text: object) -> bool:
    """Return whether the analysis looked at the run: where it was skipped, the curve is empty."""
    return isinstance(text, str) and text.startswith("[{")


def _points(run: pd.Series) -> list[dict]:
    curve = json.loads(run[CURVE])
    found = []
    for layer, first in enumerate(curve[0]["layers"]):
        for quantity in QUANTITIES:
            start = first[quantity] if quantity == "spread" else 1.0
            found += [
                {
                    "task": run["task"],
                    "label": run["label"],
                    "quantity": quantity,
                    "layer": layer + 1,
                    "step": point["step"],
                    "value": point["layers"][layer][quantity] / start if start else float("nan"),
                    "alarm": bool(run.get(ALARM)),
                    "run": run["run"],
                }
                for point in curve
            ]
    return found


def draw(frame: pd.DataFrame):
    """Draw a column a task and a row a quantity."""
    tasks = list(dict.fromkeys(frame["task"]))
    layers = sorted(frame["layer"].unique())
    figure, axes = style.grid_of_axes(len(tasks) * 2, columns=len(tasks), legend=0.4)
    for position, place in enumerate(axes):
        quantity, task = list(QUANTITIES)[position // len(tasks)], tasks[position % len(tasks)]
        inside = frame[(frame["task"] == task) & (frame["quantity"] == quantity)]
        for (_, layer), line in inside.groupby(["label", "layer"]):
            line, colour = line.sort_values("step"), style.COLOURS[layers.index(layer) % len(style.COLOURS)]
            place.fill_between(line["step"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
            place.plot(line["step"], line["median"], color=colour, label=f"layer {layer}")
        place.axhline(THRESHOLD, color="#555555", linestyle=":", linewidth=1)
        place.set(xlabel="step", ylabel=QUANTITIES[quantity], ylim=(0, None))
        place.set_title(style.title(task))
        if position < len(tasks):
            runs = inside[inside["step"] == inside["step"].min()]
            style.note(place, f"alarms: {int(runs['n_alarms'].max())} of {int(runs['n_runs'].max())} runs")
    handles = {text: line for place in axes for line, text in zip(*place.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(6, len(handles)))
    return figure
