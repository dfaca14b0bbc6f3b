"""Time of a training step

Median time of a step with its quartiles, medians over seeds. One panel a task: the comparison with the most
methods. Only runs that had the device to themselves are shown: the time of a run beside others, or of seeds trained
together, says little about the method.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import cells, drawing, palette, table

KIND = "figure"
EXPERIMENTS = ["E1", "E5", "E7", "E8", "E8grid", "E8convolution"]
CATEGORY = "Memory and speed"
STEP = "time.step_seconds."


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a comparison and method: median and quartiles of the seconds a step takes.

    Comparisons without a run that was timed alone are left out; methods without one have no times.
    """
    alone = table.timed_alone(records) & records[f"{STEP}median"].notna()
    compared = table.comparisons(records.assign(alone=alone))
    if not alone.any():
        return pd.DataFrame()
    chosen = table.representative(compared[compared.groupby("comparison")["alone"].transform("any")], "spec.task.name")
    rows = []
    keys = ["family", "comparison", "label", "settings", "cell"]
    for (family, comparison, label, settings, _), runs in chosen.groupby(keys, dropna=False):
        timed = runs[runs["alone"]]
        times = {f"{part}_seconds": timed[f"{STEP}{part}"].median() for part in ("median", "q25", "q75")}
        rows.append(
            {
                "family": family,
                "comparison": comparison,
                "label": label,
                "settings": settings,
                **times,
                "timed": len(timed),
                **cells.outcome(runs),
            }
        )
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame):
    """Draw one dot with quartiles a method, the slowest on top."""
    looks, frame = palette.looks(frame["label"]), frame.assign(name=cells.names(frame))
    panels_of = {name: group for name, group in frame.groupby("comparison", sort=False)}
    figure, panels = drawing.rows_of_axes([len(group) for group in panels_of.values()])
    for axes, (comparison, inside) in zip(panels, panels_of.items(), strict=True):
        inside = inside.sort_values("median_seconds", kind="stable", na_position="first")
        middle, low, high = (inside[f"{part}_seconds"] * 1e3 for part in ("median", "q25", "q75"))
        colours = [looks[label].colour for label in inside["label"]]
        axes.hlines(range(len(inside)), low, high, color=colours, linewidth=2.5)
        for position, (time, (_, row)) in enumerate(zip(middle, inside.iterrows(), strict=True)):
            if time != time:
                text = f"not timed alone, runs ok: {row['seeds']}"
                axes.text(0.01, position, text, transform=axes.get_yaxis_transform(), va="center", fontsize=7.5)
                continue
            look = looks[row["label"]]
            axes.plot(time, position, color=look.colour, marker=look.marker, markersize=6.5)
        axes.set_yticks(range(len(inside)), inside["name"])
        axes.set_ylim(-0.6, len(inside) - 0.4)
        drawing.logarithmic(axes, "x")
        axes.set(xlabel="time of a training step (ms)", title=drawing.title(comparison, inches=3.4))
    drawing.key(figure, "marker: median; line: quartiles of the steps")
    return figure
