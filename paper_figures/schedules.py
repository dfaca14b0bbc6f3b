"""One method under several configurations

The same method trained under several configurations: as published, as its upstream code does by default, and controlled
(one schedule, budget and choice of step for all methods). Each marker is one seed of a task's test error, the bar its
median. The schedule of the learning rate stands in brackets.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import cells, drawing, palette

KIND = "figure"
EXPERIMENTS = [
    "E1",
    "E1released",
    "E1schedule",
    "E5",
    "E5paper",
    "E5released",
    "E5schedule",
    "E7",
    "E7paper",
    "E7released",
]
CATEGORY = "Ablations"
ORDER = ("controlled", "upstream_default", "paper", "tuned")
CONFIGURATION, SCHEDULE = "spec.configuration", "spec.training.schedule"


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a run of a task and method that was trained in several ways: the error and the way."""
    schedule = records[SCHEDULE] if SCHEDULE in records else pd.Series("", index=records.index)
    records = records.assign(schedule=schedule.fillna("").astype(str), way=records[CONFIGURATION].astype(str))
    records["way"] = records["way"].str.replace("_", " ") + " (" + records["schedule"] + ")"
    ways = records.groupby(["task", "method"])["way"].transform("nunique")
    chosen = records[ways > 1]
    rows = []
    for (task, method, way), runs in chosen.groupby(["task", "method", "way"]):
        first = runs.iloc[0]
        rows.append(
            {
                "task": task,
                "method": method,
                "label": first["label"],
                "configuration": first[CONFIGURATION],
                "way": way,
                **cells.spread(runs["error"], f"schedules {task} {method} {way}"),
                "single": cells.singles(runs["error"]),
                "metric_label": cells.error_label(first),
                **cells.outcome(runs),
            }
        )
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame):
    """Draw one panel a task, one row a method and way of training."""
    looks = palette.looks(frame["label"])
    tasks = sorted(frame["task"].unique())
    figure, panels = drawing.rows_of_axes([len(frame[frame["task"] == task]) for task in tasks])
    for axes, task in zip(panels, tasks, strict=True):
        ways = frame[frame["task"] == task].copy()
        ways["order"] = ways["configuration"].map({name: place for place, name in enumerate(ORDER)}).fillna(9)
        ways = ways.sort_values(["label", "order", "way"], ascending=[False, False, False]).reset_index(drop=True)
        for place, way in ways.iterrows():
            look, single = looks[way["label"]], cells.numbers(way["single"])
            axes.plot(single, [place] * len(single), linestyle="", alpha=0.6, color=look.colour, marker=look.marker)
            axes.vlines(way["error"], place - 0.3, place + 0.3, color=look.colour, linewidth=2.2)
            if not single:
                axes.text(0.02, place, way["seeds"], transform=axes.get_yaxis_transform(), fontsize=7, va="center")
        if ways["error"].notna().any():
            drawing.logarithmic(axes, "x")
        axes.set_yticks(range(len(ways)), [f"{way['label']}, {way['way']}" for _, way in ways.iterrows()])
        axes.set_ylim(-0.7, len(ways) - 0.3)
        axes.set(xlabel=ways["metric_label"].iloc[0], title=task)
    drawing.key(figure, "marker: one seed; bar: median over seeds")
    return figure
