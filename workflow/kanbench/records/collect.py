"""Gathers the records of a plan into one record set. What is no record is set aside and named; nothing is lost."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kanbench.base import paths
from kanbench.base.atomic import write_bytes, write_text
from kanbench.base.errors import Finding, InvalidInput, MissingData
from kanbench.records import adopted, check, record

RECORDS = "records.jsonl.gz"
TABLE = "records.csv"
ASIDE = "set_aside"


@dataclass
class Collection:
    """What `gather` found: `records` in plan order, the names of runs without one, and what is no record.

    Attributes:
        records: A line a planned run.
        absent: The planned runs without a record.
        problems: By run, what is wrong with the file that stands in the place of its record.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    problems: dict[str, list[Finding]] = field(default_factory=dict)


def read_plan(path: Path) -> dict[str, Any]:
    """Return a `plan.json`. Raises InvalidInput where there is none, or something else stands in it."""
    label, step = paths.relative(path), "run the study, or `python -m kanbench plan --write`, which writes it"
    if not path.is_file():
        raise InvalidInput([Finding(label, "", "no such file", "the plan of a study", step)])
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        runs = content["runs"].values()
        if not all(isinstance(run["experiments"], list) and run["label"] + "" and run["spec"]["task"] for run in runs):
            raise ValueError("runs without experiments, label and spec")
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise InvalidInput([Finding(label, "", f"{type(error).__name__}: {error}"[:160], "a plan", step)]) from None
    return content


def gather(plan: Mapping[str, Any], runs: Path) -> Collection:
    """Return the records of the planned runs, and those taken from others beside them (`adopted`).

    A planned run without a record is a row of status `absent`.
    """
    found = Collection()
    for name, planned in plan["runs"].items():
        content, problems = check.read(runs / f"{name}.json", name, planned["spec"])
        if problems:
            found.problems[name] = problems
        if content is None:
            content = _placeholder(planned)
            found.absent += [name] if content["status"] == "absent" else []
        found.records.append({**content, "experiments": planned["experiments"]})
    taken = adopted.read(runs.parent)
    if taken:
        found.records = adopted.joined(found.records, taken)
        there = {line["run"] for line in taken}
        found.absent = [name for name in found.absent if name not in there]
    return found


def _placeholder(planned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the line of a planned run without a record: absent, or skipped for a data set that is not on disk."""
    lacking = planned.get("lacking")
    facts = {key: lacking[key] for key in ("family", "metric", "goal")} if lacking else {}
    blank = record.blank(
        planned["spec"], label=planned["label"], **{"family": "", "metric": "", "goal": "min", **facts}
    )
    if lacking:
        skipped = {"status": "skipped", "reason": lacking["reason"], "skipped_for": {"data": lacking["data"]}}
        return {**blank, **skipped, "code": {"commit": None, "dirty": None, **planned["code"]}}
    return {**blank, "status": "absent", "reason": "planned and not run"}


def problems_of(runs: Path, name: str, spec: Mapping[str, Any]) -> list[Finding]:
    """Return what keeps the file in the place of a run's record from being one."""
    return check.read(runs / f"{name}.json", name, spec)[1]


def set_aside(problems: Mapping[str, list[Finding]], study: Path) -> list[Path]:
    """Move what stands in the place of records below `<study>/set_aside/`, each with its reason beside it.

    Args:
        problems: By run, what is wrong with its file.
        study: Folder of the study.

    Returns:
        Where the files are now. What was there under that name before is kept: names bear a digest of the content.
    """
    moved = []
    for name, findings in problems.items():
        file = study / "runs" / f"{name}.json"
        if not findings or not os.path.lexists(file):
            continue
        content = file.read_bytes()[: check.LARGEST] if file.is_file() else b""
        place = study / ASIDE / f"{name}.{hashlib.sha256(content).hexdigest()[:8]}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place.with_suffix(".reason.txt"), "\n".join(map(str, findings)) + "\n")
        os.replace(file, place)
        moved.append(place)
    return moved


def poorer(found: Collection, folder: Path) -> list[Finding]:
    """Return a finding for every run that the record set in `folder` has, and that `found` is without."""
    from kanbench.records import frame

    try:
        there = {line["run"] for line in frame.read_lines(folder / RECORDS) if not record.is_placeholder(line)}
    except (InvalidInput, MissingData):
        return []  # nothing is there, or nothing that could be lost
    step = "run the study, which makes it again; --fewer writes the poorer set"
    label = paths.relative(folder / RECORDS)
    return [
        Finding(label, name, "no record any more", "that of the set", step) for name in found.absent if name in there
    ]


def write(records: list[dict[str, Any]], folder: Path) -> None:
    """Write `records.jsonl.gz`, each line sealed, and `records.csv`; equal records give equal bytes."""
    from kanbench.records import frame, kept  # pandas, which the other verbs of this module do without

    lines = [record.sealed(entry) for entry in records]
    text = "".join(json.dumps(entry, sort_keys=True, allow_nan=False) + "\n" for entry in lines)
    write_bytes(folder / RECORDS, record.compressed(text))
    table = frame.to_frame(lines)
    write_bytes(folder / TABLE, frame.csv_text(table).encode())
    kept.write(folder / RECORDS, table, frame.fingerprint(lines))
