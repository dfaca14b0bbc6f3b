"""Learned edges side by side with the symbols that fit them

One row a method, all after the same sparsification and pruning of one target; a panel is one edge that was left, named
layer:input-output. Points: the learned edge at training points. Line: the symbol with the highest R² of a fit to this
edge by itself, with that R², before anything is fitted again. Shown is the target that most methods were analysed on,
at its lowest noise and smallest seed. Source: experiments E12 and E12deep.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline

from kanbench.pages import drawing, palette
from kanbench.records import symbolic_runs as runs

KIND = "figure"
EXPERIMENTS = ["E12", "E12deep"]
CATEGORY = "Open questions"
CURVES = f"{runs.PREFIX}curves"
MOST_EDGES, MOST_METHODS = 4, 4
DENSE = 201
"""Points from which a line that stands for a function is drawn."""


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
    looks = palette.looks(frame["label"])
    width = int(frame.groupby("label")["edge"].nunique().max())
    figure, panels = drawing.grid_of_axes(len(looks) * width, columns=width, size=(2.1, 1.9))
    for position, label in enumerate(looks):
        edges = list(frame[frame["label"] == label].groupby("edge", sort=True))
        for axes, (name, curve) in zip(panels[position * width :], edges, strict=False):
            axes.plot(curve["t"], curve["learned"], ".", color=looks[label].colour)
            axes.plot(*dense(curve["t"], curve["fit"]), color="#3D3D3D", linewidth=1.0)
            axes.set_title(f"edge {name}: {curve['symbol'].iloc[0]} ({curve['r2'].iloc[0]:.4f})", fontsize=8)
            axes.set_xlabel("t")
        for axes in panels[position * width + len(edges) : (position + 1) * width]:
            axes.remove()
        panels[position * width].set_ylabel(drawing.title(label, inches=1.6))
    drawing.key(figure, "dots: the learned edge; line: the symbol fitted to it, with the R² of that fit")
    figure.suptitle(f"{frame['target'].iloc[0]}, noise {frame['noise'].min():g}", fontsize=9.5)
    return figure


def dense(t: pd.Series, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return a symbol's fit, known at the points `t`, on an even grid, by a cubic spline: all symbols are smooth."""
    known = pd.DataFrame({"t": t.to_numpy(float), "value": values.to_numpy(float)}).dropna()
    known = known.groupby("t", sort=True)["value"].mean()
    if len(known) < 3:
        return known.index.to_numpy(), known.to_numpy()
    grid = np.linspace(known.index[0], known.index[-1], DENSE)
    return grid, CubicSpline(known.index, known)(grid)
