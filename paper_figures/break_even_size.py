"""Break-even size: trainable parameters of MetaKAN over those of a KAN

Each marker is one network, the ratio of counted parameters against its number of edges; one panel a dense KAN. The line
at 1 is where both have as many parameters. A curve is the ratio of one configuration (method, hidden width of the meta-
learner, dimension of the prompts, grid size) at every number of edges: prompts grow with the edges, meta-learners do
not. A dotted line is the number of edges at which that configuration breaks even. Shown are the configurations with the
most networks whose lines stand apart; the others are counted in the panel.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kanbench.pages import drawing, naming, palette, style
from kanbench.statistics import stats

KIND = "figure"
EXPERIMENTS = ["E1", "E1grid", "E2", "E3", "E5", "E7", "E8", "E8grid", "E8headline", "E9", "E9small", "E13"]
CATEGORY = "Memory and speed"
REFERENCES = ("efficient_kan", "tiled_kan")
COUNT, PROMPTS = "parameters.trainable", "parameters.groups.prompts"
SETTINGS = {"hidden_dim": "hidden", "prompt_dim": "prompts", "grid_size": "grid"}
MOST_LINES, APART = 6, 1.9
"""Break-even lines a panel, and the factor between two of them from which on both can be named."""


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a MetaKAN cell and KAN of the same widths: edges, both counts, ratio, break-even size."""
    if PROMPTS not in records:
        return pd.DataFrame()
    rows = []
    meta = records[records[PROMPTS].notna() & records[COUNT].notna()]
    for reference in REFERENCES:
        dense = records[records["method"] == reference]
        if dense.empty:
            continue
        for (label, _), runs in meta.groupby(["label", "cell"]):
            pairs = stats.pairs(runs, dense, COUNT, counted=True)
            pairs = pairs[pairs["usable"] & (pairs["reference_value"] > 0)]
            if len(pairs):
                rows.append(_row(runs.iloc[0], label, pairs, dense))
    return pd.DataFrame(rows)


def _row(first: pd.Series, label: str, pairs: pd.DataFrame, dense: pd.DataFrame) -> dict:
    settings = {name: first.get(f"spec.method.settings.{name}", float("nan")) for name in SETTINGS}
    prompt_dim = settings["prompt_dim"] if pd.notna(settings["prompt_dim"]) else 1
    edges, mine, theirs = (
        first[PROMPTS] / prompt_dim,
        pairs["value"].median(),
        pairs["reference_value"].median(),
    )
    saved = theirs / edges - prompt_dim  # parameters an edge
    return {
        "reference": dense["label"].iloc[0],
        "method": first["method"],
        "label": label,
        "task": first["task"],
        "settings": first["settings"],
        "edges": edges,
        "parameters": mine,
        "reference_parameters": theirs,
        "ratio": mine / theirs,
        **settings,
        "break_even_edges": (mine - first[PROMPTS]) / saved if saved > 0 else float("inf"),
        "runs": " ".join(sorted({*pairs["run"], *pairs["reference_run"]})),
    }


def draw(frame: pd.DataFrame):
    """Draw one panel a reference, both axes logarithmic."""
    looks, panels_of = palette.looks(frame["label"]), list(frame.groupby("reference"))
    figure, panels = drawing.grid_of_axes(len(panels_of), columns=2, size=(4.4, 3.7))
    for axes, (reference, members) in zip(panels, panels_of, strict=True):
        for label, networks in members.groupby("label"):
            look = looks[label]
            marks = {"color": look.colour, "marker": look.marker, "zorder": look.zorder}
            axes.plot(networks["edges"], networks["ratio"], linestyle="", alpha=0.8, **marks)
            if not look.highlighted:
                naming.near(axes, networks["edges"].iloc[0], networks["ratio"].iloc[0], label)
        axes.axhline(1, color="#555555", linewidth=1.0)
        drawing.logarithmic(axes)
        chosen, others = lines(members)
        left, right = axes.get_xlim()
        # What follows fills the panel, and does not widen it.
        axes.set(xlim=(min([left, *chosen["size"] / APART]), right), ylim=axes.get_ylim())
        for _, line in chosen.iterrows():
            _draw_line(axes, line, looks[line["label"]])
        if others:
            drawing.note(axes, f"{others} more configurations break even between these sizes or beyond")
        axes.set(xlabel="number of edges", ylabel="parameters, MetaKAN over KAN", title=f"against {reference}")
    drawing.method_legend(figure, looks)
    drawing.key(figure, "curve: one configuration at every size", "dotted: the size at which it breaks even")
    return figure


def lines(members: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return one row a configuration whose line is drawn, by size, and how many others break even somewhere."""
    known = members[np.isfinite(members["break_even_edges"])]
    known = known.assign(size=known["break_even_edges"].round(), networks=1)
    keys = ["label", *SETTINGS, "size"]
    counted = known.groupby(keys, dropna=False).agg(
        networks=("networks", "sum"), dense=("reference_parameters", "sum"), edges=("edges", "sum")
    )
    ranked = counted.reset_index().sort_values(["networks", "label", "size"], ascending=[False, True, True])
    chosen = []
    for _, line in ranked.iterrows():
        apart = all(abs(np.log(line["size"] / other["size"])) >= np.log(APART) for other in chosen)
        if apart and len(chosen) < MOST_LINES:
            chosen.append(line)
    return pd.DataFrame(chosen, columns=ranked.columns).sort_values("size"), len(ranked) - len(chosen)


def name(line: pd.Series) -> str:
    """Return what a break-even line is called: the settings of its configuration, and its number of edges."""
    settings = ", ".join(f"{word} {line[key]:g}" for key, word in SETTINGS.items() if pd.notna(line[key]))
    return f"{settings or line['label']}: {style.count(line['size'])} edges"


def _draw_line(axes, line: pd.Series, look: palette.Look) -> None:
    axes.axvline(line["size"], color=look.colour, linestyle=":", linewidth=0.9, zorder=0)
    sizes = np.geomspace(*axes.get_xlim(), 201)
    dense = line["dense"] / line["edges"]  # parameters an edge
    prompts = line["prompt_dim"] if pd.notna(line["prompt_dim"]) else 1
    ratios = (prompts + (dense - prompts) * line["size"] / sizes) / dense
    inside = (ratios >= axes.get_ylim()[0]) & (ratios <= axes.get_ylim()[1])
    axes.plot(sizes[inside], ratios[inside], color=look.colour, linewidth=0.7, alpha=0.6, zorder=1)
    written = {"transform": axes.get_xaxis_transform(), "rotation": 90, "ha": "right", "va": "bottom", "fontsize": 6}
    written["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.3}
    axes.text(line["size"], 0.09, name(line), color=palette.INK, **written)
