"""Paired comparisons: differences, bootstrap intervals, tests, verdicts. Pure functions with explicit generators.

Conventions: a difference is method minus reference; a ratio is method over reference. A run that failed (diverged,
out of memory, timed out) counts as infinitely bad, so a failed run loses its pair; where both failed, or one was
skipped or is absent, there is no comparison and the pair is missing from the count of usable ones.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats as distributions

from kanbench.records.frame import AXES, FAILED

SIZES = ("layers", "width_factor", "taper")
"""Settings besides the standard axes that say how large a network is, where both methods have them."""
LEVEL = 0.95
RESAMPLES = 4000
MINIMUM_UNITS = 6
"""Fewest independent values for which a distribution-free 95 % interval of a median exists: 1 - 2^(1-n) >= 0.95."""
MODERATE = 31
"""Values from which the percentile bootstrap of a median keeps its level; below it falls short, to 87 % at seven."""
ENOUGH_TASKS = 8
"""Tasks from which a statement is about tasks of their kind; with fewer it is about just these tasks."""
SHARED = (
    *("task", "seed", "spec.dtype", "spec.device", "spec.configuration"),
    *("spec.training.steps", "spec.training.epochs", "spec.training.batch_size"),
)
"""What the two runs of a pair have in common besides the axes that both methods know."""


def generator(*purpose: object) -> np.random.Generator:
    """Return a numpy Generator that depends on `purpose` alone, so that an interval can be computed again."""
    key = hashlib.sha256("\x1f".join(map(str, purpose)).encode()).digest()
    return np.random.default_rng(np.frombuffer(key, dtype=np.uint32))


def pairs(
    method: pd.DataFrame,
    reference: pd.DataFrame | None,
    metric: str,
    *,
    reference_metric: str | None = None,
    lower_is_better: bool = True,
    counted: bool = False,
    apart: Collection[str] = (),
) -> pd.DataFrame:
    """Return one row a planned pair of runs that differ in their method only.

    Paired are runs of equal task, seed, precision, device and budget, and of equal value on every standard axis that
    both methods declare; an axis on which the two have no value in common (as in a comparison at equal parameters)
    does not tell pairs apart.

    Args:
        method, reference: Rows of a records frame. Without a reference, each run is compared with itself.
        metric: Column that is compared. `reference_metric` names another column for the reference.
        lower_is_better: Decides the sign of the infinity that stands for a failure.
        counted: The metric is counted or simulated rather than trained for (parameters, bytes): it holds whatever
            became of the run, so a failure is no loss.
        apart: Columns in which the two sides differ on purpose (a configuration, say), so that they pair up all the
            same.

    Returns:
        Columns `task`, `seed`, the shared axes, `run`, `reference_run`, `status`, `reference_status`, `value`,
        `reference_value` (infinite for a lost pair) and `usable`.
    """
    within, reference = reference is None, method if reference is None else reference
    keys = [*SHARED, *(a for a in _axis_columns() if _tells_apart(method, reference, a))]
    keys = [key for key in keys if key not in apart]
    left = _side(method, keys, metric, "", counted)
    right = _side(reference, keys, reference_metric or metric, "reference_", counted)
    both = left.merge(right, on=keys, how="inner", sort=True)
    if within:
        both = both[both["run"] == both["reference_run"]].reset_index(drop=True)
    worst = math.inf if lower_is_better else -math.inf
    lost, reference_lost = (both[f"{side}status"].isin(FAILED) & ~np.bool_(counted) for side in ("", "reference_"))
    both.loc[lost, "value"] = worst
    both.loc[reference_lost, "reference_value"] = worst
    both["usable"] = both["value"].notna() & both["reference_value"].notna() & ~(lost & reference_lost)
    return both.rename(columns={f"spec.method.settings.{axis}": axis for axis in AXES})


def _axis_columns() -> list[str]:
    return [f"spec.method.settings.{axis}" for axis in (*AXES, *SIZES)]


def _tells_apart(method: pd.DataFrame, reference: pd.DataFrame, column: str) -> bool:
    values = [set(side[column].dropna()) if column in side else set() for side in (method, reference)]
    return bool(values[0] & values[1])


def _side(rows: pd.DataFrame, keys: list[str], metric: str, prefix: str, counted: bool) -> pd.DataFrame:
    side = rows.reindex(columns=keys).copy()
    for key in keys:
        if not pd.api.types.is_numeric_dtype(side[key]):  # among numbers a merge takes missing for equal already
            side[key] = side[key].astype(object).where(side[key].notna(), "")
    values = rows[metric] if metric in rows else pd.Series(math.nan, index=rows.index)
    side[f"{prefix}run"] = rows["run"].to_numpy()
    side[f"{prefix}status"] = rows["status"].to_numpy()
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    side[f"{prefix}value"] = numbers.where((rows["status"] == "ok") | counted).to_numpy()
    return side


def differences(compared: pd.DataFrame) -> np.ndarray:
    """Return value - reference_value of the usable pairs; an infinity is a pair that a failure decided."""
    usable = compared[compared["usable"]]
    return (usable["value"] - usable["reference_value"]).to_numpy(float)


def log_ratios(compared: pd.DataFrame) -> np.ndarray:
    """Return ln(value / reference_value) of the usable pairs, for positive metrics such as errors and bytes.

    Two zeros make a ratio of one; a zero against a positive value is infinitely better.
    """
    usable = compared[compared["usable"]]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(usable["value"].to_numpy(float)) - np.log(usable["reference_value"].to_numpy(float))
    return np.where(np.isnan(logs), 0.0, logs)


def units(compared: pd.DataFrame, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Reduce paired values to independent ones: a median per task, or per task and seed where tasks are few.

    Runs of one task share what makes the task easy or hard, so they are not independent evidence about other tasks.
    With fewer than `ENOUGH_TASKS` tasks the statement is about just these tasks, and their seeds are what varies;
    repetitions in other settings (grid size, depth) are no new evidence either way.

    Returns:
        The values and what they are: "tasks", "seeds" (of one task) or "runs of n tasks".
    """
    usable = compared[compared["usable"]]
    tasks = usable["task"].nunique()
    by, unit = ["task", "seed"], f"runs of {tasks} tasks" if tasks > 1 else "seeds"
    if tasks >= ENOUGH_TASKS:
        by, unit = ["task"], "tasks"
    groups = usable[by].reset_index(drop=True).groupby(by, sort=True).indices
    reduced = [median(values[positions]) for _, positions in sorted(groups.items())]
    return np.asarray(reduced, float), unit


def median(values: np.ndarray) -> float:
    """Return the median. Half of the values at either infinity make it 0: neither side is ahead."""
    values = np.asarray(values, float)
    if values.size == 0:
        return math.nan
    return float(_medians(values[None, :])[0])


def _medians(rows: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.median(rows, axis=1), nan=0.0, posinf=math.inf, neginf=-math.inf)


def bootstrap_interval(
    values: Sequence[float] | np.ndarray,
    rng: np.random.Generator,
    *,
    statistic: str = "median",
    method: str = "percentile",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Return a bootstrap interval of the median or the mean of independent `values`.

    Args:
        values: The sample, shape (n,). Infinite values are allowed with the median.
        rng: Draws the resamples; an equal state gives an equal interval.
        method: `percentile`, or `bca` (Efron 1987) for the mean; the acceleration of BCa comes from the jackknife,
            which is not consistent for a median.

    Returns:
        Lower and upper end; both equal the value where n is 1.

    Raises:
        ValueError: no values, an unknown statistic or method, or `bca` of a median.
    """
    values = np.asarray(values, float)
    if values.size == 0:
        raise ValueError("no values to resample")
    reduce = {"median": _medians, "mean": lambda rows: rows.mean(axis=1)}.get(statistic)
    if reduce is None or method not in ("percentile", "bca") or (method == "bca" and statistic == "median"):
        raise ValueError(f"no bootstrap of the {statistic} by {method}")
    draws = reduce(values[rng.integers(values.size, size=(resamples, values.size))])
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == "bca":
        tails = _bca_tails(values, draws, tails)
    # The outer order statistics: interpolation between infinities would not be a number.
    low = np.quantile(draws, tails[0], method="lower")
    high = np.quantile(draws, tails[1], method="higher")
    return float(low), float(high)


def _bca_tails(values: np.ndarray, draws: np.ndarray, tails: np.ndarray) -> np.ndarray:
    below = (np.sum(draws < values.mean()) + np.sum(draws <= values.mean())) / (2 * draws.size)
    if not 0 < below < 1:
        return tails
    bias = distributions.norm.ppf(below)
    left_out = (values.sum() - values) / max(values.size - 1, 1)
    deviations = left_out.mean() - left_out
    spread = np.sum(deviations**2)
    acceleration = np.sum(deviations**3) / (6 * spread**1.5) if spread > 0 else 0.0
    shifted = bias + distributions.norm.ppf(tails)
    return distributions.norm.cdf(bias + shifted / (1 - acceleration * shifted))


def order_statistics_interval(values: Sequence[float] | np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of the median from order statistics, interpolated to `level` (Hettmansperger, Sheather 1986).

    Two neighbouring pairs of order statistics cover the median with exactly known probabilities on either side of the
    level; between them their interpolation keeps the level within about a point for continuous distributions. The
    range of the values where no pair reaches the level (below six values at 95 %); the outer statistic, which covers
    more, where the inner or the outer one is infinite.
    """
    ordered = np.sort(np.asarray(values, float))
    outer, inward = _depth(ordered.size, level)
    return _between(ordered, outer, inward), _between(ordered, ordered.size - 1 - outer, inward)


@cache
def _depth(size: int, level: float) -> tuple[int, float]:
    """Return how many values to leave out at each end, and how far to go on towards the next one."""
    tail, outside = (1 - level) / 2, 0
    while outside + 1 < size - outside - 1 and distributions.binom.cdf(outside, size, 0.5) <= tail + 1e-12:
        outside += 1
    outer = max(outside - 1, 0)
    wide, narrow = (1 - 2 * distributions.binom.cdf(depth - 1, size, 0.5) for depth in (outer + 1, outer + 2))
    share = (wide - level) / (wide - narrow) if wide > level else 0.0
    return outer, (size - outer - 1) * share / (outer + 1 + (size - 2 * (outer + 1)) * share)


def _between(ordered: np.ndarray, outer: int, inward: float) -> float:
    inner = outer + 1 if outer < ordered.size / 2 else outer - 1
    if inward == 0 or not np.isfinite(ordered[[outer, min(max(inner, 0), ordered.size - 1)]]).all():
        return float(ordered[outer])
    return float((1 - inward) * ordered[outer] + inward * ordered[inner])


def median_interval(values: Sequence[float] | np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % interval of the median that tables and claims print.

    From `MODERATE` values on the bootstrap interval; below, where that falls short of its level by up to eight points,
    the interpolated order statistics.
    """
    values = np.asarray(values, float)
    return order_statistics_interval(values) if values.size < MODERATE else bootstrap_interval(values, rng)


def interval_name(size: int) -> str:
    """Return how `median_interval` makes the interval of `size` values."""
    return "95 % order statistics" if size < MODERATE else "95 % bootstrap"


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
    null = np.ones(1)
    for rank in ranks:
        null = 0.5 * (np.pad(null, (0, rank)) + np.pad(null, (rank, 0)))
    total = int(ranks[positive].sum())
    less, greater = min(1.0, null[: total + 1].sum()), min(1.0, null[total:].sum())
    return float({"less": less, "greater": greater, "two-sided": min(1.0, 2 * min(less, greater))}[alternative])


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their family by Holm (1979), in the given order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, running = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def verdict(
    low: float,
    high: float,
    margin: float,
    *,
    lower_is_better: bool,
    p_values: Mapping[str, float] | None = None,
    alpha: float = 1 - LEVEL,
) -> str:
    """Return `better`, `worse`, `equivalent` or `undecided` for the interval of a difference.

    Better or worse: the whole interval lies beyond the margin. Equivalent: it lies within the margin. Either also asks
    that the p-value of that very statement (`statement_p_values`) is at most `alpha`. Anything else is undecided.
    """
    if not (low <= high and margin >= 0):
        return "undecided"
    below, above = ("better", "worse") if lower_is_better else ("worse", "better")
    state = "undecided"
    if -margin <= low and high <= margin:
        state = "equivalent"
    elif high < -margin:
        state = below
    elif low > margin:
        state = above
    return state if state == "undecided" or (p_values or {}).get(state, 0.0) <= alpha else "undecided"


def statement_p_values(
    values: Sequence[float] | np.ndarray, margin: float, *, lower_is_better: bool
) -> dict[str, float]:
    """Return the p-value of each statement about differences: the smaller it is, the better established.

    `better`, `worse`, `not_better` and `not_worse` are one-sided tests against the margin, `equivalent` both of them
    (Schuirmann 1987), `different` either. All are doubled, so that 0.05 goes with the ends of a 95 % interval.
    """
    values = np.asarray(values, float) * (1 if lower_is_better else -1)
    found = {
        "better": signed_rank(values + margin, "less"),
        "not_better": signed_rank(values + margin, "greater"),
        "not_worse": signed_rank(values - margin, "less"),
        "worse": signed_rank(values - margin, "greater"),
    }
    found["equivalent"] = max(found["not_better"], found["not_worse"])
    found["different"] = 2 * min(found["better"], found["worse"])
    return {statement: min(1.0, 2 * p) for statement, p in found.items()}


def established(statement: str, low: float, high: float, margin: float, *, lower_is_better: bool) -> bool:
    """Return whether an interval of differences lies where a statement of `statement_p_values` says."""
    if not lower_is_better:
        low, high = -high, -low
    return {
        "better": high < -margin,
        "not_better": low > -margin,
        "not_worse": high <= margin,
        "worse": low > margin,
        "equivalent": -margin <= low and high <= margin,
        "different": high < -margin or low > margin,
    }[statement]


def proportion_interval(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson 1934) interval of a share."""
    interval = distributions.binomtest(successes, trials).proportion_ci(level, method="exact")
    return float(interval.low), float(interval.high)


def failure_rates(frame: pd.DataFrame, by: Sequence[str] = ("method",)) -> pd.DataFrame:
    """Return how often runs that were tried failed: `tried`, `failed`, `rate` and its exact interval.

    Skipped and absent runs were not tried. NaN where nothing was.
    """
    rows = []
    for key, group in frame.groupby(list(by), sort=True):
        failed = int(group["status"].isin(FAILED).sum())
        tried = failed + int((group["status"] == "ok").sum())
        low, high = proportion_interval(failed, tried) if tried else (math.nan, math.nan)
        rate = failed / tried if tried else math.nan
        rows.append([*key, tried, failed, rate, low, high])
    return pd.DataFrame(rows, columns=[*by, "tried", "failed", "rate", "low", "high"])
