"""Verbs about bundles: `publish`, `verify`, `take`."""

from __future__ import annotations

import datetime
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from kanbench import PROTOCOL
from kanbench.base.errors import Finding, InvalidInput
from kanbench.records import adopted, bundle
from kanbench.records import check as checking
from kanbench.records import collect as collecting


def publish(options: Namespace) -> None:
    """`publish`: a record set and all that is rendered from it in one file to cite."""
    from kanbench.pages import bundling

    title = options.title or f"MetaKAN benchmark: record set {options.records.resolve().name}"
    date = options.date or datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    about = bundling.About(options.creator, title, options.licence, date)
    content = bundling.publish(options.records, options.output, about)
    size = options.output.stat().st_size / 2**20
    print(f"{options.output}: {len(content['files'])} files, {size:.1f} MiB, records {content['records_sha256'][:12]}")


def verify(options: Namespace) -> int:
    """`verify`: hashes, schema, and everything rendered again; the exit status is 1 where something differs."""
    from kanbench.pages import bundling
    from kanbench.records import frame

    with tempfile.TemporaryDirectory() as temporary:
        content, folder = bundle.unpack(options.bundle, Path(temporary))
        print(f"hashes: {len(content['files'])} files as listed, bundle {bundle.identity(folder)[:12]}")
        lines = frame.read_lines(folder / collecting.RECORDS)
        bundling.digest_of(content, folder)
        print(f"schema: {len(lines)} lines are records, sealed, protocol {content['protocol']}")
        if options.no_render:
            return 0
        problems = list(bundling.differences(content, folder))
        if problems:
            raise InvalidInput(problems)
        print("rendered again: every figure, table, claim and page byte-equal")
    return 0


def take(options: Namespace) -> None:
    """`take`: the records of a bundle into a study or a record set, marked with where they are from."""
    from kanbench.records import frame

    with tempfile.TemporaryDirectory() as temporary:
        content, folder = bundle.unpack(options.bundle, Path(temporary))
        if content["protocol"] != PROTOCOL:
            step = "take it into a checkout of that protocol"
            found = f"protocol {content['protocol']}"
            raise InvalidInput([Finding(options.bundle.name, "protocol", found, f"protocol {PROTOCOL}", step)])
        lines = frame.read_lines(folder / collecting.RECORDS)
        about = {key: content[key] for key in ("name", "creators", "date", "version", "records_sha256")}
        about |= {"id": bundle.identity(folder), "file": options.bundle.name}
        own = _own(options.into)
        added = adopted.add(options.into, about, lines, {line["run"]: line for line in own})
    if (options.into / collecting.RECORDS).is_file():
        there = frame.read_lines(options.into / collecting.RECORDS)
        collecting.write(adopted.joined(there, adopted.read(options.into)), options.into)
    origin = adopted.origin(about)
    print(f"{added} records of '{origin}' added to {options.into}, {len(lines) - added} were there or are none")


def _own(into: Path) -> list[dict[str, Any]]:
    """Return the records that a study made itself, as files or as the lines of its record set."""
    from kanbench.records import frame

    found = {}
    if (into / collecting.RECORDS).is_file():
        lines = frame.read_lines(into / collecting.RECORDS)
        found = {line["run"]: line for line in lines if line["status"] != "absent" and adopted.ORIGIN not in line}
    for file in sorted((into / "runs").rglob("[!.]*.json")):
        name = file.relative_to(into / "runs").as_posix().removesuffix(".json")
        content, _ = checking.read(file, name)
        if content is not None:
            found[name] = content
    return list(found.values())
