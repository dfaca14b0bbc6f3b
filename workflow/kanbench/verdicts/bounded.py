"""Verdicts on what is held against bounds, value by value (counts, thresholds, trends), and on shares of tasks won."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from kanbench.statistics import power, stats
from kanbench.verdicts import criteria
from kanbench.verdicts.evidence import ENOUGH_TASKS, Evidence
from kanbench.verdicts.outcome import Outcome

NOUNS = {"count_ratio": "pairs", "threshold": "runs", "trend": "slopes", "monotone": "sweeps"}


def against_bounds(criterion: Mapping[str, Any], outcome: Outcome, found: pd.DataFrame) -> Outcome:
    """Return the verdict on values of which each must lie within bounds.

    What was counted holds of any network that it was counted on. What was trained for needs `stats.MINIMUM_UNITS`
    independent runs (a task and seed each), or is only seen. A missing run could lie within the bounds or outside, so
    that no verdict on all values stands beside one.

    Args:
        found: Columns `task`, `seed` and `value`; NaN for a value that has no ratio.
    """
    values, noun = found["value"].to_numpy(float), NOUNS[outcome.kind]
    refused = int(np.isnan(values).sum())
    if refused:
        reason = f"refused: {refused} of {values.size} {noun} have a value that is not positive, and so no ratio"
        return replace(outcome, verdict="undecided", reason=reason)
    outcome = replace(
        outcome,
        estimate=stats.median(values),
        low=float(values.min()),
        high=float(values.max()),
        interval=f"range over {values.size} {noun}",
    )
    low, high = criterion.get("at_least", -math.inf), criterion.get("at_most", math.inf)
    inside = (values >= low) & (values <= high)
    bounds = (f"at least {low:.3g}" if low > -math.inf else "", f"at most {high:.3g}" if high < math.inf else "")
    asked = " and ".join(text for text in bounds if text)
    reason = f"{inside.sum()} of {values.size} {noun} are {asked}"
    verdict = "holds" if inside.all() else "in part" if inside.any() else "fails"
    independent = len(found[["task", "seed"]].drop_duplicates())
    if not criterion["metric"].startswith(criteria.COUNTED) and independent < stats.MINIMUM_UNITS:
        seen = f"seen in {independent} run{'s' if independent > 1 else ''}, of which {stats.MINIMUM_UNITS} are needed"
        return replace(outcome, verdict="undecided", reason=f"{seen}: {reason}", needed=float(stats.MINIMUM_UNITS))
    if outcome.missing and verdict != "in part":
        return replace(outcome, verdict="undecided", reason=f"{outcome.missing} runs missing: {reason}")
    return replace(outcome, verdict=verdict, reason=reason)


def share_won(
    criterion: Mapping[str, Any],
    outcome: Outcome,
    evidence: Mapping[str, Evidence],
    unmeasured: Sequence[str],
    *,
    lower_is_better: bool,
) -> Outcome:
    """Return the verdict on a share of tasks won. A tie is no win; what decides a task is the median over its runs.

    The share must be established against every reference that counts, and is refuted by any of them at the error rate
    of one. A task with missing runs is lost for the one and won for the other.
    """
    sign = 1 if lower_is_better else -1
    level = 1 - (1 - stats.LEVEL) / len(evidence)
    bound = criterion["share"] - criterion["margin"]
    rows, lowest, highest = [], [], []
    for name, each in evidence.items():
        seen, size = sign * each.seen, len(each.units)
        if not size:
            continue
        ends = sign * each.units[["low", "high"]].to_numpy(float)
        surely, possibly = int(np.sum(ends.max(axis=1) < 0)), int(np.sum(ends.min(axis=1) < 0))
        won = int(np.sum(seen < 0))
        low, high = stats.proportion_interval(won, max(seen.size, 1))
        text = f"{won} of {seen.size} tasks, exact 95 % interval of the share"
        rows.append(
            {"reference": name, "estimate": won / max(seen.size, 1), "low": low, "high": high, "interval": text}
        )
        lowest.append(stats.proportion_interval(surely, size)[0])
        highest.append(stats.proportion_interval(possibly, size, level)[1])
    if not rows:
        return replace(outcome, verdict="undecided", reason=f"no evidence on any task; {_without(outcome)}")
    worst = min(rows, key=lambda row: row["estimate"])
    count = min(len(each.units) for each in evidence.values())
    needed = power.needed_for_share(round(worst["estimate"] * count), count, bound)
    outcome = replace(outcome, **worst, ratios=tuple(rows), unit="tasks", needed=needed)
    if count < ENOUGH_TASKS:
        verdict, reason = "undecided", f"{count} of the {ENOUGH_TASKS} tasks that a share of tasks needs"
    elif min(highest) < bound:
        verdict, reason = "fails", f"a share of at least {bound:.3g} is excluded"
    elif min(lowest) > bound and not unmeasured:
        verdict, reason = "holds", f"a share of at least {bound:.3g} is established"
    elif outcome.missing:
        verdict, reason = "undecided", f"{outcome.missing} runs missing: no verdict stands if either side lost them"
    elif min(lowest) > bound:
        reason = f"no reference chosen on validation, and none of {', '.join(unmeasured)} was measured"
        verdict = "undecided"
    else:
        verdict = "undecided"
        reason = f"a share of at least {bound:.3g} is neither established nor excluded; {_share_text(needed)}"
    return replace(outcome, verdict=verdict, reason="; ".join(part for part in (reason, _without(outcome)) if part))


def share_at_budgets(
    criterion: Mapping[str, Any], outcome: Outcome, quarter: Evidence | None, named: bool, *, lower_is_better: bool
) -> Outcome:
    """Return the outcome with the share won at a quarter of the budget; undecided where it lies beyond the bound."""
    decided = outcome.verdict in ("holds", "fails")
    if not named or quarter is None or not quarter.seen.size:
        alone = named and decided
        return replace(outcome, reason=f"{outcome.reason}; measured at one budget alone") if alone else outcome
    won = (quarter.seen < 0) if lower_is_better else (quarter.seen > 0)
    budgets = {"full": outcome.estimate, "quarter": float(np.mean(won))}
    bound = criterion["share"] - criterion["margin"]
    outcome = replace(outcome, budgets=budgets)
    if decided and (budgets["full"] - bound) * (budgets["quarter"] - bound) < 0:
        reason = f"depends on the budget: {budgets['full']:.3g} at the full one, {budgets['quarter']:.3g} at a quarter"
        return replace(outcome, verdict="undecided", reason=reason)
    return outcome


def _without(outcome: Outcome) -> str:
    return f"on {outcome.floors} tasks neither side beats its floor" if outcome.floors else ""


def _share_text(needed: float) -> str:
    if math.isinf(needed):
        return "the share lies on the bound, no number of tasks would decide it"
    return f"about {needed:.0f} tasks with the same share would decide it"
