"""How small an effect a number of runs can show, and how many runs would show one: by simulating the rule itself.

A verdict asks for the sign test and the signed-rank test together, at every look at that look's share of the error.
What is simulated is exactly that, on normal values of the observed distance and spread; runs that failed keep their
share. Draws are the same in every call, so that answers repeat. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from kanbench.statistics import hypotheses
from kanbench.statistics.stats import MINIMUM_UNITS, generator, median, proportion_interval

POWER = 0.8
SIMULATIONS = 1000
"""Simulated studies; the standard error of a power of 80 % is 1.3 points."""
MOST = 640
"""Values up to which numbers are sought."""
MOST_TASKS = 10**6


def decides(shift: float, sizes: tuple[int, ...], levels: tuple[float, ...], failing: float = 0.0) -> float:
    """Return how often values at a distance from a margin are found beyond it at one of the looks.

    Args:
        shift: Distance of their median from the margin, in standard deviations.
        sizes: Number of values at each look, ascending, at most `MOST`.
        levels: One-sided level of each look.
        failing: Share of values that a failure puts infinitely far on the other side.
    """
    return _decides(round(shift, 3), tuple(sizes), tuple(levels), round(failing, 3))


@cache
def _decides(shift: float, sizes: tuple[int, ...], levels: tuple[float, ...], failing: float) -> float:
    normal, uniform = _draws()
    decided = np.zeros(SIMULATIONS, dtype=bool)
    for size, level in zip(sizes, levels, strict=True):
        values = np.where(uniform[:, :size] < failing, np.inf, normal[:, :size] - shift)
        decided |= rejects(values, level)
    return float(decided.mean())


@cache
def _draws() -> tuple[np.ndarray, np.ndarray]:
    rng = generator("power")
    return rng.standard_normal((SIMULATIONS, MOST)), rng.random((SIMULATIONS, MOST))


def rejects(rows: np.ndarray, level: float) -> np.ndarray:
    """Return for each row of untied values whether both tests find its median negative at the one-sided level.

    Args:
        rows: Shape (studies, values). Infinities are the outermost.
    """
    size = rows.shape[1]
    few = np.sum(rows >= 0, axis=1) <= hypotheses.critical_count(size, level)
    found = np.zeros(len(rows), dtype=bool)
    if few.any():
        chosen = rows[few]
        order = np.argsort(np.abs(chosen), axis=1)
        contrary = np.take_along_axis(chosen >= 0, order, axis=1)
        sums = contrary @ np.arange(1, size + 1)
        found[few] = sums <= hypotheses.critical_rank_sum(size, level)
    return found


def minimal_detectable_effect(
    values: Sequence[float] | np.ndarray, *, alpha: float = hypotheses.ALPHA, power: float = POWER
) -> float:
    """Return the smallest true distance from the tested value that as many values of this spread would show.

    Args:
        alpha: Doubled level, for a claim inside a family the one that Holm asks of its first member.

    Returns:
        NaN below `MINIMUM_UNITS` values or two finite ones, whose spread says too little; infinite where no outcome of
        so few values reaches the level.
    """
    values = np.asarray(values, float)
    finite = values[np.isfinite(values)]
    if values.size < MINIMUM_UNITS or finite.size < 2:
        return math.nan
    deviation = float(finite.std(ddof=1))
    if values.size < hypotheses.fewest(alpha):
        return math.inf
    return 0.0 if deviation == 0 else _shift(min(values.size, MOST), alpha, power) * deviation


@cache
def _shift(size: int, alpha: float, power: float) -> float:
    low, high = 0.0, 1.0
    while decides(high, (size,), (alpha / 2,)) < power:
        low, high = high, 2 * high
    while high - low > 0.005:
        middle = (low + high) / 2
        low, high = (low, middle) if decides(middle, (size,), (alpha / 2,)) >= power else (middle, high)
    return high


def standardised(values: Sequence[float] | np.ndarray, boundary: float) -> tuple[float, float]:
    """Return how far the finite values' median lies from a boundary, in their standard deviations, and the share of
    failures on the far side; NaN where there is no spread to measure by, infinite where the spread is 0.
    """
    values = np.asarray(values, float)
    finite = values[np.isfinite(values)]
    if finite.size < 2:
        return math.nan, math.nan
    deviation, distance = float(finite.std(ddof=1)), median(values) - boundary
    failing = float(np.mean(values == math.copysign(math.inf, -distance)))
    distance = abs(distance) if math.isfinite(distance) else abs(median(finite) - boundary)
    return (distance / deviation if deviation else math.inf if distance else 0.0), failing


def needed(values: Sequence[float] | np.ndarray, boundary: float, *, alpha: float = hypotheses.ALPHA) -> float:
    """Return how many values of this spread would tell their median from `boundary`, with a power of 80 %.

    Infinite where the median lies on the boundary or more than `MOST` would be needed; NaN below `MINIMUM_UNITS`
    values: from so few no number can be told. From little more it is a guess, as their spread is one.
    """
    values = np.asarray(values, float)
    shift, failing = standardised(values, boundary)
    if values.size < MINIMUM_UNITS or math.isnan(shift):
        return math.nan
    low, high = hypotheses.fewest(alpha) - 1, hypotheses.fewest(alpha)
    if math.isinf(shift):
        return float(high)

    def shown(size: int) -> bool:
        return decides(shift, (size,), (alpha / 2,), failing) >= POWER

    while not shown(high):
        if high == MOST:
            return math.inf
        low, high = high, min(2 * high, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return float(high)


def needed_for_share(successes: int, trials: int, bound: float) -> float:
    """Return how many trials of the observed share would put `bound` outside the share's exact interval."""
    share = successes / trials
    size = trials
    while size <= MOST_TASKS and share != bound:
        low, high = proportion_interval(round(share * size), size)
        if not low <= bound <= high:
            return float(size)
        size = math.ceil(size * 1.05) + 1
    return math.inf
