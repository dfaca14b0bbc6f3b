"""Learned edges side by side with the symbols that fit them

One row a method, all after the same sparsification and pruning of one target; a panel is one edge that was left, named
layer:input-output. Points: the learned edge at training points. Line: the symbol that fits it best by itself, with the
R² of that fit, before anything is fitted again. Shown is the target that most methods were analysed on, at its lowest
noise and smallest seed. Source: experiments E12 and E12deep.
"""

from __future__ import annotations

import json

import pandas as pd

from kanbench.pages import style
from kanbench.records import symbolic_runs as runs

KIND = "figure"
EXPERIMENTS = ["E12", "E12deep"]
CATEGORY = "Open questions"
CURVES = f"{runs.PREFIX}curves"
MOST_EDGES, MOST_METHODS = 4, 4


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a point: method, edge, symbol, R² of its fit, `t`, learned value and fitted value."""
    shown = runs.analysed(records)
    shown = shown[shown[CURVES].map(_has_curves)] if len(shown) else shown
    if shown.empty:
        return pd.DataFrame()
    methods = shown.groupby(runs.FORMULA)["method"].nunique()
    formula = methods[methods == methods.max()].index.sort_values()[0]
    shown = shown[shown[runs.FORMULA] == formula].sort_values([runs.NOISE, "seed", "label"])
    rows = []
    for _, run in shown.groupby("label", sort=True).head(1).sort_values("label").head(MOST_METHODS).iterrows():
        for curve in json.loads(run[CURVES])[:MOST_EDGES]:
            layer, source, target = curve["edge"]
            edge = {"label": run["label"], "target": formula, "noise": run[runs.NOISE], "runs": run["run"]}
            edge |= {"edge": f"{layer + 1}:{source + 1}-{target + 1}", "symbol": curve["symbol"], "r2": curve["r2"]}
            points = zip(curve["t"], curve["learned"], curve["fit"], strict=True)
            rows += [{**edge, "t": t, "learned": learned, "fit": fit} for t, learned, fit in points]
    return pd.DataFrame(rows)


def _has_curves(text: object) -> bool:
    return isinstance(text, str) and text.startswith("[{")


def draw(frame: pd.DataFrame):
    """Draw one row of panels a method."""
    labels = sorted(frame["label"].unique())
    width = int(frame.groupby("label")["edge"].nunique().max())
    colours = style.colours(labels)
    figure, panels = style.grid_of_axes(len(labels) * width, columns=width, size=(2.1, 1.9), legend=0.2)
    for position, label in enumerate(labels):
        edges = list(frame[frame["label"] == label].groupby("edge", sort=True))
        for axes, (name, curve) in zip(panels[position * width :], edges, strict=False):
            axes.plot(curve["t"], curve["learned"], ".", color=colours[label])
            axes.plot(curve["t"], curve["fit"], color="#3D3D3D", linewidth=1.0)
            axes.set_title(f"edge {name}: {curve['symbol'].iloc[0]} ({curve['r2'].iloc[0]:.4f})", fontsize=8)
            axes.set_xlabel("t")
        for axes in panels[position * width + len(edges) : (position + 1) * width]:
            axes.remove()
        panels[position * width].set_ylabel(style.title(label, inches=1.6))
    figure.suptitle(f"{frame['target'].iloc[0]}, noise {frame['noise'].min():g}", fontsize=9.5)
    return figure
