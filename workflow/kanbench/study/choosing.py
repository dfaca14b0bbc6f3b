"""Makes the tables of the study `tuning`: what was tried and chosen, the references, and what is to be tried next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kanbench.base import spreadsheet
from kanbench.base.atomic import write_text
from kanbench.baselines import discovery
from kanbench.study import choice, rate_choice, references, search


@dataclass(frozen=True)
class Choosing:
    """Two tables, and what follows: `said` tells of each experiment whether a further round is planned."""

    table: pd.DataFrame
    references: pd.DataFrame
    rounds: search.Rounds
    said: list[str]

    def write(self, table: Path, references_path: Path) -> None:
        """Write both tables, with the rows that they had for what was not tuned now, and the rounds."""
        for path, new, merged in (
            (table, self.table, rate_choice.merged),
            (references_path, self.references, references.merged),
        ):
            whole = merged(new, pd.read_csv(path)) if path.is_file() else merged(new, new.iloc[:0])
            write_text(path, spreadsheet.to_csv(whole))
        self.rounds.write()

    @property
    def text(self) -> str:
        """What was chosen, the references, and what comes next."""
        columns = ["experiment", "budget", "method", "settings", "validation_score", "standard_error", "on_edge"]
        chosen = self.table[self.table["chosen"].astype(bool)].reindex(columns=columns)
        tables = [chosen.to_string(index=False, na_rep="")]
        tables += [self.references.to_string(index=False)] if len(self.references) else []
        return "\n\n".join([*tables, "\n".join(self.said or ["no further round: nothing lies on an edge"])])


def choose(records: Sequence[Mapping[str, Any]], experiments: Mapping[str, Any], folder: Path) -> Choosing:
    """Return the choices of the study `tuning`.

    Args:
        experiments: Those of the study.
        folder: Where its records are; rounds are kept there.

    Raises:
        ValueError: no records, or runs of seeds that studies report.
    """
    found = rate_choice.cells(records, experiments)
    known = {key for record in records if record["status"] == "ok" for key in record["experiments"]}
    asked = [question for question in choice.QUESTIONS if question.experiment in known or not found]
    rows = [row for cell in found if cell.chosen is not None for row in cell.rows()]
    tables = [pd.DataFrame(rows)] if rows else []
    tables += [choice.choose(records, asked)] if asked else []
    dense = {
        method.name
        for baseline in discovery.discover().values()
        for method in baseline.methods.values()
        if method.role == discovery.DENSE_REFERENCE
    }
    rounds = search.Rounds(folder)
    said = rate_choice.next_rounds(found, experiments, rounds)
    return Choosing(pd.concat(tables, ignore_index=True), references.table(found, records, dense), rounds, said)
