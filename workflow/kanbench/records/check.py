"""Decides whether what a file holds is a record. What is not is named, and never becomes evidence.

A record is whole JSON without numbers that JSON lacks, keeps its schema, bears the name that its spec computes to and
the name of its file, is of this protocol, and carries the seal of what it says (`record.seal`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

from kanbench import PROTOCOL
from kanbench.base import paths, schema
from kanbench.base.errors import Finding
from kanbench.base.spec import canonical, run_name
from kanbench.records import record

LARGEST = 16 * 2**20
"""Bytes of the largest file that is read as a record; those of this suite take some kilobytes."""
DEEPEST = 60
LARGEST_INTEGER = 2**63
FEW = 4
"""Findings about one record that are shown; a file that is none at all breaks every rule."""
AGAIN = "run the study again, which makes this record anew"


def parse(content: bytes | str) -> dict[str, Any]:
    """Return the JSON object in `content`.

    Raises:
        ValueError: a sentence about what is not JSON, or no object, or beyond what a record may hold: keys written
            twice, NaN and infinities, integers beyond 64 bits, NUL and lone surrogates, more than `DEEPEST` levels.
    """
    if len(content) > LARGEST:
        raise ValueError(f"{len(content) / 2**20:.0f} MiB, and a record has at most {LARGEST // 2**20}")
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_float)
    except UnicodeDecodeError as error:
        raise ValueError(f"bytes that are not UTF-8 at position {error.start}") from None
    except json.JSONDecodeError as error:
        where = f" at line {error.lineno}, column {error.colno}" if text.strip() else ""
        raise ValueError(f"no whole JSON: {error.msg}{where}" if text.strip() else "an empty file") from None
    except RecursionError:
        raise ValueError(f"JSON with more than {DEEPEST} levels") from None
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__} where a record, a JSON object, should stand")
    _walk(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(name for name in names if names.count(name) > 1)[:80]!a}' is written twice")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"the number {text}, which JSON does not have")


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text[:40])


def _walk(value: Any) -> None:
    waiting = [(value, 1)]
    while waiting:
        part, depth = waiting.pop()
        if isinstance(part, str):
            _check_text(part)
        elif isinstance(part, (dict, list)):
            if depth > DEEPEST:
                raise ValueError(f"JSON with more than {DEEPEST} levels")
            if isinstance(part, dict):
                for key in part:
                    _check_text(key)
                part = part.values()
            waiting += [(each, depth + 1) for each in part]
        elif isinstance(part, int) and abs(part) >= LARGEST_INTEGER:
            raise ValueError("an integer beyond 64 bits")


def _check_text(text: str) -> None:
    if "\0" in text or not (text.isascii() or all(not 0xD800 <= ord(letter) < 0xE000 for letter in text)):
        raise ValueError(f"text with NUL or a lone surrogate: {text[:40]!a}")


@cache
def _quick() -> Any:
    """Return the record schema compiled; it says yes or no, `schema.findings` says why."""
    content = dict(schema.validator("record").schema)
    content.pop("$schema")
    return fastjsonschema.compile(content)


def _shape(content: Mapping[str, Any], label: str) -> list[Finding]:
    try:
        _quick()(content)
        return []
    except fastjsonschema.JsonSchemaException:
        found = schema.findings(content, "record", label)
    if len(found) <= FEW:
        return found
    return [*found[:FEW], Finding(label, "", f"{len(found) - FEW} more problems", "none", AGAIN)]


def findings(
    content: Mapping[str, Any], label: str, *, whole: Mapping[str, Any] | None = None, protocol: bool = True
) -> list[Finding]:
    """Return what keeps a parsed object from being a record.

    Args:
        content: The object.
        label: What messages call it.
        whole: What its seal covers, where that is more than the record.
        protocol: Also ask for the protocol of this suite.
    """
    if record.SEAL not in content:
        expected = "the digest of the record; what no version of this suite wrote, or an early one, has none"
        return [Finding(label, record.SEAL, "no such key", expected, AGAIN)]
    problems = _shape(content, label)
    if problems:
        return problems
    expected = run_name(content["spec"])
    if content["run"] != expected:
        step = "take the record from where it was made; names are computed, not chosen"
        problems.append(Finding(label, "run", content["run"], f"{expected}, the name of its spec", step))
    if protocol and content["spec"]["protocol"] != PROTOCOL:
        step = "rerun it with this version of the suite, or merge it into a checkout of that protocol"
        found = str(content["spec"]["protocol"])
        problems.append(Finding(label, "spec.protocol", found, f"protocol {PROTOCOL}", step))
    if content[record.SEAL] != record.seal(content if whole is None else whole):
        step = f"{AGAIN}, or copy it again from where it was made"
        expected = "the digest of what it says: something in it was changed after it was written"
        problems.append(Finding(label, record.SEAL, content[record.SEAL][:16], expected, step))
    return problems


def line(content: Mapping[str, Any], label: str) -> list[Finding]:
    """Return what is wrong with a line of a record set: a record with `experiments`, or a planned run without one.

    A line that was taken from others names its `origin` too.
    """
    used = content.get("experiments", [])
    if not isinstance(used, list) or not all(isinstance(each, str) for each in used):
        return [Finding(label, "experiments", repr(used)[:80], "a list of experiments", "collect the records again")]
    if not isinstance(content.get("origin", ""), str):
        return [Finding(label, "origin", repr(content["origin"])[:80], "a text", "collect the records again")]
    plain = {key: value for key, value in content.items() if key not in ("experiments", "origin")}
    if plain.get("status") == "absent":
        plain |= {"status": "skipped", "code": plain.get("code") or {"commit": None, "dirty": None, "digest": ""}}
    return findings(plain, label, whole=content, protocol=False)


def read(path: Path, name: str, spec: Mapping[str, Any] | None = None) -> tuple[dict[str, Any] | None, list[Finding]]:
    """Return the record in a file and what is wrong with it: a record and nothing, or None and findings.

    Where there is no file, both are empty.

    Args:
        path: The file.
        name: The run that the file is named after.
        spec: The spec that was planned under this name.
    """
    label = paths.relative(path)
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path.stat().st_size / 2**20:.0f} MiB, and a record has at most {LARGEST // 2**20}")
        content = parse(path.read_bytes())
    except FileNotFoundError:
        return None, []
    except (OSError, ValueError) as error:
        return None, [Finding(label, "", str(error), "a record", AGAIN)]
    problems = findings(content, label)
    if not problems and content["run"] != name:
        problems.append(Finding(label, "run", content["run"], f"{name}, the name of the file", AGAIN))
    if not problems and spec is not None and canonical(content["spec"]) != canonical(spec):
        problems.append(Finding(label, "spec", "another spec", "the spec that is planned under this name", AGAIN))
    return (None, problems) if problems else (content, [])
