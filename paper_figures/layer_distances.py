"""Distances between layers

Energy distance between the coefficients of every two layers, mean over seeds: left in the trained dense network, which
shares nothing, right in the network whose layers share meta-learners by KMeans on their widths. Lines separate
neighbouring layers of different groups; the letter of a layer is its group. Layers of a group that are alike make a
dark block; on the right a group has one meta-learner, which makes them alike.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kanbench.pages import drawing
from kanbench.statistics import partitions

KIND = "figure"
EXPERIMENTS = ["E11", "E11deep", "E11fc", "E11dense", "E11fcdense"]
CATEGORY = "Open questions"
WIDTHS = partitions.STRATEGIES["kmeans_width"]
PREFERRED = 3
"""Number of meta-learners that is shown where it was run; elsewhere the smallest above one."""


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task, network, dense or grouped, and pair of layers."""
    runs = partitions.described(records)
    if runs.empty:
        return runs
    dense = partitions.dense(records)
    rows = []
    grouped = runs[(runs["strategy"] == WIDTHS) & runs["groups"].notna()]
    for (task, network), inside in grouped.groupby(["task", "network"], sort=True):
        counts = sorted(inside["count"].unique())
        shown = inside[inside["count"] == (PREFERRED if PREFERRED in counts else counts[0])]
        groups = shown["groups"].iloc[0]
        teachers = dense[(dense["task"] == task) & (dense["network"] == network)]
        for kind, source in (("dense", teachers), ("grouped", shown)):
            distances = partitions.distances(source)
            if distances is not None:
                names = " ".join(source["run"])
                rows += [
                    {
                        "task": task,
                        "network": network,
                        "kind": kind,
                        "row": first + 1,
                        "column": second + 1,
                        "distance": float(distances[first, second]),
                        "row_group": int(groups[first]),
                        "column_group": int(groups[second]),
                        "runs": names,
                    }
                    for first, second in np.ndindex(distances.shape)
                ]
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame):
    """Draw a row of panels a task and network, dense beside grouped."""
    panels = list(frame.groupby(["task", "network", "kind"], sort=True))
    figure, axes = drawing.grid_of_axes(len(panels), columns=2, size=(3.5, 3.2))
    for place, ((task, network, kind), inside) in zip(axes, panels, strict=True):
        matrix = inside.pivot(index="row", columns="column", values="distance")
        groups = inside.drop_duplicates("row").set_index("row")["row_group"].sort_index()
        image = place.imshow(matrix.to_numpy(), cmap="viridis", vmin=0)
        names = [f"{layer}{chr(ord('a') + group)}" for layer, group in groups.items()]
        place.set_xticks(range(len(names)), names, fontsize=7)
        place.set_yticks(range(len(names)), names, fontsize=7)
        ends = np.flatnonzero(np.diff(groups.to_numpy())) + 0.5
        for end in ends:
            place.axhline(end, color="white", linewidth=1.4)
            place.axvline(end, color="white", linewidth=1.4)
        how = "dense" if kind == "dense" else WIDTHS
        place.set(xlabel="layer", ylabel="layer", title=drawing.title(f"{task}, {network}: {how}", inches=2.4))
        place.grid(False)
        figure.colorbar(image, ax=place, label="energy distance", shrink=0.85)
    drawing.key(figure, "letter: the group of a layer", "white lines: between neighbouring layers of different groups")
    return figure
