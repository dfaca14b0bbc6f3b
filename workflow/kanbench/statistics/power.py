"""How small an effect a number of runs can show, and how many runs would show one. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import stats as distributions
from scipy.optimize import brentq

from kanbench.statistics.stats import LEVEL, MINIMUM_UNITS, median, proportion_interval

POWER = 0.8
MOST = 10**6
LARGE = 500
"""Values from which the t distribution is the normal one for this purpose."""


def minimal_detectable_effect(
    values: Sequence[float] | np.ndarray, *, level: float = LEVEL, power: float = POWER
) -> float:
    """Return the smallest true distance from the tested value that as many values of this spread would show.

    From the noncentral t distribution of a paired test, with the sample size deflated by the asymptotic efficiency
    3/pi of Wilcoxon's test at the normal; for a claim inside a family, give the level that Holm asks of its first
    member. NaN below two finite values; infinite where no outcome of so few values reaches the level.
    """
    values = np.asarray(values, float)
    finite = values[np.isfinite(values)]
    if finite.size < 2:
        return math.nan
    deviation = float(finite.std(ddof=1))
    if values.size < fewest(level):
        return math.inf
    return 0.0 if deviation == 0 else _shift(values.size, level, power) * deviation


@cache
def _shift(size: int, level: float, power: float) -> float:
    """Return the distance, in standard deviations, that a paired test of `size` values shows with the power."""
    critical = distributions.t.ppf((1 + level) / 2, size - 1)
    if size > LARGE:
        found = _normal_shift(level, power)
    else:
        found = brentq(
            lambda shift: distributions.nct.sf(critical, size - 1, shift) - power, 0, 10 * critical, xtol=1e-6
        )
    return found / math.sqrt(size * 3 / math.pi)


def _normal_shift(level: float, power: float) -> float:
    return float(distributions.norm.ppf((1 + level) / 2) + distributions.norm.ppf(power))


def fewest(level: float = LEVEL) -> int:
    """Return the fewest values with which the most extreme outcome of the signed-rank test reaches the level."""
    return max(MINIMUM_UNITS, math.ceil(math.log2(2 / (1 - level)) - 1e-9))


def needed(
    values: Sequence[float] | np.ndarray, boundary: float, *, level: float = LEVEL, power: float = POWER
) -> float:
    """Return how many values of this spread would tell their median from `boundary` with the given power.

    Infinite where the median lies on the boundary; NaN below two finite values, which have no spread. From few values
    it is a rough guess: their spread is one.
    """
    values = np.asarray(values, float)
    finite = values[np.isfinite(values)]
    if finite.size < 2:
        return math.nan
    distance, deviation = abs(median(values) - boundary), float(finite.std(ddof=1))
    if distance == 0:
        return math.inf
    # A t distribution asks for more than the normal one, so that the normal size is a lower bound, and a close one.
    size = max(fewest(level), math.ceil((_normal_shift(level, power) * deviation / distance) ** 2 * math.pi / 3))
    while size <= MOST and _shift(size, level, power) * deviation > distance:
        size += 1
    return float(size) if size <= MOST else math.inf


def needed_for_share(successes: int, trials: int, bound: float) -> float:
    """Return how many trials of the observed share would put `bound` outside the share's exact interval."""
    share = successes / trials
    size = trials
    while size <= MOST and share != bound:
        low, high = proportion_interval(round(share * size), size)
        if not low <= bound <= high:
            return float(size)
        size = math.ceil(size * 1.05) + 1
    return math.inf
