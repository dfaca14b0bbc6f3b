"""Writes one HTML page about a record set: offline, self-contained, and every number leads to the runs behind it."""

from __future__ import annotations

import json
import math
import shlex
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from kanbench.base import paths, schema
from kanbench.base.atomic import write_text
from kanbench.base.spec import canonical
from kanbench.pages import compare, embedding, plain, recipes, render, style
from kanbench.pages.table import Cell, Table, empty
from kanbench.records.frame import metric_text
from kanbench.tasks import taskinfo
from kanbench.verdicts import declared as declarations
from kanbench.verdicts.outcome import Outcome

TEMPLATES = Path(__file__).with_name("templates")
RUN_COLUMNS = (
    "Run",
    "Status",
    "Task",
    "Method",
    "Settings",
    "Seed",
    "Metric",
    "Test value",
    "Parameters",
    "Simulated peak (MiB)",
    "Step (ms)",
)
SHORT, PAGE = 100, 25
"""Rows up to which a table stands in the page as it is; of a longer one so many, and all of them packed."""
LARGEST = 1e300
"""What stands for an infinite number where JSON has none."""
HARDWARE = ("gpu", "cpu", "torch", "cuda", "python", "platform")


def report(
    records: str | Path,
    output: str | Path,
    *,
    figures: Path | None = None,
    claims_file: Path | None = None,
    published: Path | None = None,
    tolerant: bool = False,
) -> Path:
    """Write `output`, an HTML page about the record set, and return its path.

    Tables and claims are computed from the records. Figures are taken from `figures` (default: the folder `figures`
    beside `output`); those that are not there are drawn first. With a `published` record set there is a section that
    says whether this one agrees with it. Where it is `tolerant`, the error of a recipe stands in the place of what it
    should have drawn; otherwise it is raised.

    Raises:
        MissingData: there is no record set.
        InvalidInput: a recipe, a claim or a record is malformed.
    """
    output = Path(output)
    record_set = render.RecordSet(records)
    known = recipes.in_chapters(recipes.discover().values())
    figures = figures or output.parent / "figures"
    outcomes = render.evaluated(record_set, claims_file)
    index = {record["run"]: position for position, record in enumerate(record_set.records)}
    page = (
        environment(index)
        .get_template("report.html.j2")
        .render(
            title=f"{render.SUITE}: {record_set.name}",
            overview=_overview(record_set),
            counts=record_set.counts,
            planned=len(record_set.records),
            claims=render.claims_table(outcomes, record_set),
            verdicts=_tally(outcomes),
            **_told(outcomes, record_set, claims_file),
            figures=[_figure(recipe, record_set, figures, tolerant) for recipe in known if recipe.kind == "figure"],
            tables=[
                (recipe.category, _table(recipe, record_set, tolerant)) for recipe in known if recipe.kind == "table"
            ],
            compared=compare.of(record_set, published, outcomes) if published else None,
            runs=_runs_table(record_set, index),
            blocks=embedding.blocks([{**record, "command": command(record["spec"])} for record in record_set.records]),
            library=embedding.library(),
            citation=record_set.citation,
            digest=record_set.digest,
            bibtex=_bibtex(),
            references=_references(),
        )
    )
    write_text(output, page)
    return output


def environment(index: Mapping[str, int]) -> jinja2.Environment:
    """Return the templates' environment; the filter `ids` turns run names into their positions in the page."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    templates = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters["ids"] = lambda runs: embedding.ranges(index[run] for run in runs if run in index)
    templates.filters["packed"] = embedding.packed
    templates.filters["groupby_kept"] = lambda entries, key: [
        (name, list(members)) for name, members in groupby(entries, key=lambda entry: entry[key])
    ]
    templates.globals["source"] = lambda name: Markup((TEMPLATES / name).read_text(encoding="utf-8"))
    templates.filters["sort_key"] = _sort_key
    shown = templates.get_template("cells.html.j2").module.cell_content
    templates.filters["rows"] = lambda table: _packed_rows(table, shown)
    templates.globals.update(SHORT=SHORT, PAGE=PAGE, BLOCK=embedding.BLOCK)
    return templates


def _sort_key(cell: Cell) -> float | None:
    """Return the number that a cell sorts by as JSON has it, or none."""
    if cell.sort is None or math.isnan(cell.sort):
        return None
    return float(f"{max(-LARGEST, min(LARGEST, cell.sort)):.9g}")


def _packed_rows(table: Table, shown: Callable[[Cell], str]) -> str:
    """Return the rows of a table as JSON: the HTML of each cell, in a list with its number where it sorts by one."""
    keyed = ([(str(shown(cell)), _sort_key(cell)) for cell in row] for row in table.rows)
    rows = [[text if key is None else [text, key] for text, key in row] for row in keyed]
    return json.dumps(rows, separators=(",", ":"))


def _told(outcomes: Sequence[Outcome], record_set: render.RecordSet, claims_file: Path | None) -> dict[str, Any]:
    """Return the claims in plain words: the headline, all by question, and what the verdicts mean."""
    declared = {claim["id"]: claim for claim in declarations.load(claims_file or recipes.claims_file())}
    labels = record_set.method_labels
    headline, questions = plain.by_question(outcomes)
    return {
        "headline": headline,
        "questions": [(title, members, _tally(members)) for title, members in questions],
        "sentences": {each.id: plain.sentence(each, declared.get(each.id, {}), labels) for each in outcomes},
        "meanings": plain.MEANINGS,
    }


def _table(recipe: recipes.Recipe, record_set: render.RecordSet, tolerant: bool) -> Table:
    try:
        return render.make_table(recipe, record_set)
    except Exception as error:
        if not tolerant:
            raise
        return render.described(empty(render.failed_with(error)), recipe, record_set)


def _figure(recipe: recipes.Recipe, record_set: render.RecordSet, folder: Path, tolerant: bool) -> dict[str, Any]:
    files = [folder / Path(name).name for name in recipe.outputs()]
    if all(file.is_file() for file in files):
        return _content(recipe, files)
    try:
        return _content(recipe, render.render(recipe.name, record_set.path, folder.parent))
    except Exception as error:
        if not tolerant:
            raise
        with tempfile.TemporaryDirectory() as elsewhere:
            files = [Path(elsewhere) / file.name for file in files]
            render.write_placeholder(recipe, record_set, files, render.failed_with(error))
            return _content(recipe, files)


def _content(recipe: recipes.Recipe, files: Sequence[Path]) -> dict[str, Any]:
    _, png, data = files
    content = png.read_bytes()
    width, height = struct.unpack(">II", content[16:24])  # of the IHDR chunk, always the first
    return {
        "wide": width > 1.4 * height,
        "size": (width, height),
        "name": recipe.name,
        "title": recipe.title,
        "caption": recipe.caption,
        "category": recipe.category,
        "image": embedding.image(content),
        "csv": data.read_text(encoding="utf-8"),
    }


def _overview(record_set: render.RecordSet) -> list[tuple[str, str]]:
    records, frame = record_set.records, record_set.frame
    experiments = sorted({name for record in records for name in record.get("experiments") or []})
    commits = Counter(_commit(record.get("code")) for record in records if record.get("code"))
    machines = Counter(_machine(record.get("environment")) for record in records if record.get("environment"))
    return [
        ("Record set", record_set.name),
        ("Protocol", _distinct(frame["spec.protocol"])),
        ("Experiments", ", ".join(experiments) or "none"),
        ("Methods", f"{frame['method'].nunique()}: {', '.join(record_set.labels)}"),
        ("Tasks", f"{frame['task'].nunique()}"),
        ("Seeds", _distinct(frame["seed"])),
        ("Configuration", _distinct(frame["spec.configuration"])),
        ("Machines", _listed(machines)),
        ("Code", _listed(commits)),
        ("SHA-256 of the records", record_set.digest),
    ]


def _distinct(values: Any) -> str:
    entries = sorted(set(values.dropna()))
    return ", ".join(f"{entry:g}" if isinstance(entry, float) else str(entry) for entry in entries) or "none"


def _listed(counted: Counter[str]) -> str:
    return "; ".join(f"{text} ({count} runs)" for text, count in counted.most_common()) or "not recorded"


def _commit(code: Mapping[str, Any]) -> str:
    if not code.get("commit"):
        return "no git checkout"
    return f"commit {code['commit'][:12]}" + (" with local changes" if code.get("dirty") else "")


def _machine(environment: Mapping[str, Any]) -> str:
    known = [
        f"{key} {environment[key]}" if key in ("torch", "python", "cuda") else str(environment[key])
        for key in HARDWARE
        if environment.get(key)
    ]
    return ", ".join(known)


def _tally(outcomes: Sequence[Outcome]) -> list[tuple[str, int]]:
    counted = Counter(outcome.verdict for outcome in outcomes)
    return [(verdict, counted[verdict]) for verdict in render.VERDICT_ORDER if counted[verdict]]


def _runs_table(record_set: render.RecordSet, index: Mapping[str, int]) -> Table:
    """Return a table of all runs, in the order of the records: the page takes the rows of a list of runs from it."""
    rows = {}
    for _, run in record_set.frame.iterrows():
        ok = run["status"] == "ok"
        shown = style.number(run["value"], 4) if ok else str(run["reason"] or run["status"])
        metric = metric_text(run["metric"]) if isinstance(run["metric"], str) and run["metric"] else "not known"
        rows[index[run["run"]]] = (
            Cell(run["run"], (run["run"],)),
            Cell(run["status"].replace("_", " "), badge=run["status"]),
            Cell(run["task"]),
            Cell(run["label"]),
            Cell(run["settings"] or "default"),
            Cell(str(run["seed"]), sort=float(run["seed"])),
            Cell(metric),
            Cell(shown, sort=run["value"] if ok else None),
            Cell(style.exact(run["parameters.trainable"]), sort=run["parameters.trainable"]),
            Cell(style.mebibytes(run["memory.simulated_peak_bytes"]), sort=run["memory.simulated_peak_bytes"]),
            Cell(style.milliseconds(run["time.step_seconds.median"]), sort=run["time.step_seconds.median"]),
        )
    numeric = frozenset({"Seed", "Parameters", "Simulated peak (MiB)", "Step (ms)"})
    columns = ["run", "status", "reason", "task", "method", "settings", "seed", "metric", "value"]
    columns += ["parameters.trainable", "memory.simulated_peak_bytes", "time.step_seconds.median"]
    ordered = tuple(rows[place] for place in sorted(rows))
    return Table(RUN_COLUMNS, ordered, record_set.frame[columns], numeric, name="runs", title="All runs")


def command(spec: Mapping[str, Any]) -> str:
    """Return the shell line that repeats a run; tasks that only measure a step have a verb of their own."""
    task = taskinfo.discover().get(spec["task"]["name"])
    verb = "profile" if task is not None and task.profile else "train"
    return f"python -m kanbench {verb} --spec {shlex.quote(canonical(spec))} --output record.json"


def _bibtex() -> str:
    """Return a BibTeX entry of the suite from CITATION.cff; a minimal one where there is none."""
    file = paths.root() / "CITATION.cff"
    about = schema.read_yaml(file, file.name) if file.is_file() else {}
    authors = " and ".join(
        author.get("name") and f"{{{author['name']}}}" or f"{author.get('family-names')}, {author.get('given-names')}"
        for author in about.get("authors", [])
    )
    fields = {
        "title": "{" + about.get("title", render.SUITE) + "}",
        "author": authors or f"{{The authors of the {render.SUITE}}}",
        "version": str(about.get("version", "")),
        "year": str(about.get("date-released", ""))[:4],
        "url": about.get("repository-code") or about.get("url") or "",
    }
    lines = [f"  {key} = {{{value}}}," for key, value in fields.items() if value]
    return "\n".join(["@software{metakan_benchmark,", *lines, "}"])


def _references() -> str:
    file = recipes.folder() / "references.bib"
    return file.read_text(encoding="utf-8") if file.is_file() else ""
