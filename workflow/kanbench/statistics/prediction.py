"""Where the median of further values will lie, given values that are known: intervals of prediction. Pure functions.

Both ways ask that known and further values come from one distribution, and nothing else decides their coverage: order
statistics whatever that distribution is, where there are values enough, and Student's t for few values that are normal
on the scale on which they are given (errors on that of their logarithms).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats as distributions

from kanbench.statistics.stats import LEVEL

ORDER, STUDENT = "order statistics", "Student's t"
FEWEST = 2
"""Fewest known values that have a spread."""
FREE_FROM = 10
"""Known values from which order statistics are preferred, where they reach the level."""


@dataclass(frozen=True)
class Prediction:
    """The interval in which the median of further values lies, with what probability (at least), and its kind."""

    low: float
    high: float
    coverage: float
    how: str

    def holds(self, value: float, tolerance: float = 0.0) -> bool:
        """Tell whether a median lies in it, or no further outside than `tolerance`."""
        return self.low - tolerance <= value <= self.high + tolerance


def of_median(
    values: Sequence[float] | np.ndarray, further: int, *, level: float = LEVEL, grain: float = 0.0
) -> Prediction | None:
    """Return the interval of the median of `further` values from the distribution of `values`; None where none exists.

    Args:
        values: Known values, at least two. Infinities are failures: only order statistics can weigh them.
        further: How many values the median is taken over, at least one.
        grain: Distance between neighbouring values that can occur. It adds the variance of rounding, grain² / 12, so
            that few equal values of a coarse metric do not predict that all others equal them.
    """
    known = np.sort(np.asarray(values, float))
    if known.size < FEWEST or further < 1 or np.isnan(known).any():
        return None
    outside = outer_values(known.size, further, level)
    if outside >= 0 and (known.size >= FREE_FROM or not np.isfinite(known).all()):
        missed = _below(outside + 1, known.size, _upper(further), further)
        return Prediction(float(known[outside]), float(known[-1 - outside]), 1 - 2 * missed, ORDER)
    if not np.isfinite(known).all():
        return None
    half = float(distributions.t.ppf((1 + level) / 2, known.size - 1)) * _spread(known, further, grain)
    return Prediction(float(known.mean() - half), float(known.mean() + half), level, STUDENT)


def p_value(values: Sequence[float] | np.ndarray, median: float, further: int, *, grain: float = 0.0) -> float:
    """Return how likely a median of `further` values lies at least this far from `values`, by Student's t.

    1 where nothing can be said: fewer than two known values, or infinities among them. An infinite median has 0.
    """
    known = np.asarray(values, float)
    if known.size < FEWEST or not np.isfinite(known).all() or math.isnan(median):
        return 1.0
    spread, apart = _spread(known, further, grain), abs(median - known.mean())
    if not spread:
        return float(apart <= 1e-9 * abs(median))
    return float(2 * distributions.t.sf(apart / spread, known.size - 1))


def _spread(known: np.ndarray, further: int, grain: float) -> float:
    """Return the standard deviation of the difference of the median of `further` values from the mean of `known`."""
    return math.sqrt((known.var(ddof=1) + grain**2 / 12) * (1 / known.size + median_variance(further)))


@cache
def outer_values(size: int, further: int, level: float = LEVEL) -> int:
    """Return how many of `size` ordered values at each end lie outside the interval; -1 where even none is too many.

    Each end is missed with a probability of at most half of what the level leaves. Of an even number the median lies
    between two values, and the outer one of them is asked to lie inside.
    """
    found = -1
    while 2 * (found + 1) < size and _below(found + 2, size, _upper(further), further) <= (1 - level) / 2 + 1e-12:
        found += 1
    return found


def _upper(further: int) -> int:
    """Return the place of the middle value among `further` ones, of the lower one of a middle two."""
    return (further + 1) // 2


def _below(rank: int, size: int, position: int, further: int) -> float:
    """Return the probability that the `position`-th of `further` values is below the `rank`-th of `size` values.

    All orders of the values together are equally likely, so that it needs no distribution (Hahn and Meeker 1991).
    """
    total = math.comb(size + further, further)
    return sum(
        math.comb(count + rank - 1, count) * math.comb(further - count + size - rank, further - count)
        for count in range(position, further + 1)
    ) / float(total)


@cache
def median_variance(size: int) -> float:
    """Return the variance of the median of `size` independent standard normal values, by quadrature to 1e-6."""
    if size == 1:
        return 1.0
    nodes, weights = np.polynomial.legendre.leggauss(300)
    points, weights = 8.0 * nodes, 8.0 * weights
    below, density = distributions.norm.cdf(points), distributions.norm.pdf(points)
    beside = (size - 1) // 2  # values on either side of the middle one, or of the middle two
    if size % 2:
        scale = math.exp(math.lgamma(size + 1) - 2 * math.lgamma(beside + 1))
        return float(scale * np.sum(weights * points**2 * density * (below * (1 - below)) ** beside))
    # Of the middle two with their sum s = x + y and y > x: the mean square of s / 2, on a grid of the triangle.
    scale = math.exp(math.lgamma(size + 1) - 2 * math.lgamma(beside + 1))
    fractions, parts = (nodes + 1) / 2, weights / 8.0 / 2
    above = points[:, None] + (8.0 - points[:, None]) * fractions[None, :]
    joint = (
        distributions.norm.pdf(above) * distributions.norm.sf(above) ** beside * ((points[:, None] + above) / 2) ** 2
    )
    inner = np.sum(joint * parts[None, :], axis=1) * (8.0 - points)
    return float(scale * np.sum(weights * density * below**beside * inner))


def least_inside(cells: int, level: float = LEVEL, doubt: float = 0.01) -> int:
    """Return how many of independent cells lie inside their intervals at least, but for a probability of `doubt`."""
    return int(distributions.binom.ppf(doubt, cells, level)) if cells else 0
