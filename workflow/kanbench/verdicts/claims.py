"""Computes a verdict on every statement of `paper_figures/claims.yaml` from a record set. Nothing is typed in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kanbench.base import paths, schema
from kanbench.base.errors import Finding, InvalidInput
from kanbench.statistics import power, stats
from kanbench.verdicts import comparison as comparisons
from kanbench.verdicts import criteria

CONTRARY = {"better": "not_better", "not_worse": "worse", "equivalent": "different", "worse": "not_worse"}
"""What a paired claim may expect, and the statement that refutes it."""
PAIRED = ("paired_ratio", "paired_difference")


@dataclass(frozen=True)
class Outcome:
    """A claim with what the records say about it.

    Attributes:
        estimate, low, high: Measured value and its interval, NaN where there is none; ratios as ratios.
        interval: How the interval was made and over what.
        comparison: better / worse / equivalent / undecided for paired comparisons, else empty.
        p_value, p_holm: Of the statement, alone and adjusted inside its family; `p_against`, `p_against_holm`: of its
            contrary. All are doubled one-sided values, so that 0.05 goes with a 95 % interval.
        verdict: holds / in part / fails / undecided / no records.
        n_ok, n_planned: Pairs (runs for a threshold) with a measured value, and planned ones.
        detectable: Smallest true distance from the margin that this many independent values would show (power 0.8).
        unit, needed: What varies, and how many of it would decide an undecided claim with a power of 0.8.
        reason: Why the verdict is what it is, in a sentence.
    """

    id: str
    statement: str
    source: str
    claimed: str
    experiments: tuple[str, ...]
    family: str
    kind: str
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    interval: str = ""
    n_ok: int = 0
    n_planned: int = 0
    comparison: str = ""
    p_value: float = math.nan
    p_holm: float = math.nan
    p_against: float = math.nan
    p_against_holm: float = math.nan
    detectable: float = math.nan
    unit: str = ""
    needed: float = math.nan
    verdict: str = "no records"
    reason: str = ""
    runs: tuple[str, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON: NaN and infinities become null and text."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("infinite" if value > 0 else "-infinite")
    return list(value) if isinstance(value, tuple) else value


def load(path: Path) -> list[dict[str, Any]]:
    """Return the claims that the YAML file `path` declares.

    Raises:
        InvalidInput: unknown keys, missing ones, repeated ids and families that are not declared, all at once.
    """
    label = paths.relative(path)
    content = schema.read_yaml(path, label)
    problems = schema.findings(content, "claims", label)
    if problems:
        raise InvalidInput(problems)
    seen: set[str] = set()
    for position, claim in enumerate(content["claims"]):
        where = f"claims.{position}"
        if claim["id"] in seen:
            problems.append(Finding(label, f"{where}.id", claim["id"], "each id once", "rename one of the two"))
        seen.add(claim["id"])
        family = claim.get("family")
        if family and family not in content["families"]:
            known = ", ".join(content["families"])
            step = "declare the family or correct the name"
            problems.append(Finding(label, f"{where}.family", family, f"one of {known}", step))
        problems += [
            Finding(
                label,
                f"{where}.criterion.{key}",
                "missing",
                f"{key}, which {claim['criterion']['kind']} needs",
                "add it",
            )
            for key in criteria.missing(claim["criterion"])
        ]
    if problems:
        raise InvalidInput(problems)
    return content["claims"]


@dataclass(frozen=True)
class _Evidence:
    """The values of one claim: of paired kinds one independent value a unit, else one a pair."""

    values: np.ndarray
    unit: str = ""
    margin: float = 0.0


def evaluate(claims: Sequence[Mapping[str, Any]], frame: pd.DataFrame) -> list[Outcome]:
    """Return the outcome of every claim, in the order of declaration.

    A paired claim is tested against its own margin, once for what it states and once for the contrary. Either set of
    p-values is adjusted by Holm inside the declared family, so that the chance of any false `holds` and that of any
    false `fails` of a family are at most 2.5 % each. Claims without records do not count into the family: nothing was
    tested.
    """
    measured = [_measure(claim, frame) for claim in claims]
    tested = [position for position, (_, evidence) in enumerate(measured) if evidence and _is_paired(claims[position])]
    families = {claims[i].get("family") or claims[i]["id"] for i in tested}
    outcomes = [outcome for outcome, _ in measured]
    for family in families:
        members = [i for i in tested if (claims[i].get("family") or claims[i]["id"]) == family]
        _compare(claims, outcomes, [measured[i][1] for i in members], members)
    return [
        _decide(claim, outcome, evidence) if evidence else outcome
        for claim, outcome, (_, evidence) in zip(claims, outcomes, measured, strict=True)
    ]


def _is_paired(claim: Mapping[str, Any]) -> bool:
    return claim["criterion"]["kind"] in PAIRED


def _compare(
    claims: Sequence[Mapping[str, Any]], outcomes: list[Outcome], evidence: Sequence[_Evidence], members: Sequence[int]
) -> None:
    """Fill in, for the paired claims of one family, estimate, interval and p-values."""
    found = []
    for position, item in zip(members, evidence, strict=True):
        found.append(
            comparisons.of_values(
                item.values,
                item.unit,
                margin=item.margin,
                purpose=("claim", claims[position]["id"]),
                ratio=claims[position]["criterion"]["kind"] == "paired_ratio",
                lower_is_better=claims[position]["direction"] == "lower",
                tests=len(members),
            )
        )
    expected = [claims[position]["criterion"]["expect"] for position in members]
    stated = [each.p_values[expect] for each, expect in zip(found, expected, strict=True)]
    against = [each.p_values[CONTRARY[expect]] for each, expect in zip(found, expected, strict=True)]
    stated_holm, against_holm = stats.holm(stated), stats.holm(against)
    for order, (position, each) in enumerate(zip(members, found, strict=True)):
        outcomes[position] = replace(
            outcomes[position],
            estimate=each.estimate,
            low=each.low,
            high=each.high,
            interval=each.interval,
            comparison=each.state,
            p_value=stated[order],
            p_holm=stated_holm[order],
            p_against=against[order],
            p_against_holm=against_holm[order],
            detectable=each.detectable,
            unit=each.unit,
            needed=_needed(claims[position], each.values, len(members)),
        )


def _needed(claim: Mapping[str, Any], values: np.ndarray, tests: int) -> float:
    """Return how many units would tell the estimate from the end of the margin on which the claim turns."""
    criterion, sign = claim["criterion"], 1 if claim["direction"] == "lower" else -1
    bound = math.log1p(criterion["margin"]) if criterion["kind"] == "paired_ratio" else criterion["margin"]
    ends = {"better": [-bound], "not_worse": [bound], "worse": [bound], "equivalent": [-bound, bound]}
    level = 1 - (1 - stats.LEVEL) / tests
    return max(power.needed(sign * values, end, level=level) for end in ends[criterion["expect"]])


def _measure(claim: Mapping[str, Any], frame: pd.DataFrame) -> tuple[Outcome, _Evidence | None]:
    """Return the outcome without verdict, and the values to judge it by; None where there are no records."""
    criterion = claim["criterion"]
    outcome = Outcome(
        id=claim["id"],
        statement=claim["statement"],
        source=claim["source"],
        claimed=claim["claimed"],
        experiments=_experiments(claim),
        family=claim.get("family", ""),
        kind=criterion["kind"],
    )
    pairs = criteria.compared(criterion, outcome.experiments, claim["direction"], frame)
    usable = pairs[pairs["usable"]]
    outcome = replace(outcome, n_planned=len(pairs), n_ok=int(pairs["complete"].sum()), runs=_runs(usable))
    values = criteria.values_of(criterion, pairs) if len(usable) else np.empty(0)
    if values.size == 0:
        return replace(outcome, runs=_runs(pairs), reason=_no_records(claim, pairs)), None
    if criterion["kind"] in criteria.BOUNDED:
        return _extent(outcome, values), _Evidence(values)
    if criterion["kind"] == "win_count":
        return _wins(claim, outcome, pairs, values)
    independent, unit = stats.units(pairs, values)
    return outcome, _Evidence(independent, unit, criterion["margin"])


def _experiments(claim: Mapping[str, Any]) -> tuple[str, ...]:
    listed = claim["experiment"]
    return tuple([listed] if isinstance(listed, str) else listed)


def _runs(pairs: pd.DataFrame) -> tuple[str, ...]:
    return tuple(sorted({*pairs["run"], *pairs["reference_run"]}))


def _no_records(claim: Mapping[str, Any], pairs: pd.DataFrame) -> str:
    criterion, experiments = claim["criterion"], ",".join(_experiments(claim))
    named, listed = criteria.names_of(criterion), experiments.replace(",", ", ")
    if len(pairs) and (pairs["status"] == "ok").any() and not pairs["usable"].any():
        return f"the runs of {named} in {listed} hold no {criterion['metric']}: this machine could not measure it"
    what = f"{len(pairs)} planned pairs, none to compare," if len(pairs) else "no runs"
    if criterion["kind"] == "trend" and len(pairs):
        what = f"no two values of {criterion['along']} among the runs"
    return f"{what} of {named} in {listed}; supplied by snakemake --cores all --config only={experiments}"


def _extent(outcome: Outcome, values: np.ndarray) -> Outcome:
    noun = {"count_ratio": "pairs", "threshold": "runs", "trend": "slopes"}[outcome.kind]
    return replace(
        outcome,
        estimate=stats.median(values),
        low=float(values.min()),
        high=float(values.max()),
        interval=f"range over {values.size} {noun}",
    )


def _wins(
    claim: Mapping[str, Any], outcome: Outcome, pairs: pd.DataFrame, values: np.ndarray
) -> tuple[Outcome, _Evidence]:
    """Return the share of tasks won. A tie is no win; what decides a task is the median over its runs."""
    sign = -1 if claim["direction"] == "lower" else 1
    tasks = pairs[pairs["usable"]]["task"].to_numpy()
    won = np.array([sign * stats.median(values[tasks == task]) > 0 for task in np.unique(tasks)])
    low, high = stats.proportion_interval(int(won.sum()), won.size)
    interval = f"{won.sum()} of {won.size} tasks, exact 95 % interval of the share"
    bound = claim["criterion"]["share"] - claim["criterion"]["margin"]
    needed = power.needed_for_share(int(won.sum()), won.size, bound)
    outcome = replace(outcome, estimate=float(won.mean()), low=low, high=high, interval=interval)
    return replace(outcome, unit="tasks", needed=needed), _Evidence(won)


def _decide(claim: Mapping[str, Any], outcome: Outcome, evidence: _Evidence) -> Outcome:
    criterion = claim["criterion"]
    if criterion["kind"] in criteria.BOUNDED:
        return _decide_bounds(criterion, outcome, evidence.values)
    if criterion["kind"] == "win_count":
        bound = criterion["share"] - criterion["margin"]
        verdict = "holds" if outcome.low > bound else "fails" if outcome.high < bound else "undecided"
        reason = f"a share of at least {bound:.3g} {'is' if verdict != 'undecided' else 'is neither'} "
        reason += {"holds": "established", "fails": "excluded", "undecided": "established nor excluded"}[verdict]
        if verdict == "undecided":
            reason += f"; {_share_text(outcome.needed)}"
        return replace(outcome, verdict=verdict, reason=reason)
    return _decide_paired(claim, outcome, evidence)


def _share_text(needed: float) -> str:
    if math.isinf(needed):
        return "the share lies on the bound, no number of tasks would decide it"
    return f"about {needed:.0f} tasks with the same share would decide it"


def _decide_bounds(criterion: Mapping[str, Any], outcome: Outcome, values: np.ndarray) -> Outcome:
    low, high = criterion.get("at_least", -math.inf), criterion.get("at_most", math.inf)
    inside = (values >= low) & (values <= high)
    verdict = "holds" if inside.all() else "in part" if inside.any() else "fails"
    bounds = (f"at least {low:.3g}" if low > -math.inf else "", f"at most {high:.3g}" if high < math.inf else "")
    noun = {"count_ratio": "pairs", "threshold": "runs", "trend": "slopes"}[criterion["kind"]]
    asked = " and ".join(text for text in bounds if text)
    return replace(outcome, verdict=verdict, reason=f"{inside.sum()} of {values.size} {noun} are {asked}")


def _decide_paired(claim: Mapping[str, Any], outcome: Outcome, evidence: _Evidence) -> Outcome:
    criterion, lower, size = claim["criterion"], claim["direction"] == "lower", evidence.values.size
    ratio, expect = outcome.kind == "paired_ratio", criterion["expect"]
    sought = comparisons.needed_text(outcome.needed, outcome.unit, size)
    if size < stats.MINIMUM_UNITS:
        reason = f"{outcome.interval}: no 95 % interval exists below {stats.MINIMUM_UNITS} independent values; {sought}"
        return replace(outcome, verdict="undecided", reason=reason)
    margin = math.log1p(criterion["margin"]) if ratio else criterion["margin"]
    low, high = (_log(outcome.low), _log(outcome.high)) if ratio else (outcome.low, outcome.high)
    text = f"a factor of {1 + criterion['margin']:.3g}" if ratio else f"{criterion['margin']:.3g}"
    alpha = 1 - stats.LEVEL
    for verdict, statement, p_value in (
        ("holds", expect, outcome.p_holm),
        ("fails", CONTRARY[expect], outcome.p_against_holm),
    ):
        if stats.established(statement, low, high, margin, lower_is_better=lower):
            words = f"{statement.replace('_', ' ')} at a margin of {text}; asked: {expect.replace('_', ' ')}"
            if p_value <= alpha:
                state = statement if statement in ("better", "worse", "equivalent") else outcome.comparison
                return replace(outcome, verdict=verdict, comparison=state, reason=words)
            reason = f"the interval says {words}, the test (adjusted p {p_value:.2g}) does not; {sought}"
            return replace(outcome, verdict="undecided", reason=reason)
    reason = f"the interval reaches across the margin of {text}; asked: {expect.replace('_', ' ')}; {sought}"
    return replace(outcome, verdict="undecided", reason=reason)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
