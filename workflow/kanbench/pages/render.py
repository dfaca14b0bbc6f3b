"""Turns a record set into the files of one figure, one table or the claims. Needs neither torch nor a GPU."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd

from kanbench.base import spreadsheet
from kanbench.base.atomic import write_text
from kanbench.base.errors import Finding, InvalidInput, nearest
from kanbench.pages import claims_page, drawing, recipes, style, table
from kanbench.records import frame as frames
from kanbench.records import kept
from kanbench.verdicts import claims as verdicts
from kanbench.verdicts import declared as declarations
from kanbench.verdicts import references
from kanbench.verdicts.outcome import Outcome

SUITE = "MetaKAN benchmark"
WAIVED = "method_info.waived."
"""Beginning of the columns that hold why a rule of the contract is waived for a method."""
NOT_MEASURED = "method_info.not_measured."
"""Beginning of the columns that hold why a quantity of a method that trains itself is null."""
VERDICT_ORDER = ("holds", "in part", "undecided", "fails", "no records")
CLAIMS_CAPTION = (
    "Each statement, with the tasks that its verdict is about, and what the records say. Ratios are method over "
    "reference; where several dense forms stand for the KAN the strongest on validation is compared, and the ratio to "
    "each is shown. Intervals are 95 % intervals of the median over independent units, from order statistics, or the "
    "range where the quantity is counted or the units are too few. A verdict asks that sign test and signed-rank test "
    "agree, at a look that was declared: the error of 2.5 % a side is shared by the looks and, after Holm, by those "
    "members of the family that could reject at their size. P-values are over all looks, of the statement ('for') or "
    "of its contrary ('against'). Missing runs may have been lost by either side. A failed run loses its pair; a task "
    "on which neither side beats its floor is no evidence. 'Detectable' is the smallest true distance from the margin "
    "that as many units would show with a power of 80 %, 'needed' what would decide an undecided claim with that "
    "power, both by simulating this rule."
)


class RecordSet:
    """A record set read once: `records`, the `frame` of them, their `digest` and the `citation` of what they give."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        file = frames.find(self.path)
        found = kept.read(file)
        if found is None:
            self.records = frames.read_records(self.path)
            found = frames.to_frame(self.records), frames.fingerprint(self.records)
            kept.write(file, *found)
        self.frame, self.digest = found
        self.name = (self.path if self.path.is_dir() else self.path.resolve().parent).name
        self.labels = sorted(self.frame["label"].unique()) if len(self.frame) else []

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The records; where their table was kept they have been checked before."""
        return frames.read_records(self.path, checked=True)

    @property
    def method_labels(self) -> dict[str, str]:
        """The label of each method."""
        return dict(zip(self.frame["method"], self.frame["label"], strict=True))

    @property
    def prominent(self) -> list[str]:
        """The methods' labels, those with the most tasks, then the most runs first: figures highlight the first."""
        if self.frame.empty:
            return []
        found = self.frame.groupby("label").agg(tasks=("task", "nunique"), runs=("run", "nunique")).reset_index()
        return list(found.sort_values(["tasks", "runs", "label"], ascending=[False, False, True])["label"])

    @property
    def counts(self) -> dict[str, int]:
        """How many runs have each status, `ok` first."""
        found = self.frame["status"].value_counts()
        return {status: int(found[status]) for status in frames.STATUSES if status in found}

    @property
    def citation(self) -> str:
        protocols = ", ".join(f"{p:g}" for p in sorted(self.frame["spec.protocol"].dropna().unique())) or "none"
        return (
            f"{SUITE}, record set {self.name}, sha256 {self.digest[:12]}, protocol {protocols}, "
            f"{self.counts.get('ok', 0)} of {len(self.frame)} planned runs ok"
        )

    def supplied_by(self, recipe: recipes.Recipe) -> str:
        """Return the sentence that stands where a recipe has no records."""
        experiments = ", ".join(recipe.experiments) or "any experiment"
        what = f"No records. Supplied by {experiments} (record set {self.name}: {len(self.frame)} runs)"
        only = f" --config only={','.join(recipe.experiments)}" if recipe.experiments else ""
        return f"{what}: snakemake --cores all{only}"


def render(recipe_name: str, records: str | Path, output: str | Path) -> list[Path]:
    """Write the files of one recipe below `output`; return their paths.

    Figures: figures/<name>.pdf, .png and .csv (what is drawn). Tables: tables/<name>.csv, .md and .tex. Without
    records for it, a recipe becomes a placeholder that says so.

    Raises:
        InvalidInput: there is no such recipe, or a recipe or a record is malformed.
        MissingData: there is no record set.
    """
    known = recipes.discover()
    if recipe_name not in known:
        step = "name a file of paper_figures/, without .py"
        raise InvalidInput([Finding("--recipe", "", recipe_name, nearest(recipe_name, list(known)), step)])
    recipe, record_set = known[recipe_name], RecordSet(records)
    paths = [Path(output) / name for name in recipe.outputs()]
    if recipe.kind == "figure":
        _write_figure(recipe, record_set, paths)
    else:
        made = make_table(recipe, record_set)
        for path, text in zip(paths, (made.to_csv(), made.to_markdown(), made.to_latex()), strict=True):
            write_text(path, text)
    return paths


def _write_figure(recipe: recipes.Recipe, record_set: RecordSet, paths: list[Path]) -> None:
    mpl.use("Agg")
    module, shown = _shown(recipe, record_set)
    if shown.empty:
        write_placeholder(recipe, record_set, paths, record_set.supplied_by(recipe))
        return
    with style.theme(record_set.prominent):
        drawn = module.draw(shown)
        drawing.settle(drawn)
        for path in paths[:2]:
            style.save(drawn, path)
    write_text(paths[2], spreadsheet.to_csv(shown, float_format="%.6g"))


def write_placeholder(recipe: recipes.Recipe, record_set: RecordSet, paths: Sequence[Path], text: str) -> None:
    """Write the files of a figure that shows a text instead: why there is nothing to draw."""
    mpl.use("Agg")
    with style.theme(record_set.prominent):
        drawn = drawing.placeholder(recipe.title, text)
        drawing.settle(drawn)
        for path in paths[:2]:
            style.save(drawn, path)
    write_text(paths[2], spreadsheet.to_csv(pd.DataFrame()))


def failed_with(error: Exception) -> str:
    """Return what stands in the place of a figure or table whose recipe raised an error."""
    return f"Not drawn: {type(error).__name__}: {error}"[:400]


def _shown(recipe: recipes.Recipe, record_set: RecordSet) -> tuple[Any, pd.DataFrame]:
    module = recipe.load()
    records = frames.of_experiments(record_set.frame, recipe.experiments)
    return module, module.data(records) if len(records) else pd.DataFrame()


def make_table(recipe: recipes.Recipe, record_set: RecordSet) -> table.Table:
    """Return the table of a recipe with title, caption and citation; one row that says why where it has no records."""
    module, shown = _shown(recipe, record_set)
    made = table.empty(record_set.supplied_by(recipe)) if shown.empty else module.rows(shown)
    return described(made, recipe, record_set)


def described(made: table.Table, recipe: recipes.Recipe, record_set: RecordSet) -> table.Table:
    """Return a table with the title and caption of its recipe and the citation of its records."""
    return replace(
        made,
        name=recipe.name,
        title=recipe.title,
        caption=recipe.caption,
        citation=f"{record_set.citation}, table {recipe.name}.",
        notes=(*made.notes, *_notes(frames.of_experiments(record_set.frame, recipe.experiments))),
    )


def _notes(records: pd.DataFrame) -> list[str]:
    """Return the notes that every table has: what is waived or not measured, and what was taken from others."""
    notes = _waivers(records)
    for column in sorted(name for name in records if name.startswith(NOT_MEASURED)):
        what = column.removeprefix(NOT_MEASURED).replace("_", " ")
        for (label, reason), _ in records[records[column].notna()].groupby(["label", column]):
            notes.append(f"{label}: {what} not measured, since {reason}.")
    if "origin" in records:
        for origin, runs in records[records["origin"].notna()].groupby("origin"):
            notes.append(f"From {origin}: {len(runs)} runs of a bundle of others, as they published them.")
    return notes


def _waivers(records: pd.DataFrame) -> list[str]:
    """Return a note for every rule of the contract that a method of these records breaks as it was published."""
    notes = []
    for column in sorted(name for name in records if name.startswith(WAIVED)):
        rule = column.removeprefix(WAIVED).replace("_", " ")
        for (label, reason), _ in records[records[column].notna()].groupby(["label", column]):
            notes.append(f"{label}: the rule '{rule}' of the contract does not hold: {reason}.")
    return notes


def render_claims(records: str | Path, output: str | Path, declared: Path | None = None) -> list[Path]:
    """Write claims.csv, .md, .tex and .json below `output`; return their paths. Raises as `render` does."""
    record_set = RecordSet(records)
    outcomes = evaluated(record_set, declared)
    made = claims_table(outcomes, record_set)
    content = {
        "citation": record_set.citation,
        "records_sha256": record_set.digest,
        "claims": [outcome.as_dict() for outcome in outcomes],
    }
    texts = {
        "csv": made.to_csv(),
        "md": claims_page.markdown(made),
        "tex": made.to_latex(),
        "json": json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
    }
    for suffix, text in texts.items():
        write_text(Path(output) / f"claims.{suffix}", text)
    return [Path(output) / f"claims.{suffix}" for suffix in texts]


def evaluated(record_set: RecordSet, declared: Path | None = None) -> list[Outcome]:
    """Return the outcomes of the declared claims, against the references that were chosen on validation."""
    chosen = references.load(recipes.references_file())
    return verdicts.evaluate(declarations.load(declared or recipes.claims_file()), record_set.frame, chosen)


def known_outcomes(record_set: RecordSet) -> list[Outcome]:
    """Return the outcomes in `claims.json` beside the records, where it is of these and of today's claims, else new."""
    folder = record_set.path if record_set.path.is_dir() else record_set.path.parent
    file = folder / "claims.json"
    if file.is_file():
        content = json.loads(file.read_text(encoding="utf-8"))
        statements = [(claim["id"], claim["statement"]) for claim in content["claims"]]
        declared = [(claim["id"], claim["statement"]) for claim in declarations.load(recipes.claims_file())]
        if statements == declared and content["records_sha256"] == record_set.digest:
            return [Outcome.of(claim) for claim in content["claims"]]
    return evaluated(record_set)


def claims_table(outcomes: list[Outcome], record_set: RecordSet) -> table.Table:
    """Return the claims as a table: claimed, measured, interval, verdict and why, and what it rests on."""
    columns = (
        "Claim",
        "Claimed",
        "Measured",
        "Interval",
        "Verdict",
        "Why",
        "Look",
        "Against each",
        "Quarter budget",
        "Pairs ok",
        "p (Holm)",
        "Detectable",
        "Needed",
        "Source",
    )
    labels = record_set.method_labels
    rows = tuple(_claim_row(outcome, labels) for outcome in outcomes)
    data = pd.DataFrame([outcome.as_dict() for outcome in outcomes]).drop(columns="runs")
    data["experiments"] = data["experiments"].map(" ".join)
    data["looks"] = [" ".join(map(str, outcome.looks)) for outcome in outcomes]
    for column in ("ratios", "budgets"):
        data[column] = [json.dumps(entry) if entry else "" for entry in data[column]]
    data["runs"] = [" ".join(outcome.runs) for outcome in outcomes]
    return table.Table(
        columns,
        rows,
        data,
        frozenset({"Measured", "Detectable"}),
        name="claims",
        title="Claims of the paper and of its released code",
        caption=CLAIMS_CAPTION,
        citation=f"{record_set.citation}, claims.",
        prose={"Claim": 0.36, "Claimed": 0.11, "Interval": 0.19, "Pairs ok": 0.1},
        printed=frozenset({"Claim", "Claimed", "Measured", "Interval", "Verdict", "Pairs ok"}),
    )


def _claim_row(outcome: Outcome, labels: Mapping[str, str]) -> tuple[table.Cell, ...]:
    runs = outcome.runs
    if math.isnan(outcome.estimate):
        nothing = "no records" if outcome.verdict == "no records" else "no evidence"
        measured, interval = table.Cell(nothing, runs), table.Cell(nothing)
    else:
        measured = table.Cell(style.number(outcome.estimate), runs, outcome.estimate)
        interval = table.Cell(f"{_ends(outcome.low, outcome.high)} {outcome.interval}", runs, outcome.low)
    p_cell, needed = (
        table.Cell("not tested"),
        table.Cell("records" if outcome.verdict == "no records" else "not needed"),
    )
    if not math.isnan(outcome.p_holm):
        p_value, side = min((outcome.p_holm, "for"), (outcome.p_against_holm, "against"))
        p_cell = table.Cell(f"{style.number(p_value, 2)} {side}", sort=p_value)
    if outcome.verdict == "undecided":
        needed = table.Cell(_needed_text(outcome), sort=outcome.needed)
    return (
        table.Cell(outcome.sentence, anchor=outcome.id),
        table.Cell(outcome.claimed),
        measured,
        interval,
        table.Cell(outcome.verdict, runs, VERDICT_ORDER.index(outcome.verdict), badge=outcome.verdict),
        table.Cell(outcome.reason),
        table.Cell(_look_text(outcome), sort=outcome.look),
        table.Cell(_ratios_text(outcome, labels)),
        table.Cell(_budget_text(outcome), sort=outcome.budgets.get("quarter", math.nan)),
        table.Cell(_pairs_text(outcome), runs, outcome.n_ok),
        p_cell,
        table.Cell(_detectable_text(outcome.detectable), sort=outcome.detectable),
        needed,
        table.Cell(outcome.source),
    )


def _ends(low: float, high: float) -> str:
    return f"[{style.number(low)}, {style.number(high)}]"


def _look_text(outcome: Outcome) -> str:
    if not outcome.scope or outcome.verdict == "no records":
        return "no looks"
    if not outcome.looks:
        return "one look, all tasks"
    if not outcome.look:
        return f"undecided (looks at {', '.join(map(str, outcome.looks))} seeds)"
    return f"{outcome.look} of {len(outcome.looks)} ({outcome.looks[outcome.look - 1]} seeds)"


def _ratios_text(outcome: Outcome, labels: Mapping[str, str]) -> str:
    if not outcome.ratios or not outcome.reference:
        return "one side" if not outcome.reference else labels.get(outcome.reference, outcome.reference)
    parts = [
        f"{labels.get(row['reference'], row['reference'])} {style.number(row['estimate'])} "
        f"{_ends(row['low'], row['high'])}"
        for row in outcome.ratios
    ]
    several = len(parts) > 1 or outcome.chosen != "declared"
    compared = labels.get(outcome.reference, outcome.reference)
    return "; ".join(parts) + (f" (compared with {compared}: {outcome.chosen})" if several else "")


def _budget_text(outcome: Outcome) -> str:
    if "quarter" in outcome.budgets:
        return style.number(outcome.budgets["quarter"])
    return "not measured" if outcome.verdict != "no records" and outcome.scope else "no budgets"


def _pairs_text(outcome: Outcome) -> str:
    parts = [f"{outcome.n_ok} / {outcome.n_planned}"]
    for count, what in (
        (outcome.missing, "missing"),
        (outcome.unfinished, "failed on both sides"),
        (outcome.floors, "tasks below their floors"),
    ):
        parts += [f"{count} {what}"] if count else []
    return ", ".join(parts)


def _detectable_text(detectable: float) -> str:
    if math.isnan(detectable):
        return "not tested"
    return "no effect" if math.isinf(detectable) else style.number(detectable)


def _needed_text(outcome: Outcome) -> str:
    """Return what an undecided claim waits for; its reason says it in a sentence."""
    unit = "tasks" if outcome.unit == "tasks" else "runs" if not outcome.scope else "seeds"
    if math.isnan(outcome.needed):
        return "see why"
    return f"more {unit} than declared" if math.isinf(outcome.needed) else f"{outcome.needed:.0f} {unit}"
