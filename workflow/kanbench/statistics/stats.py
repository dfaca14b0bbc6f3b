"""Paired comparisons: pairs, differences and ratios, independent units, medians and their intervals. Pure functions.

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
MINIMUM_UNITS = 6
"""Fewest independent values for which a distribution-free 95 % interval of a median exists: 1 - 2^(1-n) >= 0.95."""
INTERVAL = "95 % order statistics"
"""How `median_interval` makes its interval, at every number of values."""
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
    within: Collection[str] = (),
    lone: bool = False,
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
        within: Further columns in which the two runs of a pair must agree.
        lone: Whether a run that has partners at other seeds and none at its own makes a row too, with an absent
            partner: its pair is missing.

    Returns:
        Columns `task`, `seed`, the shared axes, `run`, `reference_run`, `status`, `reference_status`, `value`,
        `reference_value` (infinite for a lost pair), `usable` and `unfinished` (both runs failed).
    """
    within_run, reference = reference is None, method if reference is None else reference
    keys = [*SHARED, *(a for a in _axis_columns() if _tells_apart(method, reference, a))]
    keys = [key for key in [*keys, *within] if key not in apart]
    left = _side(method, keys, metric, "", counted)
    right = _side(reference, keys, reference_metric or metric, "reference_", counted)
    both = left.merge(right, on=keys, how="inner", sort=True)
    if lone and not within_run and {*left["run"], *right["reference_run"]} - {*both["run"], *both["reference_run"]}:
        both = pd.concat([both, _lone(both, left, right, keys)], ignore_index=True)
    if within_run:
        both = both[both["run"] == both["reference_run"]].reset_index(drop=True)
    worst = math.inf if lower_is_better else -math.inf
    lost, reference_lost = (both[f"{side}status"].isin(FAILED) & ~np.bool_(counted) for side in ("", "reference_"))
    both.loc[lost, "value"] = worst
    both.loc[reference_lost, "reference_value"] = worst
    both["unfinished"] = lost & reference_lost
    both["usable"] = both["value"].notna() & both["reference_value"].notna() & ~both["unfinished"]
    return both.rename(columns={f"spec.method.settings.{axis}": axis for axis in AXES})


def _lone(both: pd.DataFrame, left: pd.DataFrame, right: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return a row for every run of either side whose cell has pairs at other seeds and none at this one."""
    cell = [key for key in keys if key != "seed"]
    rows = []
    for side, prefix, other in ((left, "", "reference_"), (right, "reference_", "")):
        paired = side.merge(both[cell].drop_duplicates(), on=cell)
        alone = paired[~paired[f"{prefix}run"].isin(both[f"{prefix}run"])]
        blank = {f"{other}run": "", f"{other}status": "absent", f"{other}value": math.nan}
        rows.append(alone.assign(**blank)[both.columns])
    return pd.concat(rows, ignore_index=True).astype(both.dtypes.to_dict())


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

    An infinity is a pair that a failure decided. A value that is not positive has no ratio: NaN.
    """
    usable = compared[compared["usable"]]
    logs = []
    for side in ("", "reference_"):
        values = usable[f"{side}value"].to_numpy(float)
        failed = usable[f"{side}status"].isin(FAILED).to_numpy() & np.isinf(values)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs.append(np.where(failed, values, np.where(values > 0, np.log(values), math.nan)))
    return logs[0] - logs[1]


def units(compared: pd.DataFrame, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Reduce paired values to independent ones: a median per task and seed.

    The tasks are given, their seeds are what varies, however many tasks there are. Runs of one task and seed in other
    settings (grid size, depth) are no new evidence.

    Returns:
        The values and what they are: "seeds" (of one task) or "runs of n tasks".
    """
    usable = compared[compared["usable"]]
    tasks = usable["task"].nunique()
    by = ["task", "seed"]
    groups = usable[by].reset_index(drop=True).groupby(by, sort=True).indices
    reduced = [median(values[positions]) for _, positions in sorted(groups.items())]
    return np.asarray(reduced, float), f"runs of {tasks} tasks" if tasks > 1 else "seeds"


def median(values: np.ndarray) -> float:
    """Return the median. Half of the values at either infinity make it 0: neither side is ahead."""
    values = np.asarray(values, float)
    if values.size == 0:
        return math.nan
    return float(_medians(values[None, :])[0])


def _medians(rows: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.median(rows, axis=1), nan=0.0, posinf=math.inf, neginf=-math.inf)


def median_interval(values: Sequence[float] | np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of the median from order statistics: its coverage is at least `level` for any distribution.

    The innermost pair of order statistics, equally far from either end, that covers the median with the probability
    `level` or more; the binomial distribution says how often (Conover 1999, section 3.2). It is the set of medians that
    the sign test does not reject. The range of the values where no pair reaches the level (below six values at 95 %).
    """
    ordered = np.sort(np.asarray(values, float))
    outside = outer_values(ordered.size, level)
    return float(ordered[outside]), float(ordered[ordered.size - 1 - outside])


@cache
def outer_values(size: int, level: float = LEVEL) -> int:
    """Return how many values at each end lie outside the interval of the median of `size` values."""
    tails = distributions.binom.cdf(np.arange(size), size, 0.5)
    return max(0, int(np.searchsorted(tails, (1 - level) / 2 + 1e-12, side="right")) - 1)


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
