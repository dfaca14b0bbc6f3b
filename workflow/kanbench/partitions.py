"""Groupings of the same things: how far two agree, and whether one follows distances."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats as distributions


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
