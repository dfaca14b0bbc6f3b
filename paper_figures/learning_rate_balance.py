"""Level and balance of the two learning rates

Prompts and meta-learners have a learning rate each. The level of a pair is the geometric mean of both, its balance the
rate of the prompts over that of the meta-learners. Above, one panel a task and method: test error against the balance,
a line joining pairs of one level, so that nothing but the balance changes along it. Below, the same runs against the
level, a line joining pairs of one balance. Points are medians over seeds with their 95 % interval (range below six
seeds). A pair without an ok run is a cross at the upper edge that names what became of its runs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kanbench.pages import cells, drawing, naming, palette

KIND = "figure"
EXPERIMENTS = ["E9"]
CATEGORY = "Ablations"
VIEWS = {"balance": "level", "level": "balance"}
"""What is on the horizontal axis, and what is equal along a line."""
LABELS = {
    "balance": "rate of the prompts over rate of the meta-learners",
    "level": "geometric mean of both rates",
}
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
            rows.append(
                {
                    "task": task,
                    "method": method,
                    "label": cell["label"].iloc[0],
                    "prompts_rate": prompts,
                    "meta_learners_rate": learners,
                    "level": level(prompts, learners),
                    "balance": balance(prompts, learners),
                    **cells.spread(cell["error"], f"balance {task} {method} {prompts} {learners}"),
                    "metric_label": cells.error_label(cell.iloc[0]),
                    "n_ok": int((cell["status"] == "ok").sum()),
                    "n_planned": len(cell),
                    **cells.outcome(cell),
                }
            )
    return pd.DataFrame(rows)


def level(prompts: float, learners: float) -> float:
    """Return the geometric mean of two rates, to three digits, so that pairs of one level are equal."""
    return float(f"{np.sqrt(prompts * learners):.3g}")


def balance(prompts: float, learners: float) -> float:
    """Return the rate of the prompts over that of the meta-learners, to three digits."""
    return float(f"{prompts / learners:.3g}")


def draw(frame: pd.DataFrame):
    """Draw two panels a task and method: error against balance at equal level, and against level at equal balance."""
    panels_of = list(frame.groupby(["task", "label"]))
    columns = min(2, len(panels_of))
    chunks = [panels_of[start : start + columns] for start in range(0, len(panels_of), columns)]
    places = [(view, *panel) for chunk in chunks for view in VIEWS for panel in chunk]
    figure, panels = drawing.grid_of_axes(len(places), columns=columns, size=(4.4, 2.9))
    for axes, (view, (task, label), pairs) in zip(panels, places, strict=True):
        fixed = VIEWS[view]
        groups = dict(iter(pairs.groupby(fixed)))
        looks = palette.ordered(groups)
        for value, line in groups.items():
            _line(axes, view, line.sort_values(view), looks[value], f"{fixed} {value:g}")
        if pairs["error"].notna().any():
            drawing.logarithmic(axes)
            axes.set_ylim(top=1.6 * axes.get_ylim()[1])  # room for what became of the runs
        drawing.ticks_at(axes, pairs[view])
        axes.set(xlabel=LABELS[view], ylabel=pairs["metric_label"].iloc[0])
        axes.set_title(drawing.title(f"{task}, {label}: {view} at equal {fixed}", inches=4.0))
    drawing.key(figure, drawing.spread_key("bar", frame["interval"]), "cross: no ok run")
    return figure


def _line(axes, view: str, line: pd.DataFrame, look: palette.Look, name: str) -> None:
    known = line.dropna(subset=["error"])
    if len(known):
        colour = look.colour if look.highlighted else palette.INK
        naming.beside(axes, known[view].iloc[-1], known["error"].iloc[-1], name, colour=colour)
    axes.plot(known[view], known["error"], color=look.colour, marker=look.marker, zorder=look.zorder)
    drawing.spans(axes, known[view], known, look, alpha=0.6)
    for _, pair in line.iterrows():
        if np.isnan(pair["error"]):
            edge = axes.get_xaxis_transform()
            axes.plot(pair[view], 0.97, "x", color="#B00000", transform=edge, markersize=7, clip_on=False)
            text = pair["seeds"].partition("(")[2].rstrip(")") or "no value"
            written = {"ha": "center", "va": "top", "fontsize": 6.5, "color": "#B00000", "transform": edge}
            axes.text(pair[view], 0.93, text.replace(", ", "\n"), **written)
        elif pair["n_ok"] < pair["n_planned"]:
            drawing.mark(axes, pair[view], pair["error"], f"{pair['n_ok']} of {pair['n_planned']} runs ok")
