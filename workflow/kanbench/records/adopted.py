"""Records of others in a study: kept beside its own, marked with where they are from in every line of a record set.

A bundle's records lie in `<study>/adopted/<id>.jsonl.gz`, with `<id>.json` beside it, which says whose they are. They
join the record set when it is gathered, each with the key `origin`; a run that the study made itself stays its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kanbench.base.atomic import write_bytes, write_text
from kanbench.base.errors import Finding, InvalidInput
from kanbench.records import check, record
from kanbench.records.archive import IDENTITY, lines

FOLDER = "adopted"
ORIGIN = "origin"
SET = ".jsonl.gz"


def origin(about: Mapping[str, Any]) -> str:
    """Return how lines and tables call the bundle that a record is from: its name, and the start of its digest."""
    return f"{about['name']} {about['id'][:8]}"


def of(study: Path) -> dict[str, dict[str, Any]]:
    """Return what is known of the bundles that a study has taken, by their `origin`."""
    found = {}
    for file in sorted((study / FOLDER).glob("*.json")):
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
            found[origin(about)] = {**about, "records": file.with_name(file.stem + SET)}
        except (OSError, ValueError, TypeError, LookupError) as error:
            step = "take the bundle again"
            raise InvalidInput([Finding(str(file), "", str(error), "what is known of a bundle", step)]) from None
    return found


def read(study: Path) -> list[dict[str, Any]]:
    """Return the lines that a study has taken from others, each with its `origin`; the first one of a run counts."""
    found: dict[str, dict[str, Any]] = {}
    for name, about in of(study).items():
        for _, content in lines(about["records"]):
            line = check.parse(content)
            found.setdefault(line["run"], record.sealed({**line, ORIGIN: name}))
    return list(found.values())


def joined(own: Iterable[Mapping[str, Any]], theirs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return lines of a study with those of others that it lacks, also in the place of planned runs without record."""
    own = [dict(line) for line in own if ORIGIN not in line]
    made = {line["run"] for line in own if line["status"] != "absent"}
    new = [dict(line) for line in theirs if line["run"] not in made]
    replaced = {line["run"] for line in new}
    return [*(line for line in own if line["run"] not in replaced), *new]


def add(study: Path, about: Mapping[str, Any], taken: Iterable[Mapping[str, Any]], present: Mapping[str, Any]) -> int:
    """Keep the records of a bundle beside those of a study; return how many the study did not have.

    Args:
        study: Folder of a study, or of a record set.
        about: `name`, `id` (digest of its manifest) and whatever else is known of the bundle.
        taken: Lines of its record set.
        present: The records that the study made itself, by run.

    Raises:
        InvalidInput: a run has another result here. Nothing is kept then.
    """
    kept, problems = [], []
    for line in taken:
        here = present.get(line["run"])
        if line["status"] == "absent" or ORIGIN in line:
            continue
        differing = [key for key in IDENTITY if here is not None and here[key] != line[key]]
        if differing:
            found = f"another result ({', '.join(differing)}) than that of {study}"
            step = "decide which holds, and leave the bundle out or set the own record aside"
            problems.append(Finding(about["name"], line["run"], found, "one result a spec", step))
        kept.append(line)
    if problems:
        raise InvalidInput(problems)
    text = "".join(json.dumps(line, sort_keys=True, allow_nan=False) + "\n" for line in kept)
    place = study / FOLDER / about["id"][:12]
    write_bytes(place.with_name(place.name + SET), record.compressed(text))
    write_text(place.with_name(place.name + ".json"), json.dumps(dict(about), indent=1, sort_keys=True) + "\n")
    return sum(line["run"] not in present for line in kept)
