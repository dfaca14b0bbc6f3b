"""What became of published runs that were repeated: a line each, and one about all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kanbench.pages import compare, style
from kanbench.records import frame as frames
from kanbench.statistics import prediction
from kanbench.verdicts import agreement

EQUAL, SPREAD, OUTSIDE, COUNTED = (
    "equal",
    "within the spread over seeds",
    "outside the spread over seeds",
    "counts equal",
)
OTHER_COUNTS, OTHER_DATA, LOST, ALONE = (
    "other counts",
    "other data",
    "not repeated",
    "differs, no spread to compare with",
)
BAD = (OTHER_COUNTS, OTHER_DATA)


@dataclass(frozen=True)
class Repeated:
    """Runs made again: one row a run with `run`, `outcome`, `value`, `value_published` and `reason`."""

    name: str
    rows: pd.DataFrame

    @property
    def agrees(self) -> bool:
        """Whether no data set and no count differs, and no more runs lie outside the spread than chance has outside."""
        counts = self.rows["outcome"].value_counts()
        judged = int(sum(counts.get(each, 0) for each in (SPREAD, OUTSIDE, EQUAL)))
        inside = judged - int(counts.get(OUTSIDE, 0))
        bad = any(counts.get(each, 0) for each in BAD)
        return not bad and inside >= prediction.least_inside(judged)

    @property
    def line(self) -> str:
        """The sentence about all of them."""
        counts = self.rows["outcome"].value_counts()
        texts = [f"{count} {outcome}" for outcome, count in counts.items()]
        verdict = "Today's code gives the published numbers" if self.agrees else "Today's code gives other numbers"
        return f"{self.name}: {len(self.rows)} runs repeated, {', '.join(texts)}. {verdict}."

    def lines(self) -> list[str]:
        """Return one line a run."""
        return [
            f"{row['outcome']:30}  {row['run']}  {style.number(row['value_published'])} -> {style.number(row['value'])}"
            + (f"  {row['reason']}" if row["reason"] else "")
            for _, row in self.rows.iterrows()
        ]


def of(name: str, made: Sequence[Mapping[str, Any]], theirs: pd.DataFrame) -> Repeated:
    """Return what repeated records say beside the frame (`compare.keyed`) of the set that they were taken from."""
    made = [{**each, "experiments": []} for each in made]
    mine = compare.keyed(frames.to_frame(made), made)
    found = agreement.compare(mine, theirs)
    known = theirs.set_index("run")
    equal = dict(zip(found.runs["run"], found.runs["equal"], strict=True))
    other = {(row["task"], row["seed"]) for _, row in found.data.iterrows() if not row["equal"]}
    cells = found.cells.set_index("key")
    rows = []
    for _, run in mine.iterrows():
        cell = cells.loc[run["replicates"]] if run["replicates"] in cells.index else None
        rows.append(
            {
                "run": run["run"],
                "outcome": _outcome(run, cell, equal.get(run["run"]), (run["task"], run["seed"]) in other),
                "value": run["error"],
                "value_published": known.loc[run["run"], "error"],
                "reason": run["reason"] if isinstance(run["reason"], str) else "",
            }
        )
    return Repeated(name, pd.DataFrame(rows))


def _outcome(run: pd.Series, cell: pd.Series | None, equal: bool | None, other_data: bool) -> str:
    if cell is None or run["status"] != "ok":
        return LOST
    if other_data:
        return OTHER_DATA
    if agreement.differs(cell["parameters"]) or agreement.differs(cell["peak"]):
        return OTHER_COUNTS
    if equal is None:
        return COUNTED
    if equal:
        return EQUAL
    return ALONE if pd.isna(cell["inside"]) else SPREAD if cell["inside"] else OUTSIDE
