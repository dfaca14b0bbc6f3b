"""Simulated peak memory of a training step by category

Simulated peak of one training step after the optimiser state exists, split into what is held at that moment. One panel
a task: the comparison with the most methods, the larger network at a tie. The simulation follows every tensor through
the dispatcher and needs no GPU; allocator rounding is not part of it.
"""

from __future__ import annotations

import math

import pandas as pd

from kanbench.pages import cells, drawing, palette, style, table

KIND = "figure"
EXPERIMENTS = ["E1", "E5", "E7", "E8", "E8grid", "E8convolution"]
CATEGORY = "Memory and speed"
PREFIX = "memory.breakdown."
PEAK = "memory.simulated_peak_bytes"


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a comparison, method and category: median bytes over seeds; a method not measured has one row."""
    if records[PEAK].isna().all():
        return pd.DataFrame()
    chosen = table.representative(table.comparisons(records), by="spec.task.name")
    rows = []
    for keys, runs in chosen.groupby(["family", "comparison", "label", "settings", "cell"], dropna=False):
        base = dict(zip(("family", "comparison", "label", "settings"), keys[:4], strict=True))
        peak = runs[PEAK].median()
        tail = {"simulated_peak_bytes": peak, "n_runs": len(runs), "seeds": table.status_text(runs["status"])}
        parts = {"": math.nan} if math.isnan(peak) else _parts(runs, peak)
        rows += [{**base, "category": k, "bytes": v, **tail, "runs": " ".join(runs["run"])} for k, v in parts.items()]
    return pd.DataFrame(rows)


def _parts(runs: pd.DataFrame, peak: float) -> dict[str, float]:
    names = [column for column in runs.columns if column.startswith(PREFIX)]
    parts = {name.removeprefix(PREFIX): runs[name].median() for name in names}
    parts = {name: size for name, size in parts.items() if size > 0}
    rest = peak - sum(parts.values())
    return parts | ({"other": parts.get("other", 0) + rest} if rest > 0 else {})


def draw(frame: pd.DataFrame):
    """Draw stacked horizontal bars, the most expensive method on top, with the total at the end of each bar."""
    frame = frame.assign(bar=cells.names(frame))
    panels_of = {name: group for name, group in frame.groupby("comparison", sort=False)}
    figure, panels = drawing.rows_of_axes([group["bar"].nunique() for group in panels_of.values()])
    shown = [category for category in palette.CATEGORIES if category in set(frame["category"])]
    for axes, (comparison, bars) in zip(panels, panels_of.items(), strict=True):
        totals = bars.groupby("bar")["simulated_peak_bytes"].first().sort_values(kind="stable", na_position="first")
        seeds = bars.groupby("bar")["seeds"].first()
        start = pd.Series(0.0, index=totals.index)
        for category in shown:
            part = bars[bars["category"] == category].set_index("bar")["bytes"].reindex(totals.index).fillna(0.0)
            left, width = start / style.MIB, part / style.MIB
            axes.barh(totals.index, width, left=left, height=0.7, color=palette.CATEGORIES[category], label=category)
            start += part
        for position, (bar, total) in enumerate(totals.items()):
            text = style.mebibytes(total) if total == total else f"not measured, runs ok: {seeds[bar]}"
            axes.text(start[bar] / style.MIB, position, f" {text}", va="center", fontsize=7.5)
        axes.set(xlabel="simulated peak (MiB)", title=drawing.title(comparison, inches=3.4))
        axes.set_xlim(0, 1.13 * start.max() / style.MIB or 1)
        axes.grid(False, axis="y")
    handles, _ = panels[0].get_legend_handles_labels()
    drawing.legend(figure, handles)
    return figure
