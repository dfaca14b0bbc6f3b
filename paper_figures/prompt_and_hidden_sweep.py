"""Accuracy against the size of meta-learner and prompts

One panel a task and size that is swept: hidden width of the meta-learner on the left, dimension of the prompts on the
right. Error at the step chosen on validation, median over seeds with its 95 % interval (range below six seeds); the
number of trainable parameters stands at each point. The filled marker is the knee: the smallest size whose paired
difference from the size of least error is shown to be at most the margin (0.01 of accuracy, a factor of 1.1 otherwise),
by the upper end of that interval.
"""

from __future__ import annotations

import math

import pandas as pd

from kanbench.pages import cells, drawing, naming, palette, style
from kanbench.statistics import stats
from kanbench.verdicts import comparison

KIND = "figure"
EXPERIMENTS = ["E2", "E3"]
CATEGORY = "Ablations"
SIZES = {"hidden_dim": "hidden width of the meta-learner", "prompt_dim": "dimension of the prompts"}
MARGINS = {"classification": 0.01}
FACTOR = 0.1
COUNT = "parameters.trainable"


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task, method, swept size and value of it; `knee` marks one value a line."""
    rows = []
    for size in SIZES:
        column = f"spec.method.settings.{size}"
        other = f"spec.method.settings.{next(name for name in SIZES if name != size)}"
        for (_, _, fixed), runs in records.groupby(["task", "method", other]):
            if runs[column].nunique() > 1:
                line = [_point(size, value, fixed, part) for value, part in runs.groupby(column)]
                _mark_knee(line, runs, column)
                rows += line
    return pd.DataFrame(rows)


def _point(size: str, value: float, fixed: float, runs: pd.DataFrame) -> dict:
    first = runs.iloc[0]
    return {
        "task": first["task"],
        "family": first["family"],
        "metric_label": cells.error_label(first),
        "method": first["method"],
        "label": first["label"],
        "size": size,
        "value": value,
        "other_size": fixed,
        **cells.spread(runs.groupby("seed")["error"].median(), f"sweep {first['cell']}"),
        "parameters": runs[COUNT].median(),
        "knee": False,
        **cells.outcome(runs),
    }


def _mark_knee(line: list[dict], runs: pd.DataFrame, column: str) -> None:
    """Mark the smallest size that is shown to be within the margin of the best one."""
    known = [point for point in line if not math.isnan(point["error"])]
    if not known:
        return
    best = min(known, key=lambda point: point["error"])
    ratio = best["family"] not in MARGINS
    margin = FACTOR if ratio else MARGINS[best["family"]]
    reference = runs[runs[column] == best["value"]]
    for point in sorted(known, key=lambda point: point["value"]):
        found = comparison.compare(
            runs[runs[column] == point["value"]],
            reference,
            "error",
            margin=margin,
            ratio=ratio,
            apart=[column],
        )
        high = math.log(found.high) if ratio and found.high > 0 else found.high
        bound = math.log1p(margin) if ratio else margin
        if point is best or stats.established("not_worse", -math.inf, high, bound, lower_is_better=True):
            point["knee"] = True
            return


def draw(frame: pd.DataFrame):
    """Draw one panel a task and size, both axes logarithmic."""
    looks, sweeps = palette.looks(frame["label"]), list(frame.groupby(["task", "size"], sort=True))
    figure, panels = drawing.grid_of_axes(len(sweeps), columns=2, size=(4.2, 3.2))
    for axes, ((task, size), sweep) in zip(panels, sweeps, strict=True):
        for (label, fixed), line in sweep.groupby(["label", "other_size"]):
            _line(axes, line.sort_values("value"), looks[label], pale=fixed != sweep["other_size"].min())
        drawing.logarithmic(axes)
        drawing.ticks_at(axes, sweep["value"])
        heading = drawing.title(task, inches=4.2)
        axes.set(xlabel=SIZES[size], ylabel=sweep["metric_label"].iloc[0], title=heading)
        if sweep["other_size"].nunique() > 1:
            other = next(name for name in SIZES if name != size)
            drawing.note(axes, f"pale lines: larger {other}")
    drawing.method_legend(figure, looks, line=True)
    drawing.key(
        figure, drawing.spread_key("bar", frame["interval"]), "number: trainable parameters", "filled marker: the knee"
    )
    return figure


def _line(axes, line: pd.DataFrame, look: palette.Look, *, pale: bool) -> None:
    strength = 0.45 if pale else 1.0
    marks = {"color": look.colour, "marker": look.marker, "alpha": strength, "zorder": look.zorder}
    axes.plot(line["value"], line["error"], markerfacecolor="white", **marks)
    drawing.spans(axes, line["value"], line, look, alpha=0.4 * strength)
    knee = line[line["knee"]]
    axes.plot(knee["value"], knee["error"], linestyle="", markersize=8, **marks)
    known = line.dropna(subset=["error"])
    if pale or known.empty:
        return
    for _, point in known.iterrows():
        drawing.mark(axes, point["value"], point["error"], style.count(point["parameters"]))
    if not look.highlighted:
        naming.beside(axes, known["value"].iloc[-1], known["error"].iloc[-1], line["label"].iloc[0])
