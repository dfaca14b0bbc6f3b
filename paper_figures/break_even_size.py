"""Break-even size: trainable parameters of MetaKAN over those of a KAN

Each marker is one network, the ratio of counted parameters against its number of edges; one panel a dense KAN. Above
the line at 1, MetaKAN has more parameters than the KAN that it is meant to shrink: its meta-learners have a fixed size,
so that small networks lose. Dotted lines: the number of edges at which a shown configuration breaks even.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import style
from kanbench.statistics import stats

KIND = "figure"
EXPERIMENTS = ["E1", "E1grid", "E2", "E3", "E5", "E7", "E8", "E8grid", "E8headline", "E9", "E9small", "E13"]
CATEGORY = "Memory and speed"
REFERENCES = ("efficient_kan", "tiled_kan")
COUNT, PROMPTS = "parameters.trainable", "parameters.groups.prompts"
PROMPT_DIM = "spec.method.settings.prompt_dim"


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
    prompt_dim = first[PROMPT_DIM] if pd.notna(first[PROMPT_DIM]) else 1
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
        "break_even_edges": (mine - first[PROMPTS]) / saved if saved > 0 else float("inf"),
        "runs": " ".join(sorted({*pairs["run"], *pairs["reference_run"]})),
    }


def draw(frame: pd.DataFrame):
    """Draw one panel a reference, both axes logarithmic."""
    labels = sorted(frame["label"].unique())
    panels_of = list(frame.groupby("reference"))
    figure, panels = style.grid_of_axes(len(panels_of), columns=2, size=(4.0, 3.3), legend=0.6)
    for axes, (reference, members) in zip(panels, panels_of, strict=True):
        for label, cells in members.groupby("label"):
            look = {"color": style.colours(labels)[label], "marker": style.markers(labels)[label]}
            axes.plot(cells["edges"], cells["ratio"], linestyle="", alpha=0.8, **look)
        axes.axhline(1, color="#555555", linewidth=1.0)
        for size in sorted(members["break_even_edges"].round().unique()):
            if size < float("inf"):
                axes.axvline(size, color="#9A9A9A", linestyle=":", linewidth=0.7, zorder=0)
        style.logarithmic(axes)
        title = f"against {reference}"
        axes.set(xlabel="number of edges", ylabel="parameters, MetaKAN over KAN", title=title)
    style.method_legend(figure, labels, columns=2)
    return figure
