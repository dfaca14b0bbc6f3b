"""Repeats random runs of a record set with the code of today: does it still give the published numbers?"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kanbench import PROTOCOL
from kanbench.base.errors import Finding, InvalidInput
from kanbench.base.spec import canonical
from kanbench.records import provenance, record
from kanbench.tasks import taskinfo

LAST_LINES = 3


def chosen(records: Sequence[Mapping[str, Any]], count: int, longest: float, seed: int) -> list[Mapping[str, Any]]:
    """Return `count` random records that can be repeated by themselves, in the order of their names.

    Left out are runs that were not ok, that start from weights of others, that need a GPU where there is none, and
    that took longer than `longest` seconds.

    Raises:
        InvalidInput: no run is left.
    """
    fitting = sorted((each for each in records if _repeatable(each, longest)), key=lambda each: each["run"])
    if not fitting:
        expected = f"runs of protocol {PROTOCOL} that were ok, start from none and took at most {longest:g} s"
        step = "raise --longest, or name another record set"
        raise InvalidInput([Finding("compare", "--sample", f"none of {len(records)} runs", expected, step)])
    drawn = np.random.default_rng(seed).choice(len(fitting), min(count, len(fitting)), replace=False)
    return [fitting[position] for position in sorted(drawn)]


def _repeatable(each: Mapping[str, Any], longest: float) -> bool:
    spec, seconds = each["spec"], (each.get("time") or {}).get("train_seconds") or 0.0
    here = spec["device"] == "cpu" or provenance.has_gpu()
    known = spec["task"]["name"] in taskinfo.discover()
    return each["status"] == "ok" and spec["protocol"] == PROTOCOL and "source" not in spec and here and known and (
        seconds <= longest
    )  # fmt: skip


def repeated(records: Sequence[Mapping[str, Any]], data_root: Path | None = None) -> Iterator[dict[str, Any]]:
    """Yield the record that today's code makes of each run, in a process of its own, or a failed one."""
    for each in records:
        with tempfile.TemporaryDirectory(prefix="kanbench-again-") as folder:
            spec, output = Path(folder) / "spec.json", Path(folder) / "record.json"
            spec.write_text(canonical(each["spec"]), encoding="utf-8")
            profiled = taskinfo.discover()[each["spec"]["task"]["name"]].profile
            command = [sys.executable, "-m", "kanbench", "profile" if profiled else "train"]
            command += ["--spec", f"@{spec}", "--output", str(output)]
            command += ["--data-root", str(data_root)] if data_root and not profiled else []
            done = subprocess.run(command, capture_output=True, text=True)
            yield record.read(output) or _lost(each, done.stderr)


def _lost(each: Mapping[str, Any], log: str) -> dict[str, Any]:
    blank = record.blank(each["spec"], **{name: each[name] for name in ("label", "family", "metric", "goal")})
    return {**blank, "status": "failed", "reason": " ".join(log.strip().splitlines()[-LAST_LINES:]) or "no record"}
