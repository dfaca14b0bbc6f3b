"""Whether two record sets come to the same verdicts, claim by claim."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from kanbench.verdicts import criteria
from kanbench.verdicts.outcome import Outcome

DECIDED = ("holds", "in part", "fails")
SAME, CONTRARY, PARTLY = "same verdict", "contrary verdicts", "the same in part"
SAME_SIDE, OTHER_SIDE, OPEN = "same side", "other side", "open on both"
NOT_HERE, NOT_THERE = "not measured here", "not published"
UNSIDED = "decided by one"
COLUMNS = ("id", "statement", "verdict", "estimate", "verdict_published", "estimate_published", "agreement")


def compare(mine: Iterable[Outcome], published: Iterable[Outcome], claims: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row a claim that both sets were judged on: `COLUMNS`.

    `agreement` of two decided claims: the same verdict, contrary ones (one holds and one fails), or the same in part
    (one of the two holds in part: the sets differ in what they measured). Where only one decides, the sides are
    compared: the sign of the measured difference (the logarithm of the ratio). Of two that are smaller than the margin
    the sign does not count.

    Args:
        mine, published: Outcomes of either set.
        claims: The declared claims, for their margins.
    """
    theirs = {entry.id: entry for entry in published}
    criterion = {claim["id"]: claim["criterion"] for claim in claims}
    rows = [
        {
            "id": entry.id,
            "statement": entry.statement,
            "verdict": entry.verdict,
            "estimate": entry.estimate,
            "verdict_published": theirs[entry.id].verdict,
            "estimate_published": theirs[entry.id].estimate,
            "agreement": _agreement(entry, theirs[entry.id], criterion.get(entry.id, {})),
        }
        for entry in mine
        if entry.id in theirs
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _agreement(mine: Outcome, published: Outcome, criterion: Mapping[str, Any]) -> str:
    verdicts = [each.verdict for each in (mine, published)]
    if "no records" in verdicts:
        return NOT_HERE if verdicts[0] == "no records" else NOT_THERE
    decided = [verdict in DECIDED for verdict in verdicts]
    if all(decided):
        contrary = {*verdicts} == {"holds", "fails"}
        return SAME if verdicts[0] == verdicts[1] else CONTRARY if contrary else PARTLY
    if not any(decided):
        return OPEN
    return _sides(mine, published, criterion)


def _sides(mine: Outcome, published: Outcome, criterion: Mapping[str, Any]) -> str:
    if criterion.get("kind") not in criteria.PAIRED:
        return UNSIDED
    ratio = criterion["kind"] == "paired_ratio"
    effects = [_effect(each.estimate, ratio=ratio) for each in (mine, published)]
    if any(math.isnan(effect) for effect in effects):
        return UNSIDED
    margin = math.log1p(criterion["margin"]) if ratio else criterion["margin"]
    differ = effects[0] * effects[1] < 0 and max(map(abs, effects)) > margin
    return OTHER_SIDE if differ else SAME_SIDE


def _effect(estimate: float, *, ratio: bool) -> float:
    if not ratio or math.isnan(estimate):
        return estimate
    return math.log(estimate) if estimate > 0 else -math.inf
