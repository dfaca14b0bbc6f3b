"""One comparison of two methods, from their runs to a verdict: what tables and claims share."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from kanbench.statistics import power, stats


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
        p_values: Of each statement that may be made (`stats.statement_p_values`).
        detectable: Smallest true distance from the margin that this many values would show with a power of 80 %.
        needed: How many units would tell the estimate from the nearest margin; NaN where that cannot be said.
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
    purpose: object,
    ratio: bool = True,
    lower_is_better: bool = True,
    apart: Collection[str] = (),
) -> Comparison:
    """Return the comparison of the runs of `method` with those of `reference`, paired by `stats.pairs`.

    Args:
        metric: Column that is compared. As a ratio it must be positive.
        margin: Smallest difference that matters: a factor minus one for ratios, units of the metric otherwise.
        purpose: Names the generator of the bootstrap, so that the interval can be computed again.
        apart: Columns in which the two sides differ on purpose.
    """
    pairs = stats.pairs(method, reference, metric, lower_is_better=lower_is_better, apart=apart)
    return of_pairs(pairs, margin=margin, purpose=purpose, ratio=ratio, lower_is_better=lower_is_better)


def of_pairs(
    pairs: pd.DataFrame,
    *,
    margin: float,
    purpose: object,
    ratio: bool = True,
    lower_is_better: bool = True,
    tests: int = 1,
) -> Comparison:
    """Return the comparison that the rows of `stats.pairs` make; `tests` of a family share the error rate."""
    usable = pairs[pairs["usable"]]
    complete = int(np.isfinite(usable["value"] - usable["reference_value"]).sum())
    runs = tuple(sorted({*usable["run"], *usable["reference_run"]}))
    if usable.empty:
        return Comparison(n_planned=len(pairs), runs=tuple(sorted({*pairs["run"], *pairs["reference_run"]})))
    values, unit = stats.units(pairs, stats.log_ratios(pairs) if ratio else stats.differences(pairs))
    found = of_values(
        values, unit, margin=margin, purpose=purpose, ratio=ratio, lower_is_better=lower_is_better, tests=tests
    )
    return replace(found, n_ok=complete, n_planned=len(pairs), runs=runs)


def of_values(
    values: np.ndarray,
    unit: str,
    *,
    margin: float,
    purpose: object,
    ratio: bool = True,
    lower_is_better: bool = True,
    tests: int = 1,
) -> Comparison:
    """Return the comparison that independent differences (of ratios: their logarithms) make."""
    bound = math.log1p(margin) if ratio else margin
    level = 1 - (1 - stats.LEVEL) / tests
    middle, back = stats.median(values), math.exp if ratio else float
    p_values = stats.statement_p_values(values, bound, lower_is_better=lower_is_better)
    if values.size < stats.MINIMUM_UNITS:
        low, high = float(values.min()), float(values.max())
        name, state = f"range over {values.size} {unit}", "undecided"
    else:
        low, high = stats.median_interval(values, stats.generator(*_parts(purpose)))
        name = f"{stats.interval_name(values.size)}, {values.size} {unit}"
        state = stats.verdict(
            low, high, bound, lower_is_better=lower_is_better, p_values=p_values, alpha=(1 - stats.LEVEL) / tests
        )
    nearest = min((bound, -bound), key=lambda end: abs(middle - end)) if math.isfinite(middle) else bound
    return Comparison(
        estimate=_back(back, middle),
        low=_back(back, low),
        high=_back(back, high),
        interval=name,
        unit=unit,
        values=values,
        state=state,
        p_values=p_values,
        detectable=_back(back, power.minimal_detectable_effect(values, level=level)),
        needed=power.needed(values, nearest, level=level),
        n_ok=int(np.isfinite(values).sum()),
        n_planned=values.size,
    )


def _parts(purpose: object) -> tuple[object, ...]:
    return purpose if isinstance(purpose, tuple) else (purpose,)


def _back(back, value: float) -> float:
    return value if math.isnan(value) or value == math.inf else back(value)


def needed_text(needed: float, unit: str, size: int) -> str:
    """Return how many units would decide, in words."""
    if math.isnan(needed):
        return f"at least {stats.MINIMUM_UNITS} {unit} are needed"
    if math.isinf(needed):
        return f"the estimate lies on the margin, no number of {unit} would decide it"
    return f"about {needed:.0f} {unit} would decide it (power 80 %, spread of {size})"
