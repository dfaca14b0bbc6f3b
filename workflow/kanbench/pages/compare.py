"""Does a second run agree with a published record set? The line, the tables and the files that say so."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from kanbench.base import spreadsheet
from kanbench.base.atomic import write_text
from kanbench.base.errors import Finding, InvalidInput
from kanbench.base.spec import canonical
from kanbench.pages import recipes, render, style
from kanbench.pages.table import Cell, Table
from kanbench.records import frame as frames
from kanbench.verdicts import agreement, same_verdicts
from kanbench.verdicts import declared as declarations
from kanbench.verdicts.outcome import Outcome

TITLE = "Does a second run agree?"
MACHINE = {
    "processor": "environment.cpu",
    "GPU": "environment.gpu",
    "platform": "environment.platform",
    "Python": "environment.python",
    "torch": "environment.torch",
    "CUDA": "environment.cuda",
    "threads": "environment.threads",
    "kernels": "method_info.cpu_kernels",
    "implementation": "method_info.implementation",
    "commit": "code.commit",
    "protocol": "spec.protocol",
}
FILES = ("compare.md", "compare.csv", "compare.tex", "compare.json")
CELLS_CAPTION = (
    "One row a cell (task, method and settings) that both record sets have. Predicted is the interval in which the "
    "median over so many seeds lies with a probability of 95 %, by the spread over seeds in the published set: from "
    "order statistics where there are values enough, else from Student's t, of errors on the scale of their logarithms."
)
METHODS_CAPTION = (
    "Over the cells of each method: how many lie inside their interval, the median of the ratio to the published "
    "value, and a sign test over tasks (p after Holm), which finds a shift that no single cell shows."
)
VERDICTS_CAPTION = (
    "Claim by claim: what either record set says. Where only one decides, the sides are compared, that is the sign of "
    "the measured difference; of two differences smaller than the margin the sign does not count."
)
MACHINES_CAPTION = (
    "What made the runs, with the number of runs; where machines differ, equal runs need not give equal bits."
)


@dataclass(frozen=True)
class Compared:
    """A record set beside a published one: what `agreement` and `same_verdicts` found, and the machines."""

    name: str
    published_name: str
    found: agreement.Agreement
    verdicts: pd.DataFrame
    machines: pd.DataFrame

    @cached_property
    def tally(self) -> dict[str, int]:
        """How many claims agree in each way."""
        return {str(key): int(count) for key, count in self.verdicts["agreement"].value_counts().items()}

    @cached_property
    def problems(self) -> list[str]:
        """What does not agree, one phrase each; none where everything does."""
        found, texts = self.found, []
        if found.inside < found.least:
            texts.append(f"fewer than {found.least} cells inside their interval")
        far = found.cells[found.cells["far"]]
        if len(far):
            texts.append(f"{len(far)} cells far outside ({_named(far['label'] + ' on ' + far['task'])})")
        for _, row in found.methods[found.methods["shifted"]].iterrows():
            texts.append(f"{row['label']} shifted ({style.number(row['ratio'])} × the published error)")
        for name, what in (("parameters", "parameter counts"), ("peak", "simulated peaks")):
            differing = found.cells[found.cells[name].eq(False)]
            if len(differing):
                texts.append(f"other {what} in {len(differing)} cells ({_named(differing['label'])})")
        changed = found.data[~found.data["equal"].astype(bool)]
        if len(changed):
            texts.append(f"other data in {_named(changed['task'])}")
        contrary = self.verdicts[self.verdicts["agreement"] == same_verdicts.CONTRARY]
        if len(contrary):
            texts.append(f"contrary verdicts on {_named(contrary['id'])}")
        return texts

    @property
    def agrees(self) -> bool:
        return not self.problems

    @property
    def line(self) -> str:
        """The one line that `compare` and `make reproduce` end with."""
        found, tally = self.found, self.tally
        parts = [f"{found.inside} of {len(found.judged)} cells inside their interval"]
        parts[0] += f" ({found.expected:.0f} should, at least {found.least})" if len(found.judged) else ""
        both = sum(tally.get(each, 0) for each in (same_verdicts.SAME, same_verdicts.PARTLY, same_verdicts.CONTRARY))
        sided = tally.get(same_verdicts.SAME_SIDE, 0) + tally.get(same_verdicts.OTHER_SIDE, 0)
        parts.append(f"{tally.get(same_verdicts.SAME, 0)} of {both} verdicts the same where both decide")
        parts.append(f"{tally.get(same_verdicts.SAME_SIDE, 0)} of {sided} on the same side where one does")
        if len(found.runs):
            parts.append(f"{int(found.runs['equal'].sum())} of {len(found.runs)} common runs equal to rounding")
        differing = list(self.machines.loc[~self.machines["same"].astype(bool), "what"])
        parts.append(f"machines differ in {', '.join(differing)}" if differing else "machines alike")
        verdict = "agrees" if self.agrees else f"does not agree: {'; '.join(self.problems)}"
        return f"{self.name} against {self.published_name}: {'; '.join(parts)}. It {verdict}."

    @property
    def tables(self) -> list[Table]:
        """The tables of the section: verdicts, methods, cells, machines."""
        return [_verdict_table(self), _method_table(self), cell_table(self), _machine_table(self)]


def of(
    mine: str | Path | render.RecordSet, published: str | Path, outcomes: Sequence[Outcome] | None = None
) -> Compared:
    """Return a record set beside a published one.

    The published folder may hold the sets of further studies in folders of its own; cells are looked up in these too.
    Verdicts are those of its own set.

    Args:
        outcomes: The verdicts on `mine`, where they are known.

    Raises:
        MissingData: there is no record set.
        InvalidInput: both are the same folder, or a record is malformed.
    """
    here = mine if isinstance(mine, render.RecordSet) else render.RecordSet(mine)
    there = render.RecordSet(published)
    if here.path.resolve() == there.path.resolve():
        step = "name the record set that was made, then the one that was published"
        raise InvalidInput([Finding("compare", "", str(published), "two record sets", step)])
    mine_rows = keyed(here.frame, here.records)
    known = {record["run"] for record in there.records}
    further = [record for record in _further(there.path) if record["run"] not in known]
    everything = [*there.records, *further]
    published_rows = keyed(frames.to_frame(everything) if further else there.frame, everything)
    declared = declarations.load(recipes.claims_file())
    verdicts = (outcomes or render.known_outcomes(here), render.known_outcomes(there))
    return Compared(
        name=here.name,
        published_name=there.name,
        found=agreement.compare(mine_rows, published_rows),
        verdicts=same_verdicts.compare(*verdicts, declared),
        machines=_machines(mine_rows, published_rows),
    )


def _further(path: Path) -> list[dict[str, Any]]:
    folder = path if path.is_dir() else path.parent
    files = sorted(folder.glob(f"*/{frames.FILES[0]}"))
    return [record for file in files for record in frames.read_lines(file)]


def keyed(frame: pd.DataFrame, records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a frame with what `agreement.compare` pairs by."""
    specs = {record["run"]: record["spec"] for record in records}
    return frame.assign(
        replicates=[agreement.replicates(specs[run]) for run in frame["run"]],
        problem=[canonical(specs[run]["task"]) for run in frame["run"]],
    )


def _machines(mine: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Return one row a property of machines and software: what either set was made with, and whether it is the same."""
    versions = sorted(
        {column for rows in (mine, published) for column in rows if column.startswith("code.packages.")}
        & {column for rows in (mine, published) for column in rows if column.endswith(".version")}
    )
    columns = {**MACHINE, **{column.split(".")[2]: column for column in versions}}
    rows = []
    for what, column in columns.items():
        counts = [_counted(each[column]) if column in each else {} for each in (mine, published)]
        if any(counts):
            texts = ["; ".join(f"{value} ({count})" for value, count in each.items()) or "none" for each in counts]
            rows.append(
                {"what": what, "mine": texts[0], "published": texts[1], "same": set(counts[0]) == set(counts[1])}
            )
    return pd.DataFrame(rows, columns=["what", "mine", "published", "same"])


def _counted(values: pd.Series) -> dict[str, int]:
    texts = values.dropna().map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
    return {str(value): int(count) for value, count in texts.value_counts().items()}


def _named(names: pd.Series, most: int = 4) -> str:
    unique = sorted(set(names))
    more = f" and {len(unique) - most} more" if len(unique) > most else ""
    return ", ".join(unique[:most]) + more


def cell_table(compared: Compared) -> Table:
    """Return the table of cells, those outside their interval first."""
    cells = compared.found.cells
    outside = cells["inside"].eq(False)
    cells = cells.assign(order=(~outside).astype(int)).sort_values("order", kind="stable").drop(columns="order")
    columns = ("Task", "Method", "Settings", "Here", "Published", "Predicted", "Seeds", "Inside", "Counts")
    rows = tuple(_cell_row(row) for _, row in cells.iterrows())
    what = f"{compared.name} against {compared.published_name}"
    return Table(
        columns, rows, cells, frozenset({"Here", "Published"}), name="compare", title=f"{TITLE} Cells, {what}",
        caption=CELLS_CAPTION,
    )  # fmt: skip


def _cell_row(row: pd.Series) -> tuple[Cell, ...]:
    runs = tuple(row["runs"].split())
    judged = not pd.isna(row["inside"])
    inside = ("yes" if row["inside"] else "no") if judged else "no interval"
    counts = [f"other {name}" for name in ("parameters", "peak") if agreement.differs(row[name])]
    interval = f"[{style.number(row['low'])}, {style.number(row['high'])}]" if judged else "none"
    return (
        Cell(row["task"]),
        Cell(row["label"]),
        Cell(row["settings"] or "default"),
        Cell(_value(row["value"]), runs, row["value"]),
        Cell(_value(row["value_published"]), sort=row["value_published"]),
        Cell(interval, sort=row["low"]),
        Cell(f"{row['n']} of {row['n_published']}", sort=row["n"]),
        Cell(inside, runs, badge={"yes": "holds", "no": "fails"}.get(inside, "absent")),
        Cell(", ".join(counts) or "equal", badge="fails" if counts else ""),
    )


def _value(value: float) -> str:
    if math.isnan(value):
        return "not trained"
    return "failed" if math.isinf(value) else style.number(value)


def _method_table(compared: Compared) -> Table:
    methods = compared.found.methods
    rows = tuple(
        (
            Cell(row["label"]),
            Cell(f"{row['inside']} of {row['judged']}", sort=row["inside"]),
            Cell("no value" if math.isnan(row["ratio"]) else style.number(row["ratio"]), sort=row["ratio"]),
            Cell(str(row["tasks"]), sort=row["tasks"]),
            Cell(style.number(row["p"], 2), sort=row["p"]),
            Cell("shifted" if row["shifted"] else "not shifted", badge="fails" if row["shifted"] else ""),
        )
        for _, row in methods.iterrows()
    )
    columns = ("Method", "Cells inside", "Ratio", "Tasks", "p", "Shift")
    numeric = frozenset({"Ratio", "Tasks", "p"})
    return Table(columns, rows, methods, numeric, name="compare_methods", title="Methods", caption=METHODS_CAPTION)


def _verdict_table(compared: Compared) -> Table:
    badges = {same_verdicts.SAME: "holds", same_verdicts.CONTRARY: "fails", same_verdicts.OTHER_SIDE: "undecided"}
    rows = tuple(
        (
            Cell(row["id"]),
            Cell(_with_estimate(row["verdict"], row["estimate"])),
            Cell(_with_estimate(row["verdict_published"], row["estimate_published"])),
            Cell(row["agreement"], badge=badges.get(row["agreement"], "")),
        )
        for _, row in compared.verdicts.iterrows()
    )
    columns = ("Claim", "Here", "Published", "Agreement")
    made = Table(columns, rows, compared.verdicts, name="compare_verdicts", title="Verdicts", caption=VERDICTS_CAPTION)
    return made


def _with_estimate(verdict: str, estimate: float) -> str:
    return verdict if math.isnan(estimate) else f"{verdict} ({style.number(estimate)})"


def _machine_table(compared: Compared) -> Table:
    rows = tuple(
        (Cell(row["what"]), Cell(row["mine"]), Cell(row["published"]), Cell("same" if row["same"] else "differs"))
        for _, row in compared.machines.iterrows()
    )
    columns = ("What", "Here", "Published", "Same")
    return Table(
        columns,
        rows,
        compared.machines,
        name="compare_machines",
        title="Machines and software",
        caption=MACHINES_CAPTION,
        prose={"Here": 0.35, "Published": 0.35},
    )


def write(compared: Compared, output: Path) -> list[Path]:
    """Write the page (Markdown), the cells (CSV, LaTeX) and the summary (JSON) below `output`; return their paths."""
    made = compared.tables
    summary = {
        "line": compared.line,
        "agrees": compared.agrees,
        "problems": compared.problems,
        "cells": len(compared.found.cells),
        "judged": len(compared.found.judged),
        "inside": compared.found.inside,
        "expected": compared.found.expected,
        "verdicts": compared.tally,
        "machines": json.loads(compared.machines.to_json(orient="records")),
    }
    cells = made[2]
    page = [f"# {TITLE}", compared.line, *(each.to_markdown().strip() for each in made)]
    texts = {
        "md": "\n\n".join(page) + "\n",
        "csv": spreadsheet.to_csv(cells.data, float_format="%.6g"),
        "tex": cells.to_latex(),
        "json": json.dumps(summary, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
    }
    for suffix, text in texts.items():
        write_text(Path(output) / f"compare.{suffix}", text)
    return [Path(output) / name for name in FILES]
