"""Accuracy against the number of meta-learners

A line a way to group the layers; median over seeds with its interval (95 % from six seeds on, below that the range).
Random groups are averaged over their draws, seed by seed. One meta-learner with a larger hidden layer is placed where
more meta-learners reach as many trainable parameters. Dashed: one meta-learner with larger prompts, at the number of
parameters that the line names.
"""

from __future__ import annotations

import math

import pandas as pd

from kanbench.pages import cells, drawing, naming, palette, style, table
from kanbench.statistics import partitions

KIND = "figure"
EXPERIMENTS = ["E11", "E11deep", "E11fc"]
CATEGORY = "Open questions"


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task, network, grouping and number of meta-learners."""
    runs = partitions.described(records)
    if runs.empty:
        return runs
    rows = []
    for (task, network), inside in runs.groupby(["task", "network"], sort=True):
        unit = _unit(inside)
        for (strategy, _, _), same in inside.groupby(["strategy", "count", f"{partitions.SETTINGS}hidden_dim"]):
            for size, cell in same.groupby(f"{partitions.SETTINGS}prompt_dim"):
                rows.append({"task": task, "network": network, **_row(strategy, size, cell, unit)})
    return pd.DataFrame(rows)


def _row(strategy: str, prompt_dim: float, cell: pd.DataFrame, unit: tuple[float, float]) -> dict:
    parameters = cell["parameters.trainable"].median()
    place = float(cell["count"].iloc[0])
    if strategy == partitions.HIDDEN:
        place = 1 + (parameters - unit[0]) / unit[1]
    per_seed = cell.dropna(subset=["value"]).groupby("seed")["value"].mean()
    purpose = f"clustering {cell['task'].iloc[0]} {cell['network'].iloc[0]} {strategy} {place:.3f} {prompt_dim}"
    return {
        "strategy": strategy,
        "meta_learners": int(cell["count"].iloc[0]),
        "place": place,
        "prompt_dim": int(prompt_dim),
        "parameters": parameters,
        **cells.spread(per_seed, purpose, "value"),
        "metric": cell["metric"].iloc[0],
        **cells.outcome(cell),
    }


def _unit(runs: pd.DataFrame) -> tuple[float, float]:
    """Return the parameters with one meta-learner, and those that each further one adds."""
    counts = runs[~runs["strategy"].isin([partitions.HIDDEN, partitions.PROMPTS])]
    counts = counts[counts["strategy"] != partitions.STRATEGIES["learned"]]  # has its weights besides
    sizes = counts.groupby("count")["parameters.trainable"].median().dropna()
    if len(sizes) < 2 or 1 not in sizes.index:
        return math.nan, math.nan
    return float(sizes[1]), float((sizes.iloc[-1] - sizes[1]) / (sizes.index[-1] - 1))


def draw(frame: pd.DataFrame):
    """Draw a panel a task and network."""
    panels = list(frame.groupby(["task", "network"], sort=True))
    looks = palette.looks(frame["strategy"], order=partitions.ORDER)
    figure, axes = drawing.grid_of_axes(len(panels), columns=2, size=(4.6, 3.1))
    for place, ((task, network), inside) in zip(axes, panels, strict=True):
        for position, label in enumerate(looks):
            points = inside[inside["strategy"] == label].sort_values("place").dropna(subset=["value"])
            if label == partitions.PROMPTS:
                for _, point in points.iterrows():
                    text = f"{label}: {style.count(point['parameters'])} parameters"
                    drawing.level(place, point["value"], looks[label], text)
                continue
            alone = label in (partitions.ONE, partitions.PER_LAYER)  # at C = 1 and at the last; others lie side by side
            points["place"] += 0 if alone else 0.07 * (position - len(looks) / 2)
            _line(place, points, looks[label], joined=label != partitions.HIDDEN)
            if not looks[label].highlighted and len(points):
                naming.near(place, points["place"].iloc[-1], points["value"].iloc[-1], label)
        metric = table.metric_text(str(inside["metric"].iloc[0]))
        place.set(xlabel="meta-learners", ylabel=metric, title=drawing.title(f"{task}, {network}", inches=4.2))
        place.xaxis.get_major_locator().set_params(integer=True)
        missing = inside[inside["value"].isna()]
        if len(missing):
            lost = ", ".join(f"{row['strategy']} {row['meta_learners']}" for _, row in missing.iterrows())
            drawing.note(place, drawing.title(f"no ok run: {lost}", inches=4.2))
    drawing.method_legend(figure, looks, line=True)
    drawing.key(figure, drawing.spread_key("bar", frame["interval"]))
    return figure


def _line(axes, points: pd.DataFrame, look: palette.Look, *, joined: bool) -> None:
    drawing.spans(axes, points["place"], points, look, linewidth=0.9, alpha=0.9)
    marks = {"color": look.colour, "marker": look.marker, "linewidth": 1.2, "zorder": look.zorder}
    axes.plot(points["place"], points["value"], linestyle="-" if joined else "none", **marks)
