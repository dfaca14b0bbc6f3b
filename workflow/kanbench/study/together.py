"""Which runs are trained in one process: those of one cell (`training.cell`) that have to be made at the same time.

The grouping is no part of a run: its spec, its name and its record are those of a run by itself. So a seed that is
added to a study trains alone, or with others that are new, and the records that are there stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from kanbench.base.atomic import write_text
from kanbench.base.spec import digest
from kanbench.training.cell import cell

FILE = "together.json"
MOST_RUNS = 32
"""Of one process: more gain little more, and fewer processes keep fewer cores busy."""


def trained_so(run: Any) -> bool:
    """Tell whether a planned run may share a process: no other waits for its weights, and it waits for none."""
    return run.together and not (run.exclusive or "keep" in run.spec or "source" in run.spec)


def cells(runs: Mapping[str, Any], made: Callable[[str], bool]) -> dict[str, list[str]]:
    """Return the names of runs to train together, by an identifier of these names.

    Args:
        runs: Planned runs by name.
        made: Tells of a name whether there is a record already.
    """
    found: dict[tuple[str, bool], list[str]] = {}
    for name, run in runs.items():
        if trained_so(run):
            found.setdefault((cell(run.spec), made(name)), []).append(name)
    parts = (part for names in found.values() for part in _parts(names))
    return {digest("\n".join(names)): names for names in parts}


def _parts(names: list[str]) -> list[list[str]]:
    """Return names in as few parts as `MOST_RUNS` allows, of sizes that differ by one at most."""
    count = -(-len(names) // MOST_RUNS)
    ends = [len(names) * part // count for part in range(count + 1)]
    return [names[start:end] for start, end in pairwise(ends)]


def write(grouping: Mapping[str, list[str]], folder: Path) -> None:
    """Keep a grouping for the processes on other machines, which see records come while they plan."""
    write_text(folder / FILE, json.dumps(grouping, indent=0, sort_keys=True))


def read(folder: Path) -> dict[str, list[str]] | None:
    """Return the grouping that was written, or None."""
    file = folder / FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
