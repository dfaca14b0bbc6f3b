"""Groupings of layers: which ones records hold, how far two agree, and whether one follows distances."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats as distributions

SETTINGS = "spec.method.settings."
STRATEGIES = {
    "kmeans_width": "KMeans on widths",
    "kmeans_in_out": "KMeans on (in, out) widths",
    "contiguous": "contiguous blocks",
    "random": "random groups",
    "activations": "KMeans on activations",
    "coefficients": "KMeans on dense coefficients",
    "learned": "learned assignment",
}
ONE, PER_LAYER, HIDDEN, PROMPTS = (
    "one meta-learner",
    "one a layer",
    "one, larger hidden layer",
    "one, larger prompts",
)
ORDER = (ONE, *STRATEGIES.values(), PER_LAYER, HIDDEN, PROMPTS)


def described(records: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of networks whose layers are grouped, with what tells the groupings apart.

    Added columns: `network` (readable), `strategy` (one of `ORDER`), `count` (number of meta-learners) and `groups`
    (the meta-learner of each layer; None where a run has none to show).
    """
    if f"{SETTINGS}clustering" not in records:
        return pd.DataFrame()
    runs = records[records[f"{SETTINGS}clustering"].notna()].copy()
    if runs.empty:
        return runs
    runs["network"], layers = networks(runs), _layers(runs)
    count = runs[f"{SETTINGS}num_clusters"]
    runs["count"] = count.where(count != "per_layer", layers).astype(int)
    runs["strategy"] = runs[f"{SETTINGS}clustering"].map(STRATEGIES)
    fixed = runs[f"{SETTINGS}clustering"] != "learned"
    runs.loc[fixed & (runs["count"] == layers) | (runs[f"{SETTINGS}clustering"] == "per_layer"), "strategy"] = PER_LAYER
    runs.loc[runs["count"] == 1, "strategy"] = ONE
    for _, inside in runs.groupby(["task", "network"]):
        for column, name in (("hidden_dim", HIDDEN), ("prompt_dim", PROMPTS)):
            usual = inside.loc[inside["count"] > 1, f"{SETTINGS}{column}"].max()
            larger = (inside["count"] == 1) & (inside[f"{SETTINGS}{column}"] > usual)
            runs.loc[inside.index[larger], "strategy"] = name
    runs["groups"] = [_groups(run) for _, run in runs.iterrows()]
    return runs


def dense(records: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of networks whose layers are not grouped, with their `network`."""
    runs = records[records[f"{SETTINGS}clustering"].isna()]
    return runs.assign(network=networks(runs) if len(runs) else "")


def networks(runs: pd.DataFrame) -> pd.Series:
    """Return a readable name of the network of each run: what it consists of, without where its numbers come from."""
    convolutional = _column(runs, "layers").notna()
    tapers = _column(runs, "taper") < 1
    kind = np.select([convolutional, tapers], [" convolutions", " tapering layers"], " layers of equal width")
    return _layers(runs).astype(int).astype(str) + kind


def _layers(runs: pd.DataFrame) -> pd.Series:
    return _column(runs, "layers").fillna(_column(runs, "depth") + 1)


def _column(runs: pd.DataFrame, setting: str) -> pd.Series:
    name = f"{SETTINGS}{setting}"
    return runs[name].astype(float) if name in runs else pd.Series(math.nan, index=runs.index)


def _groups(run: pd.Series) -> list[int] | None:
    for column in ("analyses.groupings.clusters", "method_info.clusters"):
        if isinstance(run.get(column), str):
            return json.loads(run[column])
    return None


def distances(runs: pd.DataFrame) -> np.ndarray | None:
    """Return the distances between layers, (layers, layers), averaged over the runs that measured them, or None."""
    column = runs.get("analyses.groupings.distances", pd.Series(dtype=object)).dropna()
    return np.mean([json.loads(text) for text in column], axis=0) if len(column) else None


def adjusted_rand(first: Sequence[int], second: Sequence[int]) -> float:
    """Return the adjusted Rand index (Hubert and Arabie 1985) of two groupings: 1 if equal, 0 on average by chance."""
    from sklearn.metrics import adjusted_rand_score  # takes a second to import, and few recipes need it

    return float(adjusted_rand_score(first, second))


def anosim(
    distances: np.ndarray, groups: Sequence[int], rng: np.random.Generator, *, permutations: int = 999
) -> tuple[float, float]:
    """Return how far groups of things follow distances between them, and its permutation p-value (Clarke 1993).

    The statistic is the mean rank of the distances across groups minus that inside groups, over half the number of
    pairs: 1 where every pair inside a group is closer than every pair across groups, near 0 where groups say nothing.
    Both are NaN where there is no pair of the one or the other kind.

    Args:
        distances: Symmetric, shape (n, n).
        groups: One label each of n things.
        rng: Shuffles the labels.
    """
    rows, columns = np.triu_indices(len(groups), 1)
    labels, ranks = np.asarray(groups), distributions.rankdata(np.asarray(distances)[rows, columns])

    def statistic(labels: np.ndarray) -> float:
        same = labels[rows] == labels[columns]
        return float((ranks[~same].mean() - ranks[same].mean()) / (len(ranks) / 2))

    if len(set(groups)) in (1, len(groups)):
        return math.nan, math.nan
    observed = statistic(labels)
    as_large = sum(statistic(rng.permutation(labels)) >= observed - 1e-12 for _ in range(permutations))
    return observed, (as_large + 1) / (permutations + 1)
