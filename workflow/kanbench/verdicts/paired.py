"""A paired claim from its evidence to its verdict: looks, references, family, missing runs and budgets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kanbench.statistics import hypotheses, looks, power, stats
from kanbench.statistics.hypotheses import ALPHA
from kanbench.verdicts import comparison, references
from kanbench.verdicts.evidence import ENOUGH_TASKS, KIND, Evidence
from kanbench.verdicts.outcome import Outcome
from kanbench.verdicts.references import Choice

CONTRARY = {"better": "not_better", "not_worse": "worse", "equivalent": "different", "worse": "not_worse"}
"""What a paired claim may expect, and the statement that refutes it."""
SIDES = ("holds", "fails")


@dataclass(frozen=True)
class Case:
    """A paired claim with its evidence, before its family is known.

    Attributes:
        evidence: By reference, of those that were measured and that the verdict rests on.
        beside: By reference, of other dense forms, which are shown and do not count.
        unmeasured: References that the verdict needs and no record has.
    """

    claim: Mapping[str, Any]
    choice: Choice
    evidence: Mapping[str, Evidence]
    beside: Mapping[str, Evidence] = field(default_factory=dict)
    unmeasured: tuple[str, ...] = ()

    @property
    def criterion(self) -> Mapping[str, Any]:
        return self.claim["criterion"]

    @property
    def ratio(self) -> bool:
        return self.criterion["kind"] == "paired_ratio"

    @property
    def lower(self) -> bool:
        return self.claim["direction"] == "lower"

    @property
    def bound(self) -> float:
        """The margin in the units of the values."""
        return math.log1p(self.criterion["margin"]) if self.ratio else self.criterion["margin"]

    @property
    def by_tasks(self) -> bool:
        return self.claim["scope"] == KIND

    @property
    def statements(self) -> dict[str, str]:
        """The statement that each side of the verdict rests on."""
        return {"holds": self.criterion["expect"], "fails": CONTRARY[self.criterion["expect"]]}

    @property
    def number(self) -> int:
        """How many looks share the error."""
        return 1 if self.by_tasks else len(self.claim["looks"])

    @property
    def reference(self) -> str:
        """The reference that is shown: of several the one that does best against the method."""
        sign = 1 if self.lower else -1
        return max(self.evidence, key=lambda name: sign * _median(self.evidence[name].seen))

    @property
    def shown(self) -> Evidence:
        return self.evidence[self.reference]

    def reached(self) -> list[int]:
        """Return the sizes of the looks that are planned: numbers of seeds, of a claim on tasks their number."""
        if self.by_tasks:
            size = min(len(each.units) for each in self.evidence.values())
            return [size] if size >= ENOUGH_TASKS else []
        seeds = min(len(each.seeds) for each in self.evidence.values())
        return [size for size in self.claim["looks"] if size <= seeds]

    def units_at(self, size: int, reference: str):
        """Return the units that a look of this size takes."""
        each = self.evidence[reference]
        return each.units if self.by_tasks else each.first(size)

    def p_values(self, side: str, *, filled: bool = True, complete: bool = False) -> list[float]:
        """Return the p-value of one side of the verdict at each look that is reached.

        Args:
            filled: Whether missing runs are filled in to the worst for that side, or left out.
            complete: Whether to pretend that no reference is unmeasured.
        """
        found = []
        for size in self.reached():
            each = [self._tests(self.units_at(size, name), filled) for name in self.evidence]
            measured = complete or not self.unmeasured
            found.append(references.combine(each, self.statements[side], all_measured=measured))
        return found

    def _tests(self, units, filled: bool) -> dict[str, float]:
        seen = units["seen"].dropna().to_numpy(float)
        low, high = (units[name].to_numpy(float) for name in ("low", "high")) if filled else (seen, seen)
        return hypotheses.statement_p_values(low, self.bound, lower_is_better=self.lower, highest=high)

    def smallest(self, side: str) -> float:
        """Return the smallest p-value that this side could reach at the sizes that are planned."""
        statement = self.statements[side]
        if any(each.refused for each in self.evidence.values()):
            return 1.0
        any_of = statement in ("worse", "not_better")
        if self.unmeasured and not any_of:
            return 1.0
        sizes = [min(len(self.units_at(size, name)) for name in self.evidence) for size in self.reached()]
        least = looks.smallest_over_looks(sizes, self.number)
        return min(1.0, least * (len(self.evidence) if any_of else 1))


def _median(values: np.ndarray) -> float:
    return stats.median(values) if values.size else -math.inf


def judge(cases: Sequence[Case], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes of the paired claims of one family, with their verdicts.

    P-values are taken over all looks, then adjusted by Holm among the members that could reject at their size; either
    side by itself, so that the chance of any false `holds` of a family is at most 2.5 %, and that of any false `fails`.
    """
    over, adjusted, able = {}, {}, {}
    for side in SIDES:
        smallest = [case.smallest(side) for case in cases]
        over[side] = [looks.over_looks(case.p_values(side), case.number) for case in cases]
        able[side] = hypotheses.able_to_reject(smallest)
        adjusted[side] = hypotheses.adjusted(over[side], smallest)
    judged = []
    for position, (case, outcome) in enumerate(zip(cases, outcomes, strict=True)):
        counted = max(sum(able[side]) + (not able[side][position]) for side in SIDES)
        outcome = replace(
            outcome,
            p_value=over["holds"][position],
            p_holm=adjusted["holds"][position],
            p_against=over["fails"][position],
            p_against_holm=adjusted["fails"][position],
            members=max(sum(able[side]) for side in SIDES) if any(able[side][position] for side in SIDES) else 0,
        )
        judged.append(_decide(case, _described(case, outcome, counted), counted))
    return judged


def _described(case: Case, outcome: Outcome, members: int) -> Outcome:
    """Fill in what was measured, against the reference that is shown and against each."""
    shown = case.shown
    rows = [
        {"reference": name, **comparison.shown(each.seen, each.unit, ratio=case.ratio)}
        for name, each in {**case.evidence, **case.beside}.items()
        if each.seen.size and not each.refused
    ]
    outcome = replace(
        outcome,
        reference=case.reference,
        chosen=case.choice.how,
        ratios=tuple(rows),
        looks=() if case.by_tasks else tuple(case.claim["looks"]),
        unit=shown.unit,
        missing=shown.missing,
        unfinished=shown.unfinished,
        floors=shown.floors,
    )
    if shown.refused or not shown.seen.size:
        return outcome
    alpha = ALPHA / members
    found = comparison.shown(shown.seen, shown.unit, ratio=case.ratio)
    detectable = power.minimal_detectable_effect(shown.seen, alpha=alpha * looks.shares(case.number)[-1])
    return replace(outcome, **found, detectable=comparison.back(detectable, ratio=case.ratio))


def _decide(case: Case, outcome: Outcome, members: int) -> Outcome:
    p_values = {"holds": outcome.p_holm, "fails": outcome.p_against_holm}
    raw = {"holds": outcome.p_value, "fails": outcome.p_against}
    outcome = replace(outcome, comparison="undecided")
    for side in SIDES:
        if p_values[side] > ALPHA + hypotheses.ROUNDING:
            continue
        level = ALPHA * raw[side] / p_values[side]
        position = looks.deciding(case.p_values(side), case.number, level)
        return _decided(case, outcome, side, position)
    return replace(outcome, verdict="undecided", **_undecided(case, outcome, members))


def _decided(case: Case, outcome: Outcome, side: str, position: int) -> Outcome:
    size = case.reached()[position]
    values = case.units_at(size, case.reference)["seen"].dropna().to_numpy(float)
    found = comparison.shown(values, outcome.unit, ratio=case.ratio)
    low, high, _ = comparison.interval_of(values, outcome.unit)
    statement, expect = case.statements[side], case.criterion["expect"]
    state = stats.verdict(low, high, case.bound, lower_is_better=case.lower)
    state = statement if statement in ("better", "worse", "equivalent") else state
    reason = f"{_words(statement)} at a margin of {margin_text(case)}; asked: {_words(expect)}"
    later = 0 if case.by_tasks else len(case.shown.seeds) - size
    if later:
        reason += f"; {later} further seeds wait for the next look" if position + 1 < case.number else ""
    outcome = replace(outcome, **found, verdict=side, comparison=state, look=position + 1)
    return replace(outcome, reason=reason + _without(outcome))


def _undecided(case: Case, outcome: Outcome, members: int) -> dict[str, Any]:
    """Return the reason of an undecided claim, and how many units would decide it."""
    shown, planned = case.shown, case.reached()
    refused = sum(each.refused for each in case.evidence.values())
    if refused:
        return {"reason": f"refused: {refused} pairs have a value that is not positive, and so no ratio"}
    if not shown.seen.size:
        return {"reason": "no evidence" + _without(outcome)}
    seen = {side: looks.over_looks(case.p_values(side, filled=False), case.number) for side in SIDES}
    if outcome.missing and min(seen.values()) <= ALPHA:
        reason = f"{outcome.missing} runs missing: no verdict stands if either side may have lost them"
        return {"reason": reason}
    if case.unmeasured and looks.over_looks(case.p_values("holds", complete=True), case.number) <= ALPHA:
        return {"reason": f"no reference chosen on validation, and none of {', '.join(case.unmeasured)} was measured"}
    needed = needed_units(case, members)
    sought = needed_text(case, needed, members)
    if not planned:
        size = len(shown.units) if case.by_tasks else len(shown.seeds)
        first = ENOUGH_TASKS if case.by_tasks else case.claim["looks"][0]
        what = "tasks that a statement about their kind needs" if case.by_tasks else "seeds of the first look"
        reason = f"{size} of the {first} {what}"
    elif outcome.low <= outcome.high and _beyond(case, outcome):
        p = min(outcome.p_holm, outcome.p_against_holm)
        reason = f"the interval says {_beyond(case, outcome)}, the tests (p {p:.2g} over looks and family) do not"
    else:
        reason = f"the interval reaches across the margin of {margin_text(case)}; asked: "
        reason += _words(case.criterion["expect"])
    between = f"; {_between(case)}" if planned and not case.by_tasks and _between(case) else ""
    return {"reason": f"{reason}{between}; {sought}{_without(outcome)}", "needed": needed}


def _beyond(case: Case, outcome: Outcome) -> str:
    """Return which side of the verdict the interval lies on, in words."""
    low, high, _ = comparison.interval_of(case.shown.seen, "")
    if case.shown.seen.size < stats.MINIMUM_UNITS:
        return ""
    for statement in case.statements.values():
        if stats.established(statement, low, high, case.bound, lower_is_better=case.lower):
            return _words(statement)
    return ""


def _between(case: Case) -> str:
    seeds, planned = len(case.shown.seeds), case.reached()
    later = [size for size in case.claim["looks"] if size > seeds]
    if seeds == planned[-1]:
        return ""
    return f"{seeds - planned[-1]} seeds after the look at {planned[-1]} wait for {later[0]}" if later else ""


def _without(outcome: Outcome) -> str:
    """Return what was no evidence, in words."""
    parts = []
    if outcome.floors:
        parts.append(f"on {outcome.floors} tasks neither side beats its floor")
    if outcome.unfinished:
        parts.append(f"in {outcome.unfinished} pairs both runs failed")
    if outcome.missing:
        parts.append(f"{outcome.missing} runs missing")
    return "".join(f"; {part}" for part in parts)


def margin_text(case: Case) -> str:
    """Return the margin of a paired claim in words."""
    return f"a factor of {1 + case.criterion['margin']:.3g}" if case.ratio else f"{case.criterion['margin']:.3g}"


def _words(statement: str) -> str:
    return statement.replace("_", " ")


def needed_units(case: Case, members: int) -> float:
    """Return at how many units the rule would decide the claim with a power of 80 %: seeds of a look, or tasks.

    Infinite where the last look would not, or no number of tasks; NaN below six values.
    """
    sign = 1 if case.lower else -1
    values, bound = sign * case.shown.seen, case.bound
    ends = {"better": [-bound], "not_worse": [bound], "worse": [bound], "equivalent": [-bound, bound]}
    return max(_needed(case, values, end, members) for end in ends[case.criterion["expect"]])


def _needed(case: Case, values: np.ndarray, end: float, members: int) -> float:
    if case.by_tasks:
        return power.needed(values, end, alpha=ALPHA / members)
    shift, failing = power.standardised(values, end)
    if values.size < stats.MINIMUM_UNITS or math.isnan(shift):
        return math.nan
    sizes, levels = sizes_and_levels(case, members)
    for look, size in enumerate(case.claim["looks"], start=1):
        if math.isinf(shift) or power.decides(shift, sizes[:look], levels[:look], failing) >= power.POWER:
            return float(size)
    return math.inf


def sizes_and_levels(case: Case, members: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the number of values at each look and its one-sided level, for a claim whose seeds vary."""
    each = len(case.shown.units) / max(1, len(case.shown.seeds))
    sizes = tuple(min(power.MOST, max(1, round(size * each))) for size in case.claim["looks"])
    return sizes, tuple(ALPHA / 2 / members * share for share in looks.shares(case.number))


def needed_text(case: Case, needed: float, members: int) -> str:
    """Return what would decide a claim, in words."""
    if case.by_tasks:
        if math.isnan(needed):
            return f"at least {max(ENOUGH_TASKS, hypotheses.fewest(ALPHA / members))} tasks can decide it"
        if math.isinf(needed):
            return f"not even {power.MOST} tasks would decide it"
        return f"about {needed:.0f} tasks would decide it (power 80 %)"
    if math.isnan(needed):
        late = set(looks.cannot_decide(case.claim["looks"], members))
        able = [size for size in case.claim["looks"] if size not in late]
        return f"{able[0]} seeds are the fewest that can decide it" if able else "no declared look can decide it"
    if math.isinf(needed):
        return f"even the last look, {case.claim['looks'][-1]} seeds, would leave it undecided (power below 80 %)"
    return f"the look at {needed:.0f} seeds would decide it (power 80 %)"


def at_budgets(outcome: Outcome, case: Case, quarter: Evidence | None, named: bool) -> Outcome:
    """Return the outcome with the value at a quarter of the budget; undecided where the sign depends on the budget.

    The sign is that of the difference (the logarithm of the ratio). It differs where one of the two values lies beyond
    the margin; of two smaller than what matters it does not count.
    """
    if not named:
        return outcome
    if quarter is None or not quarter.seen.size or quarter.refused or math.isnan(outcome.estimate):
        if outcome.verdict in SIDES:
            return replace(outcome, reason=f"{outcome.reason}; measured at one budget alone")
        return outcome
    less = stats.median(quarter.seen)
    budgets = {"full": outcome.estimate, "quarter": comparison.back(less, ratio=case.ratio)}
    outcome = replace(outcome, budgets=budgets)
    full = (math.log(outcome.estimate) if outcome.estimate > 0 else -math.inf) if case.ratio else outcome.estimate
    if full * less < 0 and max(abs(full), abs(less)) > case.bound and outcome.verdict in SIDES:
        reason = f"depends on the budget: {budgets['full']:.3g} at the full one, {budgets['quarter']:.3g} at a quarter"
        return replace(outcome, verdict="undecided", comparison="undecided", look=0, reason=reason)
    return outcome
