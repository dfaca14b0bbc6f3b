"""Moves records between machines: all of an archive is merged, or nothing.

What an archive says is not trusted. Every record is checked as if it were found in the study, names decide no path
before they have been checked, and no more is unpacked at a time than one record may take.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from kanbench.base import paths
from kanbench.base.atomic import replacing, write_text
from kanbench.base.errors import Finding, InvalidInput
from kanbench.records import check, record

IDENTITY = ("spec", "status", "metrics", "parameters")
"""What must agree between two records of one run for them to be the same result; times and machines may differ."""
MOST_BYTES = 2**30
"""Bytes that an archive may unpack to: several times those of the full study."""
MOST_FINDINGS = 20
"""Where this many records are refused, the rest is not looked at."""
LONGEST_NAME = 2**16
STEP = "copy it again; `python -m kanbench pack` writes such an archive"


def pack(study: Path, archive: Path) -> tuple[int, list[Finding]]:
    """Write the records below `study` and its plan into one `.tar.gz`.

    Returns:
        How many records it holds, and what is wrong with the files that were left out because they are none.

    Raises:
        InvalidInput: there is no record.
    """
    good, problems, runs = [], [], study / "runs"
    for file in sorted(runs.rglob("[!.]*.json")):
        name = file.relative_to(runs).as_posix().removesuffix(".json")
        content, found = check.read(file, name)
        problems += found
        if content is not None:
            good.append(file)
    if not good:
        found = "no records below runs/"
        raise InvalidInput([*problems, Finding(str(study), "", found, "a study that has run", "name its folder")])
    with replacing(archive) as temporary, tarfile.open(temporary, mode="w:gz") as tar:
        for file in good:
            tar.add(file, arcname=file.relative_to(study).as_posix())
        if (study / "plan.json").is_file():
            tar.add(study / "plan.json", arcname="plan.json")
    return len(good), problems


def unpack(archive: Path, study: Path) -> dict[str, int]:
    """Merge the records of an archive, or of a `records.jsonl.gz`, into `study`.

    Returns:
        How many records were `added` and how many were there already (`equal`).

    Raises:
        InvalidInput: the archive is damaged or too large, or holds no record, what is no record (`check`), records of
            another protocol, two results for one run, or another result than the study has. Then nothing is merged.
    """
    runs = study / "runs"
    existing = next(folder for folder in runs.resolve().parents if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=existing) as folder:
        merge = _Merge(runs, Path(folder))
        try:
            for label, content in _contents(archive):
                merge.take(f"{archive.name}: {label}", content)
                if len(merge.problems) >= MOST_FINDINGS:
                    break
        except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
            raise InvalidInput(
                [Finding(str(archive), "", str(error), "an archive of `pack` or a records.jsonl.gz", STEP)]
            ) from None
        if merge.problems:
            raise InvalidInput(merge.problems)
        if not (merge.added or merge.equal):
            expected = "records, below runs/ or as the lines of a record set"
            raise InvalidInput([Finding(str(archive), "", "no records", expected, STEP)])
        merge.finish()
    return {"added": len(merge.added), "equal": merge.equal}


class _Merge:
    """Records on their way into a study: checked, and written below a folder of their own until all are."""

    def __init__(self, runs: Path, waiting: Path):
        self.runs, self.waiting = runs, waiting
        self.problems: list[Finding] = []
        self.added: dict[str, Mapping[str, Any]] = {}
        self.equal = 0

    def take(self, label: str, content: bytes) -> None:
        """Check one record, and keep it apart where it is new."""
        label = ascii(label)[1:-1][:200]
        try:
            entry = check.parse(content)
        except ValueError as error:
            self._refuse(label, "", str(error), "a record", STEP)
            return
        if "experiments" in entry:  # a line of a record set
            problems = check.line(entry, label)
            if record.is_placeholder(entry) and not problems:
                return
            if "origin" in entry:
                expected = "records that this set's study made"
                self._refuse(label, "origin", str(entry["origin"])[:80], expected, "take the bundle that it is from")
                return
            entry.pop("experiments")
            entry = entry if problems else record.sealed(entry)
        else:
            problems = []
        problems = problems or check.findings(entry, label)
        if problems:
            self.problems += problems
            return
        self._place(label, entry)

    def _place(self, label: str, entry: Mapping[str, Any]) -> None:
        name = entry["run"]
        place = self.runs / f"{name}.json"
        if not place.resolve().is_relative_to(self.runs.resolve()):
            found = f"{place.resolve()}, outside"
            self._refuse(label, "run", found, f"a path below {self.runs}", "remove the link in that folder")
            return
        here, damaged = (None, []) if name in self.added else check.read(place, name)
        if damaged:
            self.problems += damaged
            return
        if name in self.added:
            here = self.added[name]
        if here is None:
            self.added[name] = {key: entry[key] for key in IDENTITY}
            write_text(self.waiting / f"{name}.json", record.text(entry))
        elif all(here[key] == entry[key] for key in IDENTITY):
            self.equal += 1
        else:
            differing = ", ".join(key for key in IDENTITY if here[key] != entry[key])
            there = "the same archive" if name in self.added else paths.relative(place)
            step = f"decide which holds, then leave this one out or delete that of {there}"
            self._refuse(label, "", f"another result ({differing}) than {there}", "one result a spec", step)

    def _refuse(self, label: str, key: str, found: str, expected: str, step: str) -> None:
        self.problems.append(Finding(label, key, found, expected, step))

    def finish(self) -> None:
        """Move all records into the study; where one cannot be moved, those before it are taken back."""
        placed: list[Path] = []
        try:
            for name in self.added:
                place = self.runs / f"{name}.json"
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(self.waiting / f"{name}.json", place)
                placed.append(place)
        except OSError as error:
            for place in placed:
                place.unlink(missing_ok=True)
            where = paths.relative(self.runs)
            step = "make room, or make the folder writable, and unpack again"
            raise InvalidInput([Finding(where, "", str(error), "a folder to write to", step)]) from None


class _Bounded:
    """A stream that refuses to give more than `MOST_BYTES`."""

    def __init__(self, stream: BinaryIO):
        self.stream, self.left = stream, MOST_BYTES

    def read(self, size: int = -1) -> bytes:
        part = self.stream.read(2**20 if size < 0 else size)
        self.left -= len(part)
        if self.left < 0:
            raise ValueError(f"more than {MOST_BYTES / 2**30:.0f} GiB when it is unpacked")
        return part

    def readline(self) -> bytes:
        part = self.stream.readline(check.LARGEST + 1)
        self.left -= len(part)
        if len(part) > check.LARGEST or self.left < 0:
            raise ValueError(f"a line of more than {check.LARGEST / 2**20:.0f} MiB")
        return part


class _Member(tarfile.TarInfo):
    """A member whose name and further headers take no more memory than a name does."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> _Member:
        found = super().frombuf(buf, encoding, errors)
        headers = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)
        if found.type in (*headers, tarfile.SOLARIS_XHDTYPE) and found.size > LONGEST_NAME:
            raise ValueError(f"a member whose name takes {found.size} bytes")
        return found


def lines(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the text of every line of a record set that is not blank, compressed or not.

    Raises:
        OSError, EOFError, ValueError, zlib.error: the file is damaged, or larger than a record set may be.
    """
    if file.suffix == ".gz" and not file.stat().st_size:
        raise ValueError("an empty file")
    with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as stream:
        bounded, number = _Bounded(stream), 0
        while part := bounded.readline():
            number += 1
            if part.strip():
                yield f"line {number}", part


def _contents(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of every record of an archive; its checksum is compared at the end."""
    if archive.name.endswith(".jsonl.gz"):
        yield from lines(archive)
        return
    with gzip.open(archive) as stream:
        bounded = _Bounded(stream)
        with tarfile.open(fileobj=bounded, mode="r|", tarinfo=_Member) as tar:
            for member in tar:
                if not (member.isfile() and member.name.startswith("runs/") and member.name.endswith(".json")):
                    continue
                if member.size > check.LARGEST:
                    raise ValueError(f"{ascii(member.name)[:120]} has {member.size} bytes, too many for a record")
                yield member.name[:200], tar.extractfile(member).read()
        while bounded.read(2**20):
            pass
