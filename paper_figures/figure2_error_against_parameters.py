"""Figure 2: error against trainable parameters

Each small marker is one task and configuration (median over seeds, with its spread as a line); the large marker is the
geometric mean over the tasks on which the method has an ok run at that configuration. The error is taken at the step
chosen on validation. A lower error at fewer parameters lies further to the lower left. Configurations without an ok run
are not drawn; their number stands in the panel.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kanbench.pages import drawing, naming, palette, style, table

KIND = "figure"
EXPERIMENTS = ["E1", "E1grid", "E2", "E3", "E5", "E7"]
CATEGORY = "Accuracy"


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a cell: parameters, median error over seeds and its spread."""
    cells = table.cells(records, "error")
    cells["error_label"] = np.where(cells["goal"] == "max", "1 - " + cells["metric_label"], cells["metric_label"])
    columns = ["family", "task", "method", "label", "settings", "error_label", "parameters", "median", "low", "high"]
    return cells[[*columns, "interval", "n_ok", "n_planned", "status", "runs"]]


def means(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the geometric means over tasks of parameters and error, per family, method and settings."""
    drawn = frame[(frame["median"] > 0) & (frame["parameters"] > 0)]
    logs = drawn.assign(parameters=np.log(drawn["parameters"]), median=np.log(drawn["median"]))
    mean = logs.groupby(["family", "label", "settings"]).agg(
        parameters=("parameters", "mean"), median=("median", "mean"), tasks=("task", "nunique")
    )
    return mean.assign(parameters=np.exp(mean["parameters"]), median=np.exp(mean["median"])).reset_index()


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
                chosen = centres[(centres["family"] == family) & (centres["label"] == label) & (centres["tasks"] > 1)]
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
    drawing.key(figure, means_are, drawing.spread_key("line", frame["interval"]))
    return figure
