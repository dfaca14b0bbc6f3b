"""How the planned runs of a study stand: which are done, and which have to be made, and why. All verbs count by this.

A run is done where a record holds its place that is one (`check`) and that the code, the packages and the machine of
today would not make anew: digests decide, never times. What was found out about a file is kept beside the records
(`CACHE`) with the file's size and times, the one of its inode among them, which no program can set back; so a study of
tens of thousands of runs is read once. The cache decides nothing: it may be deleted at any time, and a record set is
collected from the records themselves.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kanbench import PROTOCOL
from kanbench.base import schema
from kanbench.base.atomic import write_text
from kanbench.records import check, provenance
from kanbench.records.collect import RECORDS, TABLE
from kanbench.records.record import SEAL, is_placeholder, seal

CACHE = ".checked.jsonl"
DONE, WAITING, OUTDATED, UNREADABLE = "done", "waiting", "outdated", "unreadable"
WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class Standing:
    """How one run stands.

    Attributes:
        kind: `done`; `waiting`, no record; `outdated`, a record that other code or packages made; `unreadable`, a
            file that is no record.
        reason: Why it has to be made, where a file is there.
        status: Status of the record, None where there is none.
        finished: When the record was written, seconds since 1970; None where it has to be made.
        seal: Digest of the record, None where it has to be made.
    """

    kind: str
    reason: str = ""
    status: str | None = None
    finished: float | None = None
    seal: str | None = None

    @property
    def done(self) -> bool:
        """Whether nothing has to be made."""
        return self.kind == DONE


class Survey:
    """Looks at the records of a study, each file once as long as it is not touched."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._runs = f"{folder.as_posix()}/runs/"
        self._known = _read_cache(folder / CACHE)
        self._new: dict[str, list[Any]] = {}

    def standings(self, runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Standing]:
        """Return by name how planned runs stand; `code`, where planned, is what would make them today."""
        return {name: self._standing(name, planned.get("code")) for name, planned in runs.items()}

    def _standing(self, name: str, code: Mapping[str, Any] | None) -> Standing:
        path = f"{self._runs}{name}.json"  # text: of tens of thousands that are asked for, most are not there yet
        found = self._facts(name, path, lambda: _facts(Path(path), name))
        if found is None:
            return Standing(WAITING)
        stat, facts = found
        if "problem" in facts:
            return Standing(UNREADABLE, facts["problem"])
        reason = self._damaged_weights(name, facts) or (outdated(facts, code) if code else None)
        if reason:
            return Standing(OUTDATED, reason, facts["status"])
        return Standing(DONE, "", facts["status"], stat.st_mtime, facts["seal"])

    def _damaged_weights(self, name: str, facts: Mapping[str, Any]) -> str | None:
        """Return what is wrong with the weights beside a record; weights that are not there are made on demand."""
        if facts["weights"] is None:
            return None
        path = self.folder / "runs" / f"{name}{WEIGHTS}"
        found = self._facts(name + WEIGHTS, path, lambda: hashlib.sha256(path.read_bytes()).hexdigest())
        if found is None or found[1] == facts["weights"]:
            return None
        return "the weights beside the record are not those that it names"

    def collected(self, standings: Mapping[str, Standing]) -> bool:
        """Tell whether the record set holds the records of all runs that are done, and no other results."""
        path = self.folder / RECORDS
        found = self._facts(RECORDS, path, lambda: _seals(path))
        return found is not None and found[1] == _digest(standings) and (self.folder / TABLE).is_file()

    def _facts(self, key: str, path: str | Path, look: Any) -> tuple[os.stat_result, Any] | None:
        """Return the state of a file and what `look` found in it, now or earlier; None where there is none."""
        try:
            stat = os.stat(path)
        except OSError:
            return None
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        kept = self._known.get(key)
        if kept is None or kept[0] != state:
            try:
                kept = [state, look()]
            except OSError as error:
                return stat, {"problem": str(error)}
            self._known[key] = self._new[key] = kept
        return stat, kept[1]

    def keep(self) -> None:
        """Write down what was found, for the next look; a folder that cannot be written changes nothing."""
        path = self.folder / CACHE
        if not self._new or not self.folder.is_dir():
            return
        try:
            if path.is_file() and path.read_text(encoding="utf-8").startswith(_head()):
                with path.open("a", encoding="utf-8") as file:
                    file.write(_lines(self._new))
            else:
                write_text(path, _head() + _lines(self._known))
        except (OSError, ValueError):
            return
        self._new = {}


def outdated(facts: Mapping[str, Any], code: Mapping[str, Any]) -> str | None:
    """Return why a record has to be made again, given what would make it today; None where it holds.

    A result that this machine could only replace by a skipped run is kept.

    Args:
        facts: `status`, `digest`, `packages`, `skipped_for` and `device` of the record.
        code: `digest` of the code, and `packages` by name, None where one cannot be imported.
    """
    made_with, present = facts["packages"], code.get("packages", {})
    skipped = facts["status"] == "skipped"
    if not skipped and facts["device"].startswith("cuda") and not provenance.has_gpu():
        return None
    if not skipped and any(made_with.get(name) and not found for name, found in present.items()):
        return None
    for name, found in present.items():
        if found and made_with.get(name) != found:
            before = made_with.get(name)
            was = f"it was made with {before['version']}" if before else "it was made without it"
            return f"the package {name} {found['version']} is here, and {was}"
    if "device" in facts["skipped_for"] and facts["skipped_for"]["found"] != provenance.accelerator():
        return f"it was skipped for {facts['skipped_for']['device']}, and this machine has changed since"
    if facts["digest"] != code["digest"]:
        return "it was made by other code"
    return None


def facts_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides how a record stands."""
    code = content["code"]
    return {
        "status": content["status"],
        "seal": content[SEAL],
        "digest": code["digest"],
        "packages": code.get("packages", {}),
        "skipped_for": content.get("skipped_for", {}),
        "device": content["spec"]["device"],
        "weights": content["artifacts"].get("model_sha256"),
    }


def _facts(path: Path, name: str) -> dict[str, Any]:
    content, problems = check.read(path, name)
    if content is None:
        problem = problems[0] if problems else None
        text = f"{problem.key}: {problem.found}" if problem and problem.key else problem.found if problem else "gone"
        return {"problem": text}
    return facts_of(content)


def _seals(path: Path) -> str:
    """Return the digest of the records in a record set; that of nothing where it is damaged."""
    from kanbench.base.errors import KanbenchError
    from kanbench.records import frame

    try:
        lines = frame.read_lines(path)
    except KanbenchError:
        return ""
    seals = {
        line["run"]: seal({key: value for key, value in line.items() if key != "experiments"})
        for line in lines
        if not is_placeholder(line) and "origin" not in line
    }
    return _of(seals.items())


def _digest(standings: Mapping[str, Standing]) -> str:
    return _of((name, standing.seal) for name, standing in standings.items() if standing.done)


def _of(seals: Iterable[tuple[str, str]]) -> str:
    return hashlib.sha256("\n".join(f"{name} {each}" for name, each in sorted(seals)).encode()).hexdigest()


@cache
def _head() -> str:
    """Return the first line of a cache: what was found under other rules counts no more."""
    rules = (schema.SCHEMAS / "record.schema.yaml").read_bytes() + Path(check.__file__).read_bytes()
    return json.dumps({"rules": hashlib.sha256(rules).hexdigest(), "protocol": PROTOCOL}) + "\n"


def _lines(found: Mapping[str, list[Any]]) -> str:
    texts = (json.dumps([key, *kept]) for key, kept in found.items())
    return "".join(f"{zlib.crc32(text.encode()):08x} {text}\n" for text in texts)


def _read_cache(path: Path) -> dict[str, list[Any]]:
    """Return what was found earlier; lines that something has changed or cut off are left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    found = {}
    for line in text.splitlines()[1:] if text.startswith(_head()) else []:
        check_sum, _, entry = line.partition(" ")
        if check_sum == f"{zlib.crc32(entry.encode()):08x}":
            key, *kept = json.loads(entry)
            found[key] = kept
    return found
