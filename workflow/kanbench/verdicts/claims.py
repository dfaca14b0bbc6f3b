"""Computes a verdict on every statement of `paper_figures/claims.yaml` from a record set. Nothing is typed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from kanbench.verdicts import bounded, criteria, evidence, paired, references
from kanbench.verdicts.outcome import Outcome
from kanbench.verdicts.references import Choice


def evaluate(
    claims: Sequence[Mapping[str, Any]], frame: pd.DataFrame, chosen: pd.DataFrame | None = None
) -> list[Outcome]:
    """Return the outcome of every claim, in the order of declaration.

    A paired claim is tested against its own margin, once for what it states and once for the contrary, at the looks
    that are declared. Claims without records do not count into their family: nothing was tested.

    Args:
        claims: As `declared.load` returns them.
        frame: The records.
        chosen: The references chosen on validation (`references.load`).
    """
    chosen = references.load(None) if chosen is None else chosen
    frame = criteria.prepared(claims, frame)
    outcomes: list[Outcome] = []
    cases: dict[int, paired.Case] = {}
    for position, claim in enumerate(claims):
        outcome, case = _measure(claim, frame, chosen)
        outcomes.append(outcome)
        if case is not None:
            cases[position] = case
    for family in {_family(claims[position]) for position in cases}:
        members = [position for position in cases if _family(claims[position]) == family]
        judged = paired.judge([cases[i] for i in members], [outcomes[i] for i in members])
        for position, outcome in zip(members, judged, strict=True):
            less = _quarter(claims[position], outcome.reference, frame)
            named = bool(experiments_of(claims[position], "quarter"))
            outcomes[position] = paired.at_budgets(outcome, cases[position], less, named)
    return outcomes


def _family(claim: Mapping[str, Any]) -> str:
    return claim.get("family") or claim["id"]


def experiments_of(claim: Mapping[str, Any], key: str = "experiment") -> tuple[str, ...]:
    """Return the experiments that a claim names under a key, one or several."""
    listed = claim.get(key, ())
    return (listed,) if isinstance(listed, str) else tuple(listed)


def _measure(claim: Mapping[str, Any], frame: pd.DataFrame, chosen: pd.DataFrame) -> tuple[Outcome, paired.Case | None]:
    """Return the outcome of a claim, of a paired one that has records without its verdict but with its evidence."""
    criterion = claim["criterion"]
    outcome = Outcome(
        id=claim["id"],
        statement=claim["statement"],
        source=claim["source"],
        claimed=claim["claimed"],
        experiments=experiments_of(claim),
        family=claim.get("family", ""),
        kind=criterion["kind"],
        scope=claim.get("scope", ""),
    )
    if criterion["kind"] in criteria.BOUNDED:
        return _bounded(claim, outcome, frame), None
    choice = references.of_claim(claim, frame, chosen)
    pairs = {name: _pairs(claim, name, frame) for name in _forms(criterion, choice)}
    found = {
        name: evidence.gather(criterion, each, claim["scope"], claim["twins"])
        for name, each in pairs.items()
        if each["usable"].any()
    }
    counts = {name: each for name, each in found.items() if name in choice.methods} or found
    if not counts:
        known = pd.concat(pairs.values()) if any(len(each) for each in pairs.values()) else next(iter(pairs.values()))
        return _no_records(claim, outcome, known), None
    required = claim.get("required", choice.methods) if not choice.made else choice.methods
    unmeasured = tuple(name for name in required if name not in found)
    case = paired.Case(claim, choice, counts, {n: e for n, e in found.items() if n not in counts}, unmeasured)
    reference = case.reference
    usable = pairs[reference][pairs[reference]["usable"]]
    outcome = replace(
        outcome,
        on=evidence.place(case.shown, claim["scope"]),
        n_planned=len(pairs[reference]),
        n_ok=int(pairs[reference]["complete"].sum()),
        runs=_runs(usable),
        missing=case.shown.missing,
        floors=case.shown.floors,
        chosen=choice.how,
    )
    if criterion["kind"] == "win_count":
        lower = claim["direction"] == "lower"
        outcome = bounded.share_won(criterion, outcome, counts, unmeasured, lower_is_better=lower)
        less = _quarter(claim, outcome.reference, frame)
        named = bool(experiments_of(claim, "quarter"))
        return bounded.share_at_budgets(criterion, outcome, less, named, lower_is_better=lower), None
    return outcome, case


def _forms(criterion: Mapping[str, Any], choice: Choice) -> tuple[str, ...]:
    """Return the references to measure against: all dense forms that are declared, or the one reference."""
    return tuple(criterion.get("references", choice.methods))


def _pairs(claim: Mapping[str, Any], reference: str, frame: pd.DataFrame, key: str = "experiment") -> pd.DataFrame:
    criterion = dict(claim["criterion"])
    if criterion.pop("references", None):
        criterion["reference"] = reference
    return criteria.compared(criterion, experiments_of(claim, key), claim["direction"], frame)


def _bounded(claim: Mapping[str, Any], outcome: Outcome, frame: pd.DataFrame) -> Outcome:
    pairs = criteria.compared(claim["criterion"], outcome.experiments, claim["direction"], frame)
    usable = pairs[pairs["usable"]]
    found = criteria.values_of(claim["criterion"], pairs) if len(usable) else pd.DataFrame()
    if found.empty:
        return _no_records(claim, outcome, pairs)
    outcome = replace(
        outcome,
        n_planned=len(pairs),
        n_ok=int(pairs["complete"].sum()),
        missing=int(evidence.missing(pairs).sum()),
        runs=_runs(usable),
    )
    return bounded.against_bounds(claim["criterion"], outcome, found)


def _quarter(claim: Mapping[str, Any], reference: str, frame: pd.DataFrame) -> evidence.Evidence | None:
    """Return the evidence of a claim at a quarter of its budget, against one reference; None without any."""
    if not experiments_of(claim, "quarter") or not reference:
        return None
    pairs = _pairs(claim, reference, frame, "quarter")
    if not pairs["usable"].any():
        return None
    return evidence.gather(claim["criterion"], pairs, claim["scope"], claim["twins"])


def _runs(pairs: pd.DataFrame) -> tuple[str, ...]:
    return tuple(sorted({*pairs["run"], *pairs["reference_run"]} - {""}))


def _no_records(claim: Mapping[str, Any], outcome: Outcome, pairs: pd.DataFrame) -> Outcome:
    criterion, experiments = claim["criterion"], ",".join(experiments_of(claim))
    named, listed = criteria.names_of(criterion), experiments.replace(",", ", ")
    outcome = replace(outcome, n_planned=len(pairs), runs=_runs(pairs))
    if len(pairs) and (pairs["status"] == "ok").any() and not pairs["usable"].any():
        reason = f"the runs of {named} in {listed} hold no {criterion['metric']}: this machine could not measure it"
        return replace(outcome, reason=reason)
    what = f"{len(pairs)} planned pairs, none to compare," if len(pairs) else "no runs"
    if criterion["kind"] in criteria.ALONG and len(pairs):
        what = f"no two values of {criterion['along']} among the runs"
    reason = f"{what} of {named} in {listed}; supplied by snakemake --cores all --config only={experiments}"
    return replace(outcome, reason=reason)


def undecided_experiments(outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    """Return the experiments that a further look is for: those of undecided claims whose seeds vary."""
    waiting = [each for each in outcomes if each.verdict == "undecided" and each.looks]
    return tuple(sorted({name for each in waiting for name in each.experiments}))
