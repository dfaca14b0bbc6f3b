"""Tests of a median against a margin, and what several tests in one family ask of each. Pure functions.

A statement about a median is established by two tests together, the larger p-value counting. The sign test needs no
assumption but a median, so it alone keeps the level however skewed the values are; Wilcoxon's test also weighs how far
they lie, so that a few disasters among many small gains are not overlooked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import stats as distributions

ALPHA = 0.05
"""Error rate of a family, both sides together: each of `holds` and `fails` may be false in half of it."""
ROUNDING = 1e-12


def sign_test(values: Sequence[float] | np.ndarray, alternative: str = "two-sided", *, ties: bool = False) -> float:
    """Return the exact p-value of the sign test, which holds for any distribution with that median.

    Args:
        alternative: `two-sided`, `less` (the median is negative) or `greater`.
        ties: Whether zeros count for the alternative (then it is "not positive", "not negative") or against it.

    Returns:
        p; 1 without values.
    """
    values = np.asarray(values, float)
    if alternative == "two-sided":
        return min(1.0, 2 * min(sign_test(values, side, ties=ties) for side in ("less", "greater")))
    values = values if alternative == "less" else -values
    for_it = int(np.sum(values <= 0) if ties else np.sum(values < 0))
    return float(distributions.binom.sf(for_it - 1, values.size, 0.5)) if values.size else 1.0


def signed_rank(values: Sequence[float] | np.ndarray, alternative: str = "two-sided") -> float:
    """Return the exact p-value of Wilcoxon's signed-rank test, conditional on ties and zeros (Pratt 1959).

    Equal magnitudes share their mean rank; zeros are ranked and then left out; infinite values take the outermost
    ranks. The null distribution is the convolution over all signs, not the normal approximation.

    Args:
        alternative: `two-sided`, `less` (the values tend to be negative) or `greater`.

    Returns:
        p; 1 without values, or where all are zero.
    """
    values = np.asarray(values, float)
    finite = np.abs(values[np.isfinite(values)])
    values = np.where(np.isinf(values), np.sign(values) * (2 * finite.max(initial=0.0) + 1), values)
    ranks = np.rint(2 * distributions.rankdata(np.abs(values))).astype(int)  # twice the rank: a whole number
    ranks, positive = ranks[values != 0], values[values != 0] > 0
    if np.array_equal(np.sort(ranks), 2 * np.arange(1, values.size + 1)):
        null, total = rank_sums(values.size), int(ranks[positive].sum()) // 2
    else:
        null, total = _null(ranks), int(ranks[positive].sum())
    less, greater = min(1.0, null[: total + 1].sum()), min(1.0, null[total:].sum())
    return float({"less": less, "greater": greater, "two-sided": min(1.0, 2 * min(less, greater))}[alternative])


def _null(ranks: Sequence[int]) -> np.ndarray:
    null = np.zeros(int(np.sum(ranks)) + 1)
    null[0], reached = 1.0, 0
    for rank in ranks:
        shifted = null[: reached + 1].copy()
        reached += int(rank)
        null[rank : reached + 1] += shifted
        null[: reached + 1] *= 0.5
    return null


@cache
def rank_sums(size: int) -> np.ndarray:
    """Return the probability of every sum of positive ranks of `size` untied values, under symmetry about zero."""
    return _null(range(1, size + 1))


@cache
def critical_rank_sum(size: int, level: float) -> int:
    """Return the largest sum of contrary ranks at which the one-sided p-value is at most `level`; -1 if none is."""
    return int(np.searchsorted(np.cumsum(rank_sums(size)), level + ROUNDING, side="right")) - 1


@cache
def critical_count(size: int, level: float) -> int:
    """Return the most values on the contrary side at which the one-sided sign test is at most `level`; -1 if none."""
    return int(np.searchsorted(distributions.binom.cdf(np.arange(size + 1), size, 0.5), level + ROUNDING, "right")) - 1


def smallest_p(size: int) -> float:
    """Return the p-value, doubled, of the most extreme outcome of `size` values."""
    return min(1.0, 2.0 ** (1 - size))


def fewest(alpha: float = ALPHA) -> int:
    """Return the fewest values with which the most extreme outcome has a doubled p-value of at most `alpha`."""
    return max(1, math.ceil(math.log2(2 / alpha) - 1e-9))


def statement_p_values(
    values: Sequence[float] | np.ndarray,
    margin: float,
    *,
    lower_is_better: bool,
    highest: Sequence[float] | np.ndarray | None = None,
) -> dict[str, float]:
    """Return the p-value of each statement about differences: the smaller it is, the better established.

    `better`, `worse`, `not_better` and `not_worse` are one-sided tests against the margin, `equivalent` both of them
    (Schuirmann 1987), `different` either. Each is the larger one of sign test and signed-rank test. All are doubled,
    so that 0.05 goes with the ends of a 95 % interval.

    Args:
        values, highest: The differences, each as low and as high as it can be where a run is missing; `highest`
            defaults to `values`. A p-value is the largest of all ways to fill in what is missing.
    """
    lowest = np.asarray(values, float)
    highest = lowest if highest is None else np.asarray(highest, float)
    if not lower_is_better:
        lowest, highest = -highest, -lowest
    found = {
        "better": _both(highest + margin, "less"),
        "not_better": _both(lowest + margin, "greater", ties=True),
        "not_worse": _both(highest - margin, "less", ties=True),
        "worse": _both(lowest - margin, "greater"),
    }
    found["equivalent"] = max(found["not_better"], found["not_worse"])
    found["different"] = 2 * min(found["better"], found["worse"])
    return {statement: min(1.0, 2 * p) for statement, p in found.items()}


def _both(values: np.ndarray, alternative: str, *, ties: bool = False) -> float:
    return max(sign_test(values, alternative, ties=ties), signed_rank(values, alternative))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their family by Holm (1979), in the given order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, running = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def able_to_reject(smallest: Sequence[float], alpha: float = ALPHA) -> list[bool]:
    """Return which members of a family count (Tarone 1990): those that could reject beside each other.

    Args:
        smallest: The smallest p-value that each member can reach at its size. It depends on no outcome, and so the
            members that it leaves out cost the others nothing.
    """
    for count in range(1, len(smallest) + 1):
        able = [p <= alpha / count + ROUNDING for p in smallest]
        if sum(able) <= count:
            return able
    return [False] * len(smallest)


def adjusted(p_values: Sequence[float], smallest: Sequence[float], alpha: float = ALPHA) -> list[float]:
    """Return p-values adjusted by Holm among the members that are `able_to_reject`; 1 for those that are not."""
    able = able_to_reject(smallest, alpha)
    among = iter(holm([p for p, counts in zip(p_values, able, strict=True) if counts]))
    return [next(among) if counts else 1.0 for counts in able]
