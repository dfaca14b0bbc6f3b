"""Gathers the records of a plan into one record set, and moves record sets between machines."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kanbench import PROTOCOL
from kanbench.base import schema
from kanbench.base.atomic import write_bytes
from kanbench.base.errors import Finding, InvalidInput
from kanbench.base.spec import run_name
from kanbench.records import record

RECORDS = "records.jsonl.gz"
TABLE = "records.csv"
IDENTITY = ("spec", "status", "metrics", "parameters")
"""What must agree between two records of one run for them to be the same result; times and machines may differ."""


@dataclass
class Collection:
    """What `collect` found: `records` in plan order, and the names of runs without one."""

    records: list[dict[str, Any]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)


def read_plan(path: Path) -> dict[str, Any]:
    """Return a `plan.json`. Raises InvalidInput where there is none."""
    if not path.is_file():
        raise InvalidInput(
            [Finding(str(path), "", "no such file", "the plan of a study", "run `snakemake -n` once, which writes it")]
        )
    return json.loads(path.read_text(encoding="utf-8"))


def gather(plan: Mapping[str, Any], runs: Path) -> Collection:
    """Return the records of the planned runs; a planned run without a record is a row of status `absent`.

    Records of another protocol are set aside: their numbers are not comparable.
    """
    found = Collection()
    for name, planned in plan["runs"].items():
        content = record.read(runs / f"{name}.json")
        if content is not None and content["spec"]["protocol"] != PROTOCOL:
            found.set_aside.append(name)
            content = None
        if content is None:
            found.absent.append(name)
            content = _absent(planned)
        found.records.append({**content, "experiments": planned["experiments"]})
    return found


def _absent(planned: Mapping[str, Any]) -> dict[str, Any]:
    blank = record.blank(planned["spec"], label=planned["label"], family="", metric="", goal="min")
    return {**blank, "status": "absent", "reason": "planned and not run"}


def write(records: list[dict[str, Any]], folder: Path) -> None:
    """Write `records.jsonl.gz` and `records.csv`; equal records give equal bytes."""
    from kanbench.records import frame  # pandas, which the other verbs of this module do without

    lines = "".join(json.dumps(entry, sort_keys=True, allow_nan=False) + "\n" for entry in records)
    write_bytes(folder / RECORDS, gzip.compress(lines.encode(), mtime=0))
    table = frame.csv_text(frame.to_frame(records))
    write_bytes(folder / TABLE, table.encode())


def pack(study: Path, archive: Path) -> int:
    """Write the records below `study` and its plan into one `.tar.gz`; return how many records it holds."""
    files = sorted((study / "runs").rglob("*.json"))
    if not files:
        raise InvalidInput(
            [Finding(str(study), "", "no records below runs/", "a study that has run", "name its folder")]
        )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for file in files:
            tar.add(file, arcname=file.relative_to(study).as_posix())
        if (study / "plan.json").is_file():
            tar.add(study / "plan.json", arcname="plan.json")
    write_bytes(archive, buffer.getvalue())
    return len(files)


def unpack(archive: Path, study: Path) -> dict[str, int]:
    """Merge the records of an archive, or of a `records.jsonl.gz`, into `study`.

    Returns:
        How many records were `added` and how many were there already (`equal`).

    Raises:
        InvalidInput: a record breaks the schema, is of another protocol, bears a name that is not its spec's, or says
            something else than the record that is already there for the same run. Then nothing is merged.
    """
    problems: list[Finding] = []
    added: list[dict[str, Any]] = []
    equal = 0
    for entry in _entries(archive):
        label = f"{archive.name}: {entry.get('run', '?')}"
        broken = schema.findings(entry, "record", label)
        if broken:
            problems += broken
            continue
        protocol = entry["spec"]["protocol"]
        if protocol != PROTOCOL:
            step = "rerun it with this version of the suite, or merge it into a checkout of that protocol"
            problems.append(Finding(label, "spec.protocol", str(protocol), f"protocol {PROTOCOL}", step))
            continue
        if entry["run"] != run_name(entry["spec"]):  # the name is the path that the record is written to
            step = "take the archive from where it was packed; names are computed, not chosen"
            problems.append(Finding(label, "run", entry["run"], f"{run_name(entry['spec'])}, the spec's name", step))
            continue
        here = record.read(study / "runs" / f"{entry['run']}.json")
        if here is None:
            added.append(entry)
        elif all(here[key] == entry[key] for key in IDENTITY):
            equal += 1
        else:
            differing = ", ".join(key for key in IDENTITY if here[key] != entry[key])
            step = f"decide which holds, then delete {study}/runs/{entry['run']}.json or leave this one out"
            problems.append(Finding(label, "", f"another result ({differing})", "one result a spec", step))
    if problems:
        raise InvalidInput(problems)
    for entry in added:
        record.write(entry, study / "runs" / f"{entry['run']}.json")
    return {"added": len(added), "equal": equal}


def _entries(archive: Path) -> Iterator[dict[str, Any]]:
    try:
        content = gzip.decompress(archive.read_bytes())  # all of it at once, which compares the checksum
        if archive.name.endswith(".jsonl.gz"):
            for line in content.decode().splitlines():
                entry = _object(json.loads(line))
                entry.pop("experiments", None)
                if entry.get("status") != "absent":
                    yield entry
            return
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            yield from _members(tar)
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
        step = "copy it again; `python -m kanbench pack` writes such an archive"
        raise InvalidInput(
            [Finding(str(archive), "", str(error), "an archive of `pack` or a records.jsonl.gz", step)]
        ) from error


def _members(tar: tarfile.TarFile) -> Iterable[dict[str, Any]]:
    for member in tar:
        if member.isfile() and member.name.startswith("runs/") and member.name.endswith(".json"):
            yield _object(json.loads(tar.extractfile(member).read()))


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__} where a record, a JSON object, should stand")
    return value
