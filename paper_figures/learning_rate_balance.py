"""Balance of the two learning rates

One panel a task and method: learning rate of the prompts against that of the meta-learners. The colour is the median
test error over seeds on a logarithmic scale, darker is worse; the number stands in the cell. A cell in which a run
failed names what became of its runs, and one without an ok run is hatched: where the two rates are out of balance,
training fails in the way that the paper describes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kanbench.pages import style, table

KIND = "figure"
EXPERIMENTS = ["E9"]
CATEGORY = "Ablations"
PROMPTS, LEARNERS = (f"spec.training.groups.{group}.learning_rate" for group in ("prompts", "meta_learners"))


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task, method and pair of learning rates: median error over seeds and outcome of the runs."""
    if not {PROMPTS, LEARNERS} <= set(records.columns):
        return pd.DataFrame()
    rows = []
    records = records[records[PROMPTS].notna() & records[LEARNERS].notna()]
    for (task, method), runs in records.groupby(["task", "method"]):
        if runs[PROMPTS].nunique() < 2 and runs[LEARNERS].nunique() < 2:
            continue
        for (prompts, learners), cell in runs.groupby([PROMPTS, LEARNERS]):
            middle, low, high, interval = table.spread(cell["error"], f"balance {task} {method} {prompts} {learners}")
            rows.append(
                {
                    "task": task,
                    "method": method,
                    "label": cell["label"].iloc[0],
                    "prompts_rate": prompts,
                    "meta_learners_rate": learners,
                    "error": middle,
                    "low": low,
                    "high": high,
                    "interval": interval,
                    "metric_label": ("1 - " if cell["goal"].iloc[0] == "max" else "")
                    + table.metric_text(cell["metric"].iloc[0]),
                    "n_ok": int((cell["status"] == "ok").sum()),
                    "n_planned": len(cell),
                    "seeds": table.status_text(cell["status"]),
                    "runs": " ".join(cell["run"]),
                }
            )
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame):
    """Draw one heat map a task and method."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    panels_of = list(frame.groupby(["task", "label"]))
    figure, panels = style.grid_of_axes(len(panels_of), columns=2, size=(4.4, 3.6), legend=0.1)
    colours = colormaps["cividis"].reversed()
    for axes, ((task, label), cells) in zip(panels, panels_of, strict=True):
        grid = cells.pivot(index="prompts_rate", columns="meta_learners_rate", values="error").sort_index()
        known = grid.to_numpy()[np.isfinite(grid.to_numpy()) & (grid.to_numpy() > 0)]
        low, high = (known.min(), known.max()) if known.size else (0.1, 1.0)
        scale = LogNorm(low, max(high, low * 1.01))
        image = axes.pcolormesh(np.ma.masked_invalid(grid.to_numpy()), cmap=colours, norm=scale, edgecolors="white")
        axes.grid(False)
        for row, prompts in enumerate(grid.index):
            for column, learners in enumerate(grid.columns):
                found = cells[(cells["prompts_rate"] == prompts) & (cells["meta_learners_rate"] == learners)]
                _cell(axes, column, row, found, scale)
        axes.set_xticks(np.arange(grid.shape[1]) + 0.5, [style.short(rate) for rate in grid.columns])
        axes.set_yticks(np.arange(grid.shape[0]) + 0.5, [style.short(rate) for rate in grid.index])
        axes.set(xlabel="learning rate of the meta-learners", ylabel="learning rate of the prompts")
        axes.set_title(style.title(f"{task}, {label}", inches=3.6))
        bar = figure.colorbar(image, ax=axes, label=cells["metric_label"].iloc[0], pad=0.02)
        ticks = np.geomspace(scale.vmin, scale.vmax, 3)
        bar.set_ticks(ticks, labels=[style.number(tick, 2) for tick in ticks])
        bar.ax.minorticks_off()
    return figure


def _cell(axes, column: int, row: int, found: pd.DataFrame, scale) -> None:
    if found.empty:
        axes.text(column + 0.5, row + 0.5, "not run", ha="center", va="center", fontsize=6.5, color="#777777")
        return
    cell = found.iloc[0]
    if np.isnan(cell["error"]):
        axes.add_patch(_hatched(column, row))
        text, colour = cell["seeds"].partition("(")[2].rstrip(")") or "no value", "#B00000"
        text = text.replace(", ", "\n")
    else:
        text, colour = style.number(cell["error"]), "white" if scale(cell["error"]) > 0.55 else "black"
        if cell["n_ok"] < cell["n_planned"]:
            text += "\n" + cell["seeds"].replace(" (", "\n(")
    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6.5, color=colour)


def _hatched(column: int, row: int):
    from matplotlib.patches import Rectangle

    return Rectangle((column, row), 1, 1, facecolor="#F4F4F4", edgecolor="#CCCCCC", hatch="///", linewidth=0)
