"""One comparison of two methods, from their runs to a verdict: what tables and claims share."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from kanbench.statistics import hypotheses, power, stats


@dataclass(frozen=True)
class Comparison:
    """What paired runs say about a difference or a ratio.

    Attributes:
        estimate, low, high: Median over `unit`s and its 95 % interval (below `stats.MINIMUM_UNITS` the range); ratios
            as ratios.
        interval: How the interval was made and over what.
        unit: `tasks` or `seeds`: what varies.
        values: One independent value a unit, of ratios the logarithm.
        state: better / worse / equivalent / undecided against the margin.
        p_values: Of each statement that may be made (`hypotheses.statement_p_values`).
        detectable: Smallest true distance from the margin that this many values would show with a power of 80 %.
        needed: How many units would tell the estimate from the nearest margin; NaN where that cannot be said.
        refused: Pairs with a value that is not positive, which have no ratio: then nothing is compared.
        n_ok, n_planned: Pairs with two measured values, and planned pairs.
    """

    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    interval: str = "no pairs"
    unit: str = "seeds"
    values: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    state: str = "no pairs"
    p_values: dict[str, float] = field(default_factory=dict)
    detectable: float = math.nan
    needed: float = math.nan
    n_ok: int = 0
    n_planned: int = 0
    refused: int = 0
    runs: tuple[str, ...] = field(default=(), repr=False)

    @property
    def decidable(self) -> bool:
        """Whether there are values enough for a 95 % interval to exist."""
        return self.values.size >= stats.MINIMUM_UNITS


def compare(
    method: pd.DataFrame,
    reference: pd.DataFrame,
    metric: str,
    *,
    margin: float,
    ratio: bool = True,
    lower_is_better: bool = True,
    apart: Collection[str] = (),
) -> Comparison:
    """Return the comparison of the runs of `method` with those of `reference`, paired by `stats.pairs`.

    Args:
        metric: Column that is compared. As a ratio it must be positive.
        margin: Smallest difference that matters: a factor minus one for ratios, units of the metric otherwise.
        apart: Columns in which the two sides differ on purpose.
    """
    pairs = stats.pairs(method, reference, metric, lower_is_better=lower_is_better, apart=apart)
    return of_pairs(pairs, margin=margin, ratio=ratio, lower_is_better=lower_is_better)


def of_pairs(pairs: pd.DataFrame, *, margin: float, ratio: bool = True, lower_is_better: bool = True) -> Comparison:
    """Return the comparison that the rows of `stats.pairs` make."""
    usable = pairs[pairs["usable"]]
    complete = int(np.isfinite(usable["value"] - usable["reference_value"]).sum())
    runs = tuple(sorted({*usable["run"], *usable["reference_run"]}))
    if usable.empty:
        return Comparison(n_planned=len(pairs), runs=tuple(sorted({*pairs["run"], *pairs["reference_run"]})))
    effects = stats.log_ratios(pairs) if ratio else stats.differences(pairs)
    if refused := int(np.isnan(effects).sum()):
        what = f"no ratio of values that are not positive, {refused} of {len(pairs)} pairs"
        return Comparison(interval=what, state="undecided", refused=refused, n_planned=len(pairs), runs=runs)
    values, unit = stats.units(pairs, effects)
    found = of_values(values, unit, margin=margin, ratio=ratio, lower_is_better=lower_is_better)
    return replace(found, n_ok=complete, n_planned=len(pairs), runs=runs)


def of_values(
    values: np.ndarray, unit: str, *, margin: float, ratio: bool = True, lower_is_better: bool = True
) -> Comparison:
    """Return the comparison that independent differences (of ratios: their logarithms) make at one look, by itself."""
    bound = math.log1p(margin) if ratio else margin
    middle, (low, high, _) = stats.median(values), interval_of(values, unit)
    p_values = hypotheses.statement_p_values(values, bound, lower_is_better=lower_is_better)
    state = "undecided"
    if values.size >= stats.MINIMUM_UNITS:
        state = stats.verdict(low, high, bound, lower_is_better=lower_is_better, p_values=p_values)
    nearest = min((bound, -bound), key=lambda end: abs(middle - end)) if math.isfinite(middle) else bound
    return Comparison(
        **shown(values, unit, ratio=ratio),
        unit=unit,
        values=values,
        state=state,
        p_values=p_values,
        detectable=back(power.minimal_detectable_effect(values), ratio=ratio),
        needed=power.needed(values, nearest) if state == "undecided" else math.nan,
        n_ok=int(np.isfinite(values).sum()),
        n_planned=values.size,
    )


def interval_of(values: np.ndarray, unit: str) -> tuple[float, float, str]:
    """Return the ends of the interval of the median, and its name; of fewer values than have one, their range."""
    if values.size < stats.MINIMUM_UNITS:
        return float(values.min()), float(values.max()), f"range over {values.size} {unit}"
    return *stats.median_interval(values), f"{stats.INTERVAL}, {values.size} {unit}"


def shown(values: np.ndarray, unit: str, *, ratio: bool) -> dict[str, Any]:
    """Return `estimate`, `low`, `high` and `interval` of independent values; of logarithms of ratios as ratios."""
    low, high, name = interval_of(values, unit)
    estimate, low, high = (back(value, ratio=ratio) for value in (stats.median(values), low, high))
    return {"estimate": estimate, "low": low, "high": high, "interval": name}


def back(value: float, *, ratio: bool) -> float:
    """Return a value as it is shown: the ratio of a logarithm, a difference as it is."""
    return math.exp(value) if ratio and not math.isnan(value) and value < math.inf else value
