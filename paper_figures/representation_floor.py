"""What bounds the forms of a generated KAN

Validation error over that of a trained dense KAN, for each form of a generated KAN with a meta-learner a layer: after
its numbers were fitted to the dense network's, after that fit was trained further on the task, and after training from
its usual start for as long. Points are medians over tasks and seeds with their 95 % interval (range below six). The
number behind a form is its parameters over the dense network's. A form is bounded by what it can express where it stays
above the margin even after a fit and training; by conditioning where only its usual start does not lead there.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from kanbench.pages import cells, drawing, palette, style

KIND = "figure"
EXPERIMENTS = ["E14floor"]
CATEGORY = "Ablations"
FORMS = "analyses.representation.forms"
DENSE = "analyses.representation.dense"
WAYS = {
    "fitted": "fitted to the dense numbers",
    "trained_further": "fitted, then trained",
    "usual_start": "trained from its usual start",
}
MARGIN = 1.1
"""A validation error of at most this ratio counts as the dense network's."""


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a form and way: the ratio of errors with its spread, and the share of parameters."""
    if FORMS not in records:
        return pd.DataFrame()
    points = []
    for _, run in records[(records["status"] == "ok") & records[FORMS].notna()].iterrows():
        for entry in json.loads(run[FORMS]):
            share = entry["parameters"] / run["parameters.trainable"]
            shared = {"form": entry["form"], "share": share, "left": entry["functions_left"], "run": run["run"]}
            points += [{**shared, "way": way, "ratio": _ratio(entry[way], run[DENSE])} for way in WAYS]
    rows = []
    for (form, way), own in pd.DataFrame(points).groupby(["form", "way"], sort=False) if points else []:
        spread = cells.spread(own["ratio"], f"representation {form} {way}", "ratio")
        medians = {"share": own["share"].median(), "left": own["left"].median()}
        rows.append({"form": form, "way": way, **medians, **spread, "n": len(own), "runs": " ".join(own["run"])})
    return pd.DataFrame(rows)


def _ratio(error: float | None, dense: float) -> float:
    return float("nan") if error is None or not dense > 0 else error / dense


def bound(ratios: pd.Series) -> str:
    """Return what bounds a form, from its ratios by way."""
    if ratios["usual_start"] <= MARGIN:
        return "nothing"
    return "conditioning" if ratios["trained_further"] <= MARGIN else "expressiveness"


def sentences(frame: pd.DataFrame) -> list[str]:
    """Return a sentence a kind of bound, with the forms and the ratios that say so."""
    told = {
        "nothing": "within the margin from their usual start: ",
        "conditioning": "bounded by conditioning (fitted and trained within the margin, not from their usual start): ",
        "expressiveness": "bounded by what they can express (above the margin even so): ",
    }
    found: dict[str, list[str]] = {name: [] for name in told}
    for form, rows in frame.groupby("form", sort=False):
        ratios = rows.set_index("way")["ratio"]
        values = f"{style.ratio(ratios['trained_further'])} and {style.ratio(ratios['usual_start'])} ×"
        found[bound(ratios)].append(f"{form} ({values})")
    return [text + "; ".join(found[name]) for name, text in told.items() if found[name]]


def draw(frame: pd.DataFrame):
    """Draw a row a form and a mark a way."""
    names, looks = list(dict.fromkeys(frame["form"])), palette.looks(pd.Series(list(WAYS.values())))
    figure, (axes,) = drawing.grid_of_axes(1, columns=1, size=(6.4, 0.42 * len(names) + 1.6))
    for offset, (way, told) in zip((-0.2, 0.0, 0.2), WAYS.items(), strict=True):
        own = frame[frame["way"] == way].set_index("form").loc[names]
        heights = np.arange(len(names)) + offset
        look = looks[told]
        axes.hlines(heights, own["low"], own["high"], color=look.colour, alpha=0.5)
        axes.plot(own["ratio"], heights, linestyle="", color=look.colour, marker=look.marker)
    for ratio, line in ((1.0, "-"), (MARGIN, ":")):
        axes.axvline(ratio, color="#555555", linestyle=line, linewidth=1)
    shares = frame.groupby("form")["share"].first()
    axes.set_yticks(range(len(names)), [f"{name} ({style.number(shares[name])})" for name in names])
    axes.invert_yaxis()
    drawing.logarithmic(axes, "x")
    axes.set(xlabel="validation error over the dense KAN's", title="Formulas, one hidden layer")
    drawing.method_legend(figure, looks)
    drawing.key(figure, drawing.spread_key("bar", frame["interval"]), *sentences(frame))
    return figure
