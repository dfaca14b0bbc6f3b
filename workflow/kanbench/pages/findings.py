"""The page FINDINGS.md: what holds, what does not and by how much, in sentences computed from verdicts and records.

`paper_figures/findings.yaml` says which claims stand under which question. Nothing else is typed: a sentence is the
claim's own statement with its verdict, what was measured, over what, and why it is so, and it links to its row.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kanbench.base import paths, schema
from kanbench.base.atomic import write_text
from kanbench.base.errors import Finding, InvalidInput, nearest
from kanbench.pages import recipes, render, style
from kanbench.verdicts import claims as verdicts
from kanbench.verdicts import declared as declarations
from kanbench.verdicts import references
from kanbench.verdicts.outcome import Outcome

FILE = "FINDINGS.md"
DECLARED = "findings.yaml"
LEADS = {
    "holds": "Holds",
    "in part": "Holds in part",
    "fails": "Does not hold",
    "undecided": "Undecided",
    "no records": "Not measured",
}
NOUNS = {"error": "error", "legacy_error": "error", "steps_to_target": "number of steps"}
UNMEASURED = "not measured"
FURTHER = "What else was asked?"
"""Title of the section of those claims that are listed under no question."""


def declared(path: Path | None = None) -> dict[str, Any]:
    """Return what `findings.yaml` declares.

    Raises:
        InvalidInput: unknown keys, claims that `claims.yaml` does not have, or claims that stand in two sections. Those
            that stand in none make a section of their own.
    """
    path = path or recipes.folder() / DECLARED
    label = paths.relative(path)
    content = schema.read_yaml(path, label)
    problems = schema.findings(content, "findings", label)
    if problems:
        raise InvalidInput(problems)
    known = [claim["id"] for claim in declarations.load(recipes.claims_file())]
    placed = [name for section in content["sections"] for name in section["claims"]]
    named = [*placed, *content["headline"], *(entry["claim"] for entry in content["controls"])]
    named += [name for section in content["sections"] for name in _placeholders(section.get("summary", ""))]
    for name in sorted(set(named) - set(known)):
        problems.append(Finding(label, "", name, nearest(name, known), "correct the id"))
    for name in sorted({name for name in placed if placed.count(name) > 1}):
        found, step = f"{name} in {placed.count(name)} sections", "list every claim under one question"
        problems.append(Finding(label, "sections", found, "each claim once", step))
    if problems:
        raise InvalidInput(problems)
    further = [name for name in known if name not in placed]
    more = [{"title": FURTHER, "claims": further}] if further else []
    return {**content, "sections": [*content["sections"], *more]}


def _placeholders(text: str) -> list[str]:
    return re.findall(r"\{([a-z0-9-]+)\}", text)


def write(records: str | Path, output: str | Path) -> Path:
    """Write FINDINGS.md below `output`; return its path.

    Verdicts are those of `claims.json` beside the records where these are of the same records, else they are computed.

    Raises:
        MissingData: there is no record set.
        InvalidInput: the declarations or a record are malformed.
    """
    record_set = render.RecordSet(records)
    path = Path(output) / FILE
    write_text(path, page(record_set, render.known_outcomes(record_set), declared()))
    return path


def page(record_set: render.RecordSet, outcomes: Sequence[Outcome], content: Mapping[str, Any]) -> str:
    """Return the page as Markdown."""
    found = {outcome.id: outcome for outcome in outcomes}
    claims = {claim["id"]: claim for claim in declarations.load(recipes.claims_file())}
    labels = record_set.method_labels
    tell = Telling(claims, labels)
    parts = [
        "# Findings",
        f"{tally(outcomes)} ({record_set.citation}) Every sentence is computed from the records and leads to its "
        "claim, which says what it rests on; ratios are method over reference.",
        headline_table([found[name] for name in content["headline"]], tell),
    ]
    for section in content["sections"]:
        members = [found[name] for name in section["claims"]]
        parts += [f"## {section['title']}", _counted(members)]
        if "summary" in section:
            parts.append(_filled(section["summary"], found))
        parts.append("\n".join(f"* {tell.sentence(outcome)}" for outcome in members))
        entries = [entry for entry in content["controls"] if entry["claim"] in section["claims"]]
        parts += [_controls(entry, claims, record_set, labels) for entry in entries]
    return "\n\n".join(part for part in parts if part) + "\n"


def tally(outcomes: Iterable[Outcome | Mapping[str, Any]]) -> str:
    """Return how many claims have each verdict: "Of 3 claims: holds 2, no records 1."."""
    verdicts_ = [each.verdict if isinstance(each, Outcome) else each["verdict"] for each in outcomes]
    found = Counter(verdicts_)
    order = [*(verdict for verdict in render.VERDICT_ORDER if verdict in found)]
    order += sorted(set(found) - set(render.VERDICT_ORDER))
    return f"Of {len(verdicts_)} claims: {', '.join(f'{verdict} {found[verdict]}' for verdict in order)}."


def _counted(members: Sequence[Outcome]) -> str:
    found = Counter(outcome.verdict for outcome in members)
    return ", ".join(
        f"{LEADS[verdict].lower()}: {found[verdict]}" for verdict in render.VERDICT_ORDER if found[verdict]
    )


def _filled(text: str, found: Mapping[str, Outcome]) -> str:
    return re.sub(r"\{([a-z0-9-]+)\}", lambda match: value(found[match[1]]), text)


def value(outcome: Outcome) -> str:
    """Return what was measured as a number with its span: "0.123 (0.0215 to 0.799)"."""
    if math.isnan(outcome.estimate):
        return UNMEASURED
    span = f"{style.number(outcome.low)} to {style.number(outcome.high)}"
    return f"{style.number(outcome.estimate)} ({span})"


def headline_table(members: Sequence[Outcome], tell: Telling, where: str = "") -> str:
    """Return the table of headline verdicts as Markdown; `where` is the folder of claims.md as links name it."""
    rows = [
        f"| {_link(outcome.sentence, outcome.id, where)} | {outcome.verdict} | {tell.brief(outcome)} |"
        for outcome in members
    ]
    return "\n".join(["| Claim | Verdict | Measured |", "| :--- | :--- | :--- |", *rows])


def _link(text: str, name: str, where: str = "") -> str:
    return f"[{text.replace('|', '/')}]({where}claims.md#{name})"


class Telling:
    """Puts outcomes into words, given the declared claims and the labels of methods."""

    def __init__(self, claims: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str]):
        self.claims, self.labels = claims, labels

    def sentence(self, outcome: Outcome) -> str:
        """Return what the records say about a claim."""
        statement = outcome.sentence.rstrip(".")
        parts = [f"**{LEADS[outcome.verdict]}:** {statement}."]
        if not math.isnan(outcome.estimate):
            parts.append(f"Measured: {self.measured(outcome)}{self._each(outcome)}.")
        parts.append(f"{outcome.reason[:1].upper()}{outcome.reason[1:].rstrip('.')}." if outcome.reason else "")
        return " ".join(part for part in [*parts, _link("→ claim", outcome.id)] if part)

    def brief(self, outcome: Outcome) -> str:
        """Return the estimate with its span, without how the span was made."""
        if math.isnan(outcome.estimate):
            return UNMEASURED
        return f"{self._quantity(outcome)} ({self._ends(outcome)})"

    def measured(self, outcome: Outcome) -> str:
        """Return by how much: the estimate with its span, and what it is compared with."""
        if math.isnan(outcome.estimate):
            return UNMEASURED
        text = f"{self._quantity(outcome)}, {self._span(outcome)}"
        if "quarter" in outcome.budgets:
            text += f"; at a quarter of the budget {self._number(outcome, outcome.budgets['quarter'])}"
        return text

    def _criterion(self, outcome: Outcome) -> Mapping[str, Any]:
        return self.claims.get(outcome.id, {}).get("criterion", {})

    def _quantity(self, outcome: Outcome) -> str:
        criterion = self._criterion(outcome)
        noun = NOUNS.get(criterion.get("metric", ""), "value")
        against = self.labels.get(outcome.reference, outcome.reference)
        same = not against or criterion.get("method") == criterion.get("reference", "")
        number = self._number(outcome, outcome.estimate)
        if outcome.kind == "paired_ratio":
            return f"median ratio {number}" if same else f"{noun} {number} × that of {against}"
        if outcome.kind == "paired_difference":
            return f"median difference {number}" if same else f"{noun} {number} against {against}"
        if outcome.kind == "win_count":
            return f"{number} of tasks won"
        named = {"count_ratio": "median ratio", "trend": "exponent", "monotone": "largest rise by a factor of"}
        return f"{named.get(outcome.kind, 'median')} {number}"

    def _number(self, outcome: Outcome, number: float) -> str:
        """Return a number as its kind is read: errors of classification in points, shares in per cent."""
        if outcome.kind == "win_count":
            return f"{number:.0%}".replace("%", " %")
        metric = self._criterion(outcome).get("metric", "")
        if outcome.kind == "paired_difference" and NOUNS.get(metric) == "error":
            return f"{100 * number:+.2f} points"
        return style.number(number)

    def _span(self, outcome: Outcome) -> str:
        return f"{self._ends(outcome)} ({outcome.interval})"

    def _ends(self, outcome: Outcome) -> str:
        low, high = (self._number(outcome, end) for end in (outcome.low, outcome.high))
        return f"{low.removesuffix(' points')} to {high}"

    def _each(self, outcome: Outcome) -> str:
        if len(outcome.ratios) < 2:
            return ""
        parts = [
            f"{self.labels.get(row['reference'], row['reference'])} {self._number(outcome, row['estimate'])}"
            for row in outcome.ratios
        ]
        return f"; against each dense form: {', '.join(parts)}"


def _controls(
    entry: Mapping[str, Any], claims: Mapping[str, Any], record_set: render.RecordSet, labels: Mapping[str, str]
) -> str:
    """Return a table of one claim measured against further methods; nothing where none of them was run."""
    claim = claims[entry["claim"]]
    criterion = {key: value for key, value in claim["criterion"].items() if key not in ("references", "reference")}
    derived = [
        {**_alone(claim), "id": f"{claim['id']}-{name}", "experiment": entry["experiment"],
         "criterion": {**criterion, "reference": name}}
        for name in entry["methods"]
    ]  # fmt: skip
    outcomes = verdicts.evaluate(derived, record_set.frame, references.load(None))
    known = Telling({each["id"]: each for each in derived}, labels)
    rows = [
        f"| {labels.get(each.reference, each.reference)} | {known.measured(each)} | {each.n_ok} / {each.n_planned} |"
        for each in outcomes
        if not math.isnan(each.estimate)
    ]
    if not rows:
        return ""
    method = criterion["method"]
    head = f"{labels.get(method, method)} against controls ({_link(claim['id'], claim['id'])}):"
    return "\n".join([head, "", "| Against | Measured | Pairs ok |", "| :--- | :--- | :--- |", *rows])


def _alone(claim: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in claim.items() if key not in ("family", "quarter", "required")}
