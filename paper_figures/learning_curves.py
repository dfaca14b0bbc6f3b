"""Learning curves

The validation metric during training, as an error: median over seeds, with the range over seeds as a band. At most six
tasks, taken in turn from every task family; for each, the comparison with the most methods. Only ok runs are drawn; a
panel says how many are not.
"""

from __future__ import annotations

import itertools

import pandas as pd

from kanbench.pages import cells, drawing, palette, table

KIND = "figure"
EXPERIMENTS = ["E1", "E2", "E5", "E7"]
CATEGORY = "Accuracy"
PANELS = 6


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task, method and step: median, lowest and highest validation metric over seeds."""
    chosen = table.representative(table.comparisons(records), by="task")
    chosen = chosen[chosen["task"].isin(_tasks(chosen))]
    chosen = chosen.assign(not_ok=(chosen["status"] != "ok").groupby(chosen["comparison"]).transform("sum"))
    chosen = chosen[chosen["status"] == "ok"]
    points = [
        {**_identity(run), "step": point["step"], "value": _error(point, run), "run": run["run"]}
        for _, run in chosen.iterrows()
        for point in run["curve"]
        if point.get("validation") is not None
    ]
    if not points:
        return pd.DataFrame()
    return cells.over_runs(pd.DataFrame(points), [*_identity(chosen.iloc[0]), "step"], n_seeds=("run", "nunique"))


def _identity(run: pd.Series) -> dict:
    return {
        "family": run["family"],
        "comparison": run["comparison"],
        "label": run["label"],
        "settings": run["settings"],
        "quantity": ("1 - " if run["selection.goal"] == "max" else "") + f"validation {run['selection.metric']}",
        "not_ok": run["not_ok"],
    }


def _error(point: dict, run: pd.Series) -> float:
    return 1 - point["validation"] if run["selection.goal"] == "max" else point["validation"]


def _tasks(rows: pd.DataFrame) -> list[str]:
    queues = [sorted(group["task"].unique()) for _, group in rows.groupby("family", sort=True)]
    in_turn = [task for turn in itertools.zip_longest(*queues) for task in turn if task is not None]
    return in_turn[:PANELS]


def draw(frame: pd.DataFrame):
    """Draw one panel a task, logarithmic unless an error is zero."""
    comparisons, looks = list(dict.fromkeys(frame["comparison"])), palette.looks(frame["label"])
    figure, panels = drawing.grid_of_axes(len(comparisons), columns=3)
    for axes, comparison in zip(panels, comparisons, strict=True):
        inside = frame[frame["comparison"] == comparison]
        for (label, _), line in inside.groupby(["label", "settings"], dropna=False):
            drawing.curve(axes, "step", line, looks[label], name=label, markersize=3.2)
        first = inside.iloc[0]
        axes.set(xlabel="step", ylabel=first["quantity"], title=drawing.title(comparison))
        if (inside["low"] > 0).all():
            drawing.logarithmic(axes, "y")
        if first["not_ok"]:
            drawing.note(axes, f"not drawn: {first['not_ok']} runs that are not ok")
    drawing.method_legend(figure, looks, line=True)
    drawing.key(figure, "line: median over seeds; band: range over seeds")
    return figure
