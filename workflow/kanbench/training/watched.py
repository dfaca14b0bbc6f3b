"""Has runs made by a watched child process, and sees to it that each leaves a record. Free of torch.

What the child does, it does to the end or not at all: its record is written there. Where it ends otherwise, the record
that says so is written here.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kanbench.process import watch
from kanbench.records import record
from kanbench.training import failures

Planned = Sequence[tuple[dict, Path]]
"""Specs, each with the path of its record."""
Work = Callable[[list[dict]], list[dict]]
"""Returns the records of some specs."""


def make(verb: str, planned: Planned, runs: Path, work: Work, threads: int, limits: watch.Limits | None) -> int:
    """Leave a record of every spec, whatever becomes of its run; return the exit status.

    Runs that did not survive being trained together are trained one by one.

    Args:
        verb: Of the command line, for messages.
        runs: Folder below which the runs of the study leave their records and weights.
        threads: Of torch, on the processor.
        limits: Beyond which a run is ended; None does the work in this process, unwatched.
    """
    inside = failures.guarded(verb, lambda: _work(threads, planned, work))
    if limits is None or _holds_a_gpu():
        return inside()
    ending = watch.run(inside, limits)
    if ending.kind in ("interrupted", "orphaned"):
        return _interrupted(verb, ending)
    outcome = failures.of_ending(ending)
    if outcome is None:
        return ending.status
    if len(planned) > 1:
        print(f"the runs together: {outcome['status']}, {outcome['reason']}; each by itself:", file=sys.stderr)
        return max(make(verb, [each], runs, work, threads, limits) for each in planned)
    failures.write(*planned[0], outcome, runs)
    return 0


def _holds_a_gpu() -> bool:
    """Tell whether this process has used a GPU already: a child that it forks could not."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def _work(threads: int, planned: Planned, work: Work) -> int:
    import torch

    torch.set_num_threads(threads)
    results = work([spec for spec, _ in planned])
    for result, (_, output) in zip(results, planned, strict=True):
        record.write(result, output)
    return 0


def _interrupted(verb: str, ending: watch.Ending) -> int:
    """End as the run was ended from outside: the same command makes it again."""
    if ending.kind == "orphaned":
        print(f"kanbench {verb}: {ending.told}; the same workflow resumes", file=sys.stderr)
        return 1
    if ending.status == signal.SIGINT:
        raise KeyboardInterrupt
    print(f"kanbench {verb}: ended by {signal.Signals(ending.status).name}", file=sys.stderr, flush=True)
    if ending.status != signal.SIGKILL:
        signal.signal(ending.status, signal.SIG_DFL)
    os.kill(os.getpid(), ending.status)
    return 1
