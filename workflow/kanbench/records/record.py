"""The record of a run: its blank form, its seal and its file.

The seal is the key `sha256`: the SHA-256 of the canonical JSON of everything else in the record. A number that was
changed by hand, or by a disk, does not go with it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kanbench.base import schema
from kanbench.base.atomic import write_text
from kanbench.base.errors import InvalidInput
from kanbench.base.spec import canonical, run_name

SEAL = "sha256"
STATUSES = ("ok", "diverged", "out_of_memory", "timed_out", "failed", "skipped")


def blank(spec: Mapping[str, Any], *, label: str, family: str, metric: str, goal: str) -> dict[str, Any]:
    """Return a record with nothing measured yet: null where a number will stand, never a sentinel."""
    return {
        "run": run_name(spec),
        "spec": dict(spec),
        "status": "ok",
        "reason": None,
        "family": family,
        "metric": metric,
        "goal": goal,
        "label": label,
        "selection": None,
        "metrics": {"last": None, "selected": None, "legacy_best_on_test": None},
        "curve": [],
        "parameters": {"trainable": None, "total": None, "buffers": None, "groups": {}},
        "memory": {
            "peak_allocated_bytes": None,
            "peak_reserved_bytes": None,
            "eval_peak_allocated_bytes": None,
            "resident_data_bytes": None,
            "simulated_peak_bytes": None,
            "breakdown": {},
            "saved_for_backward_bytes": None,
        },
        "time": {
            "step_seconds": {"median": None, "q25": None, "q75": None},
            "train_seconds": None,
            "exclusive": False,
        },
        "data": None,
        "floors": {},
        "method_info": {},
        "artifacts": {},
        "analyses": {},
        "code": None,
        "environment": None,
    }


def is_placeholder(line: Mapping[str, Any]) -> bool:
    """Tell whether a line of a record set stands for a run that was not made: absent, or skipped for want of data."""
    return line.get("status") == "absent" or "data" in (line.get("skipped_for") or {})


def finite(value: Any) -> Any:
    """Return `value` with every NaN and infinity replaced by null: JSON has no such numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return value


def seal(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything in a record, or in a line of a record set, but its seal."""
    return hashlib.sha256(canonical({k: v for k, v in content.items() if k != SEAL}).encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return `content` as JSON holds it, NaN as null, with its seal."""
    plain = json.loads(json.dumps(finite(content), allow_nan=False))
    return {**plain, SEAL: seal(plain)}


def text(content: Mapping[str, Any]) -> str:
    """Return a sealed record as the text of its file."""
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"


def compressed(text: str) -> bytes:
    """Return the text of a record set as its file has it: equal texts give equal bytes."""
    return gzip.compress(text.encode(), mtime=0)


def write(record: Mapping[str, Any], path: Path) -> None:
    """Seal a record, check it against its schema and write it atomically.

    Raises:
        InvalidInput: the record breaks the schema, which is an error of the code that made it.
    """
    content = sealed(record)
    problems = schema.findings(content, "record", str(path))
    if problems:
        raise InvalidInput(problems)
    write_text(path, text(content))


def read(path: Path) -> dict[str, Any] | None:
    """Return the record of a file, or None where the file is absent or does not hold a whole, unchanged record.

    `check.read` says what is wrong with it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if content[SEAL] == seal(content) else None
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None
