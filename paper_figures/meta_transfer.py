"""Meta-transfer, source family by target family

Error of a network around a pretrained meta-learner over its control's, on formulas that no source family contains:
left, a frozen meta-learner against one frozen at its random initialisation, with prompts trained in both; right, a
pretrained start against a start from scratch, with everything trained in both. Median over paired runs (equal target
and seed) with its 95 % interval, from six pairs on; below, the range. Under 1 the pretrained one has the lower error.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from kanbench.pages import drawing, style, table

KIND = "figure"
EXPERIMENTS = ["E10"]
CATEGORY = "Open questions"
ADAPT, SOURCE, MEMBERS = (
    "spec.source.adapt",
    "spec.source.spec.task.settings.kind",
    "spec.source.spec.task.settings.members",
)
PANELS = {"frozen": ("random_frozen", "frozen over random and frozen"), "warm": (None, "warm start over from scratch")}


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a panel, source family and target family: the paired ratio of errors, and its runs."""
    if SOURCE not in records or "data.kind" not in records:
        return pd.DataFrame()
    rows = []
    for way, (control, title) in PANELS.items():
        pretrained = records[records[ADAPT] == way]
        controls = records[records["method"].isin(pretrained["method"])]
        controls = controls[controls[ADAPT].isna() if control is None else controls[ADAPT] == control]
        for (source, target), runs in pretrained.groupby([_source_names(pretrained), "data.kind"], sort=True):
            ratio, used = table.paired_ratio(runs, controls, "error", f"transfer {way} {source} {target}")
            rows.append(
                {
                    "panel": title,
                    "source": source,
                    "target": target,
                    **ratio,
                    "runs": used,
                }
            )
    return pd.DataFrame(rows)


def _source_names(runs: pd.DataFrame) -> pd.Series:
    others = runs[MEMBERS] == "others"
    return runs[SOURCE].where(~others, "all but " + runs[SOURCE].astype(str)).rename("source")


def draw(frame: pd.DataFrame):
    """Draw one heat map a panel, on one logarithmic scale that is centred on 1."""
    panels = list(dict.fromkeys(frame["panel"]))
    sources, targets = sorted(frame["source"].unique()), sorted(frame["target"].unique())
    size = (max(3.4, 1.15 * len(targets) + 1.4), max(2.6, 0.62 * len(sources) + 1.2))
    figure, axes = drawing.grid_of_axes(len(panels), columns=2, size=size)
    reach = max(math.log(2), float(np.log(frame["ratio"]).abs().replace(np.inf, np.nan).max()))
    for place, panel in zip(axes, panels, strict=True):
        inside = frame[frame["panel"] == panel].set_index(["source", "target"])
        logs = np.array([[_log(inside, source, target) for target in targets] for source in sources])
        image = place.imshow(np.ma.masked_invalid(logs), cmap="PuOr_r", vmin=-reach, vmax=reach, aspect="auto")
        place.set_xticks(range(len(targets)), targets, rotation=20, ha="right")
        place.set_yticks(range(len(sources)), sources)
        place.set(xlabel="target family", ylabel="pretrained on", title=drawing.title(panel))
        place.grid(False)
        for (row, column), value in np.ndenumerate(logs):
            text = _text(inside, sources[row], targets[column])
            dark = math.isfinite(value) and abs(value) > 0.65 * reach
            place.text(column, row, text, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10) if abs(math.log(t)) <= reach]
    bar = figure.colorbar(image, ax=axes, label="error ratio", shrink=0.9, ticks=np.log(ticks))
    bar.ax.set_yticklabels([f"{tick:g}" for tick in ticks])
    spread = drawing.spread_text(frame["interval"], "pairs")
    drawing.key(figure, "median over paired runs, below it the " + spread if spread else "median over paired runs")
    return figure


def _log(rows: pd.DataFrame, source: str, target: str) -> float:
    return math.log(rows.loc[(source, target), "ratio"]) if (source, target) in rows.index else math.nan


def _text(rows: pd.DataFrame, source: str, target: str) -> str:
    if (source, target) not in rows.index:
        return "not run"
    row = rows.loc[(source, target)]
    if not row["n_pairs"]:
        return "no ok pair"
    return f"{style.ratio(row['ratio'])}\n{style.ratio(row['low'])} to {style.ratio(row['high'])}"
