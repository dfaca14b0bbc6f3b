"""Figure 2: error against trainable parameters

Each small marker is one task and configuration (median over seeds, with its spread as a line); the large marker is the
geometric mean over tasks, of a configuration that was planned on several. Large markers beside each other hold the same
tasks: those on which every configuration that shares planned tasks with them, and has an ok run at all, has one. Where
these are not all tasks, the figure names them. The error is taken at the step chosen on validation. A lower error at
fewer parameters lies further to the lower left. Configurations without an ok run are not drawn; their number stands in
the panel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from kanbench.pages import drawing, naming, palette, shared_tasks, style, table

KIND = "figure"
EXPERIMENTS = ["E1", "E1grid", "E2", "E3", "E5", "E7"]
CATEGORY = "Accuracy"
POINT = ["label", "settings"]
"""What tells the large markers of a panel apart."""


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a cell: parameters, median error over seeds and its spread; `in_mean` where a mean takes it."""
    cells = table.cells(records, "error")
    cells["error_label"] = np.where(cells["goal"] == "max", "1 - " + cells["metric_label"], cells["metric_label"])
    cells["in_mean"] = False
    for block, shared in _blocks(cells):
        cells.loc[block.index, "in_mean"] = block["task"].isin(shared)
    columns = ["family", "task", "method", "label", "settings", "error_label", "parameters", "median", "low", "high"]
    return cells[[*columns, "interval", "in_mean", "n_ok", "n_planned", "status", "runs"]]


def _blocks(cells: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, list[str]]]:
    """Yield the cells whose means stand beside each other, and the tasks that these means take.

    Configurations of a family that were planned on several tasks are of one block where they have planned tasks in
    common: networks of another shape are made for other formulas, and their means are about others.
    """
    for _, family in cells.groupby("family"):
        several = family[family.groupby(POINT)["task"].transform("nunique") > 1]
        sets: list[set[str]] = []
        for _, planned in several.groupby(POINT)["task"]:
            joined, apart = set(planned), []
            for other in sets:
                if joined & other:
                    joined |= other
                else:
                    apart.append(other)
            sets = [*apart, joined]
        for tasks in sorted(map(sorted, sets)):
            block = several[several["task"].isin(tasks)]
            drawn = block.assign(median=block["median"].where((block["median"] > 0) & (block["parameters"] > 0)))
            yield block, shared_tasks.of_rows(drawn, POINT, "task", "median")


def means(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the geometric means over tasks of parameters and error, per family, method and settings."""
    drawn = frame[frame["in_mean"] & (frame["median"] > 0) & (frame["parameters"] > 0)]
    logs = drawn.assign(parameters=np.log(drawn["parameters"]), median=np.log(drawn["median"]))
    mean = logs.groupby(["family", *POINT]).agg(
        parameters=("parameters", "mean"), median=("median", "mean"), tasks=("task", "nunique")
    )
    return mean.assign(parameters=np.exp(mean["parameters"]), median=np.exp(mean["median"])).reset_index()


def notes(frame: pd.DataFrame) -> list[str]:
    """Return which tasks the means take, where they are not all that were planned."""
    found = []
    for block, shared in _blocks(frame):
        name = f"{style.family(block['family'].iloc[0])}, large markers"
        found.append(shared_tasks.note(name, shared, sorted(set(block["task"]))).rstrip("."))
    return [text for text in found if text]


def draw(frame: pd.DataFrame):
    """Draw one panel a task family, both axes logarithmic."""
    families = sorted(frame["family"].unique())
    looks = palette.looks(frame["label"])
    figure, panels = drawing.grid_of_axes(len(families), columns=3, size=(3.6, 3.3))
    centres = means(frame)
    for axes, family in zip(panels, families, strict=True):
        inside = frame[frame["family"] == family]
        several = inside["task"].nunique() > 1
        for label, cells in inside.groupby("label"):
            look = looks[label]
            marks = {"color": look.colour, "marker": look.marker, "linestyle": "none", "zorder": look.zorder}
            size, opacity = (3.5, 0.35) if several else (6, 1)
            drawing.spans(axes, cells["parameters"], cells, look, linewidth=1)
            axes.plot(cells["parameters"], cells["median"], markersize=size, alpha=opacity, **marks)
            named = cells.dropna(subset=["median", "parameters"])
            if several:
                chosen = centres[(centres["family"] == family) & (centres["label"] == label)]
                axes.plot(chosen["parameters"], chosen["median"], markersize=8, markeredgecolor="white", **marks)
                named = chosen if len(chosen) else named
            if not look.highlighted and len(named):
                naming.near(axes, named["parameters"].iloc[0], named["median"].iloc[0], label)
        missing = int(inside["median"].isna().sum())
        if missing:
            drawing.note(axes, f"not drawn: {missing} without an ok run")
        drawing.logarithmic(axes)
        axes.set(xlabel="trainable parameters", title=style.family(family))
        axes.set_ylabel(inside["error_label"].iloc[0])
    drawing.method_legend(figure, looks)
    several = frame.groupby("family")["task"].nunique().max() > 1
    means_are = "large marker: geometric mean over tasks; small markers: single tasks" if several else ""
    drawing.key(figure, means_are, *notes(frame), drawing.spread_key("line", frame["interval"]))
    return figure
