"""Which runs of a plan have to be made, and how Snakemake is told.

Snakemake decides by times and by what it noted in `.snakemake`; a run is due by the digests in its record
(`kanbench.records.survey`), whether the notes are there or not. So the times of what a run is made from count for
nothing, and every run has the file `REQUEST` among its inputs: as one whose time counts where the run is due, and is
then newer than whatever stands in its place, and as one whose time does not count where it is done. The list of inputs
is the same either way.

Nothing here is written in a dry run but `REQUEST`, which lies among Snakemake's own notes. What a run is made from,
and a file that is no record, is kept or set aside when a run of the workflow begins (`Due.begin`).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from kanbench import PROTOCOL
from kanbench.base.atomic import write_text
from kanbench.records import collect, survey
from kanbench.study import lacking, together

REQUEST = ".snakemake/kanbench/{study}.txt"
SHOWN = 10


class Due:
    """What of a plan has to be made. In a process that another one started nothing is looked up: it makes one run."""

    def __init__(self, plan: Any):
        self.plan = plan
        self.folder = Path(plan.folder)
        self._survey = survey.Survey(self.folder)

    @cached_property
    def standings(self) -> Mapping[str, survey.Standing]:
        """How every planned run stands, by name."""
        return self._survey.standings({name: {"code": self.code_of(name)} for name in self.plan.runs})

    def code_of(self, name: str) -> dict[str, Any]:
        """Return the digest of the files, and the packages, that would make a run now."""
        return self.plan.made_by.of(self.plan.runs[name].spec)

    def made(self, name: str) -> bool:
        """Tell whether a run is done."""
        return not self.plan.leading or self.standings[name].done

    @cached_property
    def lacking(self) -> dict[str, dict[str, Any]]:
        """The runs that are skipped since their data set is not on disk, by name (`kanbench.study.lacking`)."""
        return lacking.of(self.plan)

    @cached_property
    def collected(self) -> bool:
        """Whether the record set holds what the records say; a set that is not there is due by itself."""
        if not self.plan.leading or not (self.folder / collect.RECORDS).exists():
            return True
        return self._survey.collected(self.standings)

    @cached_property
    def request(self) -> str:
        """The path of the file by which runs are asked for; it lists them, with the reasons."""
        file = Path(REQUEST.format(study=self.plan.study.name))
        if self.plan.leading or not file.is_file():
            again = [f"{name}  {each.reason}" for name, each in self.standings.items() if each.reason]
            write_text(file, "\n".join([f"asked for at {time.time_ns()}", *again]) + "\n")
            older = [self.folder / "runs" / f"{name}.json" for name, each in self.standings.items() if each.reason]
            newest = max([time.time(), *(_time(path) + 1 for path in [self.folder / collect.RECORDS, *older])])
            os.utime(file, (newest, newest))
        return file.as_posix()

    def counting(self, done: bool) -> list[str]:
        """Return `REQUEST` where something is not done, for the inputs whose times count."""
        return [] if done else [self.request]

    def settled(self, done: bool) -> list[str]:
        """Return `REQUEST` where something is done, for the inputs whose times do not count."""
        return [self.request] if done else []

    @property
    def content(self) -> dict[str, Any]:
        """What `plan.json` says: all that the verbs which follow a plan have to know of it."""
        plan = self.plan
        return {
            "study": plan.study.name,
            "protocol": PROTOCOL,
            "experiments": plan.experiments,
            "runs": {
                run.name: {
                    "spec": run.spec,
                    "label": run.label,
                    "experiments": run.experiments,
                    "exclusive": run.exclusive,
                    "code": self.code_of(run.name),
                    **({"lacking": self.lacking[run.name]} if run.name in self.lacking else {}),
                }
                for run in plan.runs.values()
            },
        }

    def write_plan(self) -> Path:
        """Write `<folder>/plan.json`, where its content changed, and the looks that were reached; return its path."""
        self.plan.looks.write()
        path, text = self.folder / "plan.json", json.dumps(self.content, indent=0, sort_keys=True)
        if not path.is_file() or path.read_bytes() != text.encode():
            write_text(path, text)
        return path

    def begin(self) -> None:
        """Keep the plan and what was looked up, and set aside what is no record; called before the first job."""
        together.write(self.plan.cells, self.folder)
        self.write_plan()
        wrong = {name: each for name, each in self.standings.items() if each.kind == survey.UNREADABLE}
        problems = {name: collect.problems_of(self.folder / "runs", name, self.plan.runs[name].spec) for name in wrong}
        moved = collect.set_aside(problems, self.folder)
        for place in moved[:SHOWN]:
            print(f"no record, set aside: {place}, with the reason beside it", file=sys.stderr)
        if len(moved) > SHOWN:
            print(f"... and {len(moved) - SHOWN} more below {self.folder / collect.ASIDE}", file=sys.stderr)
        self._survey.keep()


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
