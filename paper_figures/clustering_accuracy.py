"""Accuracy against the number of meta-learners

A line a way to group the layers; median over seeds with its interval (95 % from six seeds on, below that the range).
Random groups are averaged over their draws, seed by seed. One meta-learner with a larger hidden layer is placed where
more meta-learners reach as many trainable parameters. Dashed: one meta-learner with larger prompts, at the number of
parameters that the line names.
"""

from __future__ import annotations

import math

import pandas as pd

from kanbench.pages import style, table
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
    middle, low, high, interval = table.spread(per_seed, purpose)
    return {
        "strategy": strategy,
        "meta_learners": int(cell["count"].iloc[0]),
        "place": place,
        "prompt_dim": int(prompt_dim),
        "parameters": parameters,
        "value": middle,
        "low": low,
        "high": high,
        "interval": interval,
        "metric": cell["metric"].iloc[0],
        "seeds": table.status_text(cell["status"]),
        "runs": " ".join(cell["run"]),
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
    labels = [name for name in partitions.ORDER if name in set(frame["strategy"])]
    colours, markers = style.colours(labels), style.markers(labels)
    size = (3.6, 2.9) if len(panels) > 1 else (5.4, 3.2)
    figure, axes = style.grid_of_axes(len(panels), columns=2, size=size, legend=1.1)
    for place, ((task, network), inside) in zip(axes, panels, strict=True):
        for position, label in enumerate(labels):
            points = inside[inside["strategy"] == label].sort_values("place").dropna(subset=["value"])
            if label == partitions.PROMPTS:
                for _, point in points.iterrows():
                    place.axhline(point["value"], color=colours[label], linestyle="--", linewidth=1.1)
                    text = f"{style.count(point['parameters'])} parameters"
                    place.text(
                        0.99, point["value"], text, transform=place.get_yaxis_transform(), ha="right", fontsize=7
                    )
                continue
            alone = label in (partitions.ONE, partitions.PER_LAYER)  # at C = 1 and at the last; others lie side by side
            shifted = points["place"] + (0 if alone else 0.07 * (position - len(labels) / 2))
            errors = [points["value"] - points["low"], points["high"] - points["value"]]
            place.errorbar(
                shifted,
                points["value"],
                yerr=errors,
                color=colours[label],
                marker=markers[label],
                linestyle="none" if label == partitions.HIDDEN else "-",
                linewidth=1.2,
                elinewidth=0.8,
                markersize=5,
            )
        metric = table.metric_text(str(inside["metric"].iloc[0]))
        place.set(xlabel="meta-learners", ylabel=metric, title=style.title(f"{task}, {network}", inches=3.2))
        place.xaxis.get_major_locator().set_params(integer=True)
        missing = inside[inside["value"].isna()]
        if len(missing):
            cells = ", ".join(f"{row['strategy']} {row['meta_learners']}" for _, row in missing.iterrows())
            style.note(place, style.title(f"no ok run: {cells}", inches=3.2))
    style.method_legend(figure, labels, columns=3 if len(panels) > 1 else 2, line=True)
    return figure
