"""Error against grid size at several depths

The geometric mean over tasks of the test error, per seed; line and band are its median and spread over seeds (95 %
interval from six seeds on, below that the range). Methods without a grid are dashed lines. All points of a panel hold
the same tasks: those on which every method has an ok run at every grid size where it has any.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from kanbench.pages import cells, drawing, palette, shared_tasks, table

KIND = "figure"
EXPERIMENTS = ["E1", "E1grid"]
CATEGORY = "Accuracy"
GRID, DEPTH = "spec.method.settings.grid_size", "spec.method.settings.depth"


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a method, depth and grid size, for the tasks on which several grid sizes were planned."""
    grids = records.groupby("task")[GRID].nunique()
    swept = records[records["task"].isin(grids[grids > 1].index)]
    methods = swept.groupby("method")[GRID].nunique()
    swept = swept[swept["method"].isin(methods[methods != 1].index)]
    rows, complete = [], _complete(swept[swept["error"] > 0])
    for (depth, label), planned in swept.groupby([DEPTH, "label"]):
        runs, tasks = planned[planned["error"] > 0], complete.get(depth, [])
        missing = {grid: part for grid, part in planned.groupby(GRID) if grid not in set(runs[GRID])}
        rows += [_without(label, depth, grid, part) for grid, part in missing.items()]
        for grid, points in runs[runs["task"].isin(tasks)].groupby(GRID, dropna=False):
            per_seed = np.exp(np.log(points["error"]).groupby(points["seed"]).mean())
            rows.append(
                {
                    "label": label,
                    "depth": int(depth),
                    "grid_size": grid,
                    **cells.spread(per_seed, f"grid {label} {depth} {grid}"),
                    "n_tasks": points["task"].nunique(),
                    "n_seeds": len(per_seed),
                    "metric": points["metric"].iloc[0],
                    "runs": " ".join(points["run"]),
                }
            )
    return pd.DataFrame(rows)


def _without(label: str, depth: float, grid: float, planned: pd.DataFrame) -> dict:
    """Return the row of a point that cannot be drawn, with what became of its runs."""
    return {
        "label": label,
        "depth": int(depth),
        "grid_size": grid,
        "error": math.nan,
        "low": math.nan,
        "high": math.nan,
        "interval": f"runs ok: {table.status_text(planned['status'])}",
        "n_tasks": 0,
        "n_seeds": 0,
        "metric": planned["metric"].iloc[0],
        "runs": " ".join(planned["run"]),
    }


def _complete(runs: pd.DataFrame) -> dict[float, list[str]]:
    """Return, by depth, the tasks that every method has at every grid size at which it has an ok run of any task."""
    points = runs.assign(point=runs["label"] + " " + runs[GRID].astype(str))
    return {depth: shared_tasks.of_rows(block, ["point"], "task", "error") for depth, block in points.groupby(DEPTH)}


def draw(frame: pd.DataFrame):
    """Draw one panel a depth."""
    depths, looks = sorted(frame["depth"].unique()), palette.looks(frame["label"])
    figure, panels = drawing.grid_of_axes(len(depths), columns=3, sharey=True)
    for axes, depth in zip(panels, depths, strict=True):
        for label, line in frame[frame["depth"] == depth].groupby("label"):
            if line["grid_size"].isna().all():
                drawing.level(axes, line["error"].iloc[0], looks[label], label)
            else:
                drawing.curve(axes, "grid_size", line, looks[label], middle="error", name=label)
        absent = frame[(frame["depth"] == depth) & frame["error"].isna()]
        if len(absent):
            points = ", ".join(f"{row['label']} at {row['grid_size']:g}" for _, row in absent.iterrows())
            drawing.note(axes, f"no ok run: {points}")
        drawing.logarithmic(axes)
        axes.set(xlabel="grid size", title=f"{depth} hidden layer{'s' if depth > 1 else ''}")
        drawing.ticks_at(axes, frame["grid_size"])
    tasks = frame["n_tasks"].max()
    panels[0].set_ylabel(f"{table.metric_text(frame['metric'].iloc[0])} ({tasks} task{'s' if tasks > 1 else ''})")
    lines = set(frame[frame["grid_size"].notna()]["label"])
    drawing.method_legend(figure, {label: look for label, look in looks.items() if label in lines}, line=True)
    drawing.key(figure, drawing.spread_key("band", frame["interval"]), "dashed: a method without a grid")
    return figure
