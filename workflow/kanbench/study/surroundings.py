"""What of the places and clocks around a study is refused, or put right, before it starts."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from kanbench.base import paths
from kanbench.base.errors import Finding, InvalidInput

BRACES = "{}"
TOLERANCE_SECONDS = 2.0
"""How far in the future a file's time may lie: the clocks of file servers are a little off, some keep whole seconds."""
STEP_SECONDS = 1e-3


def refuse_braces(folder: str | Path) -> None:
    """Raise InvalidInput where the path of the suite holds a brace, which Snakemake takes for a wildcard."""
    text = str(folder)
    if any(brace in text for brace in BRACES):
        expected = "a path without { and }, which Snakemake takes for wildcards"
        step = "move the suite, or clone it into another folder; spaces and quotes do no harm"
        raise InvalidInput([Finding(text, "", "a brace in the path of the suite", expected, step)])


def rendered_from() -> list[Path]:
    """Return the folders of code and text from which pages are made, whose times Snakemake compares with theirs."""
    return [paths.root() / "paper_figures", paths.root() / "workflow"]


def set_future_times_to_now(places: Iterable[Path], now: float | None = None) -> int:
    """Give files below `places` whose times lie in the future times just before `now`, in the same order.

    A clock that was wrong, a copy from a machine ahead of this one: whatever is made from such a file would look
    outdated for ever, and Snakemake takes the job that made it for failed. Which file is newer than which is kept. A
    sentence says what was done, or what to do where the times cannot be changed.

    Returns:
        How many files have new times.
    """
    now = time.time() if now is None else now
    ahead = []
    for path in {path for place in places for path in (place.rglob("*") if place.is_dir() else [place])}:
        try:
            seen = path.stat()
        except OSError:
            continue
        if stat.S_ISREG(seen.st_mode) and seen.st_mtime > now + TOLERANCE_SECONDS:
            ahead.append((seen.st_mtime_ns, path))
    ahead.sort(reverse=True)
    ranks = {stamp: rank for rank, stamp in enumerate(dict.fromkeys(stamp for stamp, _ in ahead))}
    changed, refused = 0, []
    for stamp, path in ahead:
        new = now - STEP_SECONDS * ranks[stamp]
        try:
            os.utime(path, (new, new))
            changed += 1
        except OSError:
            refused.append(path)
    if changed:
        first = paths.relative(next(path for _, path in ahead if path not in refused))
        print(
            f"{changed} files had times in the future ({first}, ...): they have the present time now", file=sys.stderr
        )
    if refused:
        first = paths.relative(refused[0])
        print(
            f"{len(refused)} files have times in the future ({first}, ...), which cannot be changed\n"
            "  next: set the clock right, or `touch` them; until then what is made from them looks outdated",
            file=sys.stderr,
        )
    return changed
