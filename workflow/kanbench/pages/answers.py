"""Answers in words: one question, the verdict of its claims, and sentences whose every number comes from records.

A recipe builds rows with `row`, returns them as a frame from `data` and hands that frame to `table_of` in `rows`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from scipy import stats as distributions

from kanbench.pages import recipes, style, table
from kanbench.pages.table import Cell, Table
from kanbench.statistics import stats
from kanbench.verdicts import claims, declared, references
from kanbench.verdicts.outcome import Outcome

COLUMNS = ("Question", "Verdict", "Answer", "Evidence")
PROSE = {"Question": 0.16, "Answer": 0.5, "Evidence": 0.16}
QUANTITIES = {
    "count_ratio": "ratio",
    "threshold": "value",
    "trend": "slope",
    "monotone": "largest factor between neighbours",
    "paired_ratio": "median ratio",
    "paired_difference": "median difference",
    "win_count": "share of tasks",
}


def outcomes(records: pd.DataFrame, *, family: str | None = None, ids: Sequence[str] = ()) -> list[Outcome]:
    """Return the outcomes of the claims of a family, or of those named, in the order of their declaration.

    P-values are adjusted inside the claims of each family that are evaluated here, so name a family as a whole.
    """
    wanted = [
        claim
        for claim in declared.load(recipes.claims_file())
        if claim["id"] in ids or (family is not None and claim.get("family") == family)
    ]
    return claims.evaluate(wanted, records, references.load(recipes.references_file()))


def overall(found: Sequence[Outcome]) -> str:
    """Return one verdict for several: what all of them say, `in part` where some fail, else `undecided`.

    Claims without records do not count, unless there are no others.
    """
    verdicts = {outcome.verdict for outcome in found} - {"no records"}
    if not verdicts:
        return "no records"
    if len(verdicts) == 1:
        return next(iter(verdicts))
    return "in part" if verdicts & {"fails", "in part"} else "undecided"


def sentence(outcome: Outcome) -> str:
    """Return what the records say about a claim: statement, verdict, estimate with interval, pairs, and why."""
    statement = outcome.sentence.rstrip(".")
    if outcome.verdict == "no records":
        return f"{statement}: no records ({outcome.reason})."
    if math.isnan(outcome.estimate):
        return f"{statement}: {outcome.verdict} ({outcome.reason})."
    quantity = QUANTITIES.get(outcome.kind, "value")
    ends = f"{style.number(outcome.low)} to {style.number(outcome.high)}"
    counted = f"{outcome.n_ok} of {outcome.n_planned} planned pairs" if outcome.kind != "threshold" else "single runs"
    measured = f"{quantity} {style.number(outcome.estimate)}, {ends} ({outcome.interval}; {counted})"
    why = outcome.reason.removeprefix(f"{outcome.interval}: ")
    return f"{statement}: {outcome.verdict}. Measured: {measured}. Why: {why}."


def shares(records: pd.DataFrame, column: str, by: str = "label") -> str:
    """Return how often `column` is true in the runs that were ok, group by group, with exact 95 % intervals.

    Runs without a value count as not true: "KAN 3 of 8 (38 %, 9 to 76 %), MetaKAN 2 of 8 (…)".
    """
    parts = []
    for name, runs in _ok(records).groupby(by, sort=True):
        flags = runs[column] if column in runs else pd.Series(math.nan, index=runs.index)
        hits, total = int(pd.to_numeric(flags, errors="coerce").fillna(0).astype(bool).sum()), len(runs)
        low, high = stats.proportion_interval(hits, total)
        parts.append(f"{name} {hits} of {total} ({hits / total:.0%}, {low:.0%} to {high:.0%})")
    return ", ".join(parts).replace("%", " %") or "no run"


def medians(records: pd.DataFrame, column: str, by: str = "label") -> str:
    """Return the median of `column` over the runs that were ok, group by group, each with its interval or range."""
    parts = []
    for name, runs in _ok(records).groupby(by, sort=True):
        values = pd.to_numeric(runs[column], errors="coerce") if column in runs else pd.Series(dtype=float)
        spread = table.spread(values, f"answer {column} {name}")
        parts.append(f"{name} {table.spread_text(*spread)}" if values.notna().any() else f"{name} not measured")
    return ", ".join(parts) or "no run"


def discordant(records: pd.DataFrame, column: str, method: str, reference: str) -> str:
    """Return how pairs differ in a column of yes and no, with the p-value of McNemar's exact test (mcnemar1947)."""
    compared = stats.pairs(
        records[records["method"] == method],
        records[records["method"] == reference],
        column,
        lower_is_better=False,
    )
    usable = compared[compared["usable"]]
    change = usable["value"].clip(0, 1) - usable["reference_value"].clip(0, 1)
    gained, lost = int((change > 0).sum()), int((change < 0).sum())
    p_value = distributions.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return f"{gained} pairs gained and {lost} lost of {len(usable)}, exact p {style.number(p_value, 2)}"


def row(
    question: str,
    found: Sequence[Outcome],
    records: pd.DataFrame,
    *,
    leads: Mapping[str, str],
    facts: Iterable[str] = (),
) -> dict[str, object]:
    """Return one answer: a lead that its verdict chooses, a sentence a claim, then facts from the records.

    Args:
        found: Outcomes of the claims that decide the question.
        records: The runs that the answer rests on.
        leads: Verdict (`holds`, `in part`, `fails`, `undecided`, `no records`) -> first sentence; a verdict without a
            lead is named.
    """
    verdict = overall(found)
    lead = leads.get(verdict, f"{verdict.capitalize()}.")
    experiments = sorted({name for used in records["experiments"] for name in used})
    named = ", ".join(outcome.id for outcome in found)
    evidence = f"claims {named}; {', '.join(experiments)}, runs ok: {table.status_text(records['status'])}"
    return {
        "question": question,
        "verdict": verdict,
        "answer": " ".join([lead, *(sentence(outcome) for outcome in found), *facts]),
        "evidence": evidence,
        "runs": " ".join(sorted(records["run"])),
    }


def table_of(frame: pd.DataFrame) -> Table:
    """Return the table of the rows that `row` made."""
    return Table(COLUMNS, tuple(_cells(entry) for _, entry in frame.iterrows()), frame, prose=PROSE)


def _cells(entry: pd.Series) -> tuple[Cell, ...]:
    runs = table.run_names(entry["runs"])
    return (
        Cell(entry["question"]),
        Cell(entry["verdict"], runs, badge=entry["verdict"]),
        Cell(entry["answer"]),
        Cell(entry["evidence"], runs),
    )


def _ok(records: pd.DataFrame) -> pd.DataFrame:
    return records[records["status"] == "ok"]
