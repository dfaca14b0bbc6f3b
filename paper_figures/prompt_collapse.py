"""Prompts through training: do they collapse?

Spread of the prompts of each layer (root of the mean variance of their coordinates) relative to its value before
training: median over runs, with the range as a band; the dotted line is the alarm. Below it, the share of prompts that
are distinct to within a thousandth of the spread at the start. At most three tasks; a panel says how many runs raised
the alarm.
"""

from __future__ import annotations

import json

import pandas as pd

from kanbench.pages import cells, drawing, palette

KIND = "figure"
EXPERIMENTS = ["E13"]
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
    keys = ["task", "label", "quantity", "layer", "step"]
    counts = {"n_runs": ("run", "nunique"), "n_alarms": ("alarm", "sum")}
    return cells.over_runs(cells.first_tasks(pd.DataFrame(points), TASKS), keys, **counts)


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
    frame = frame.assign(line="layer " + frame["layer"].astype(str))
    if frame["label"].nunique() > 1:
        frame["line"] = frame["label"] + ", " + frame["line"]
    looks = palette.looks(frame["line"])
    figure, axes = drawing.grid_of_axes(len(tasks) * 2, columns=len(tasks))
    for position, place in enumerate(axes):
        quantity, task = list(QUANTITIES)[position // len(tasks)], tasks[position % len(tasks)]
        inside = frame[(frame["task"] == task) & (frame["quantity"] == quantity)]
        for name, line in inside.groupby("line"):
            drawing.curve(place, "step", line, looks[name], name=name, markersize=3.2)
        if quantity == "spread":
            place.axhline(THRESHOLD, color="#555555", linestyle=":", linewidth=1)
        place.set(xlabel="step", ylabel=QUANTITIES[quantity], ylim=(0, 1.06 * inside["high"].max()))
        place.set_title(drawing.title(task))
        if position < len(tasks):
            runs = inside[inside["step"] == inside["step"].min()]
            drawing.note(place, f"alarms: {int(runs['n_alarms'].max())} of {int(runs['n_runs'].max())} runs")
    drawing.method_legend(figure, looks, line=True)
    drawing.key(figure, "line: median over runs; band: range over runs; dotted: the alarm")
    return figure
