"""Symbolic fidelity: what the formulas read off the networks are worth, against noise

Above, symbols chosen edge by edge; below, by the network's loss. From left to right: the share of the variance that the
formula leaves unexplained (1 - R², on noise-free test points) of the truth and of the trained network, and the
operations of the formula. A marker is the median over targets and seeds, its bar the middle half; the share is 1 where
no formula came out, and shares below 1e-8 are drawn there. Source: experiments E12 and E12deep.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import drawing, naming, palette
from kanbench.records import symbolic_runs as runs

KIND = "figure"
EXPERIMENTS = ["E12", "E12deep"]
CATEGORY = "Open questions"
MEASURES = {
    "unexplained_truth": "1 - R², truth",
    "unexplained_network": "1 - R², network",
    "operations": "operations",
}
LEAST = 1e-8


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a method, noise level, way and measure: median, quartiles, number of runs."""
    readings = runs.readings(records)
    if readings.empty or not readings["analysed"].any():
        return pd.DataFrame()
    rows = []
    for (way, noise, label), group in readings[readings["analysed"]].groupby(["way", "noise", "label"]):
        for measure in MEASURES:
            values = group[measure].dropna()
            low, middle, high = values.quantile([0.25, 0.5, 0.75]) if len(values) else [float("nan")] * 3
            row = {"way": way, "noise": noise, "label": label, "measure": measure, "median": middle}
            row |= {"low": low, "high": high, "n": len(values), "n_targets": group["formula"].nunique()}
            rows.append(row | {"runs": " ".join(sorted(group["run"]))})
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame):
    """Draw one row of panels a way, one column a measure."""
    looks, levels = palette.looks(frame["label"]), sorted(frame["noise"].unique())
    ways = [way for way in runs.WAYS if way in set(frame["way"])]
    figure, panels = drawing.grid_of_axes(len(ways) * len(MEASURES), columns=len(MEASURES), size=(2.6, 2.4))
    places = [(way, measure) for way in ways for measure in MEASURES]
    for axes, (way, measure) in zip(panels, places, strict=True):
        shown = frame[(frame["way"] == way) & (frame["measure"] == measure)]
        for position, label in enumerate(looks):
            line = shown[shown["label"] == label].dropna(subset="median")
            offset = min(0.16, 0.8 / len(looks)) * (position - (len(looks) - 1) / 2)
            x = [levels.index(noise) + offset for noise in line["noise"]]
            if measure != "operations":
                line = line.assign(**{name: line[name].clip(lower=LEAST) for name in ("low", "median", "high")})
            look = looks[label]
            axes.vlines(x, line["low"], line["high"], color=look.colour, zorder=look.zorder)
            marks = {"color": look.colour, "marker": look.marker, "linestyle": "", "zorder": look.zorder}
            axes.plot(x, line["median"], **marks)
            if not look.highlighted and x:
                naming.near(axes, x[-1], line["median"].iloc[-1], label)
        axes.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
        axes.set(xlabel="noise on the training targets", ylabel=MEASURES[measure], xlim=(-0.5, len(levels) - 0.5))
        axes.set_title(runs.WAYS[way])
        if measure == "operations":
            axes.set_ylim(bottom=0)
        else:
            axes.set_ylim(LEAST / 3, 3)
            drawing.logarithmic(axes, "y")
    drawing.method_legend(figure, looks)
    drawing.key(figure, "marker: median over targets and seeds; bar: the middle half")
    return figure
