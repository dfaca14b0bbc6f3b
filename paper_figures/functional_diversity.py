"""Functional diversity: error against the number of different edge functions

Test error of MetaKAN over that of the dense KAN of equal widths and grid, against the number of different functions on
the edges of the target network, by the shape of these functions. Median over paired seeds with its 95 % interval, from
six seeds on; below, the range. Lines are sizes of the meta-learner and of the prompts.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import drawing, palette, table

KIND = "figure"
EXPERIMENTS = ["E13diversity"]
CATEGORY = "Open questions"
DISTINCT, SHAPE = "spec.task.settings.distinct", "spec.task.settings.shape"
REMEDIES = ("hidden_dim", "prompt_dim")


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a shape, number of distinct functions, method and size: the paired ratio to the dense KAN."""
    if DISTINCT not in records:
        return pd.DataFrame()
    dense, rows = records[records["method"] == "tiled_kan"], []
    sizes = [f"spec.method.settings.{name}" for name in REMEDIES]
    meta = records[records[sizes[0]].notna()]
    for (shape, distinct, label, *size), runs in meta.groupby([SHAPE, DISTINCT, "label", *sizes], sort=True):
        ratio, used = table.paired_ratio(runs, dense, "error", f"diversity {shape} {distinct} {size}")
        rows.append(
            {
                "shape": shape,
                "distinct": int(distinct),
                "line": f"{label}, hidden_dim {size[0]:g}, prompt_dim {size[1]:g}",
                **ratio,
                "runs": used,
            }
        )
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame):
    """Draw a panel a shape."""
    shapes, looks = sorted(frame["shape"].unique()), palette.looks(frame["line"])
    figure, panels = drawing.grid_of_axes(len(shapes), columns=3, sharey=True)
    for axes, shape in zip(panels, shapes, strict=True):
        inside = frame[(frame["shape"] == shape) & frame["ratio"].notna()]
        for line, points in inside.groupby("line"):
            drawing.curve(axes, "distinct", points, looks[line], middle="ratio", name=line)
        axes.axhline(1, color="#555555", linestyle=":", linewidth=1)
        drawing.logarithmic(axes)
        drawing.ticks_at(axes, inside["distinct"])
        axes.set(xlabel="distinct edge functions", title=shape)
    panels[0].set_ylabel("error ratio to the dense KAN")
    drawing.method_legend(figure, looks, line=True)
    drawing.key(figure, drawing.spread_key("band", frame["interval"]), "dotted: the dense KAN")
    return figure
