"""What may end a run, as the status and reason of its record; free of torch, since it also judges from outside a run.

A plug-in is a baseline, a task or an analysis. What it raises is an outcome of the run, like divergence: a record with
the status `failed`. What the harness itself gets wrong is not: that ends the job with a traceback, and no record.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from kanbench.base import paths
from kanbench.base.errors import KanbenchError
from kanbench.baselines import depends, discovery
from kanbench.process.watch import Ending, last_lines
from kanbench.records import provenance, record
from kanbench.tasks import taskinfo
from kanbench.training import artifact
from kanbench.training.code import Code

PACKAGE = Path(__file__).resolve().parents[1]
DROP_INS = ("tasks", "baselines", "training/analyses", "training/symbolic")
"""Folders of the harness that hold plug-ins, or that handle what plug-ins return."""
SLIPS = (TypeError, AttributeError, NameError, LookupError, ImportError, ArithmeticError, AssertionError)
"""What Python raises where the code itself is wrong."""
NO_MEMORY = ("can't allocate memory", "out of memory", "cannot allocate memory")
NO_TIME = ("time", "stall")
AGAIN = "once it can be imported, `python -m kanbench retry` makes this run again"
"""No digest tells when what a package imports has arrived, so that the run is not due by itself."""


def lookup(spec: Mapping[str, Any]) -> tuple[Any, taskinfo.TaskInfo, dict[str, Any]]:
    """Return method, task and blank record; the record says `skipped` where the method declines the family."""
    methods = discovery.find(spec["method"]["baseline"]).methods
    method, info = methods[spec["method"]["name"]], taskinfo.discover()[spec["task"]["name"]]
    result = record.blank(spec, label=method.label, family=info.family, metric=info.metric, goal=info.goal)
    files = Code(methods, taskinfo.discover()).files(spec)
    result["code"] = {**provenance.code(files), "packages": depends.packages(method.baseline)}
    reason = method.skip_reason(info.family)
    if reason:
        result.update(status="skipped", reason=reason)
    return method, info, result


def of_error(error: BaseException) -> dict[str, Any]:
    """Return status, reason and last lines of the log for what a run raised; write its traceback to the log.

    Raises:
        The error itself, where it says nothing about the run: an interruption, a message to the user such as data that
        are missing, or a slip of the harness.
    """
    broken = type(error).__name__ == "BrokenContract"
    if isinstance(error, (KeyboardInterrupt, GeneratorExit)) or (isinstance(error, KanbenchError) and not broken):
        raise error
    if _is_ours(error):
        raise error
    text = "".join(traceback.format_exception(error))
    print(text, file=sys.stderr, flush=True)
    log = _tidy(text.splitlines())
    if lacks_memory(error):
        return {"status": "out_of_memory", "reason": _first_line(error, "out of memory"), "log": log}
    return {"status": "failed", "reason": _reason(error), "log": log}


def lacks_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out: on a processor, torch has no type of its own for that."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in _message(error).lower() for words in NO_MEMORY)


def _is_ours(error: BaseException) -> bool:
    """Tell whether the harness is wrong: a slip in its own code, not below that of a plug-in."""
    files = [Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)]
    inside = bool(files) and PACKAGE in files[-1].parents
    return isinstance(error, SLIPS) and inside and not any(_is_plugin(file) for file in files)


def _is_plugin(file: Path) -> bool:
    if PACKAGE in file.parents:
        return any(PACKAGE / folder in file.parents for folder in DROP_INS)
    return paths.root() / "baselines" in file.parents


def _reason(error: BaseException) -> str:
    """Return one line: what was raised, and the line of a plug-in (or, failing that, the last line) that raised it."""
    if isinstance(error, SystemExit):
        what = f"the run called sys.exit({error.code!r})"
    else:
        what = f"{type(error).__name__}: {_first_line(error, 'no message')}"
    return what + _place(error.__traceback__) + (f"; {AGAIN}" if _is_import(error) else "")


def _is_import(error: BaseException) -> bool:
    """Tell whether an import that failed is behind an error."""
    return isinstance(error, ImportError) or isinstance(error.__cause__, ImportError)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as further:  # an exception of a plug-in may fail to say what it is
        return f"no message, since its __str__ raised {type(further).__name__}"


def _first_line(error: BaseException, otherwise: str) -> str:
    return next(iter(last_lines(_message(error).splitlines()[:1])), otherwise)


def _place(trace: TracebackType | None) -> str:
    frames = [(Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(trace)]
    chosen = [entry for entry in frames if _is_plugin(entry[0]) and entry[0].parent != PACKAGE / "baselines"] or frames
    return f" ({paths.relative(chosen[-1][0])}, line {chosen[-1][1]})" if chosen else ""


def of_ending(ending: Ending) -> dict[str, Any] | None:
    """Return status, reason and last lines of the log for a run that its process did not survive.

    None where the end says nothing about the run: it was interrupted, or the workflow that asked for it is gone.
    """
    log = {"log": _tidy(ending.lines)} if ending.lines else {}
    if ending.kind == "memory":
        return {"status": "out_of_memory", "reason": ending.told, **log}
    if ending.kind in NO_TIME:
        return {"status": "timed_out", "reason": ending.told, **log}
    if ending.kind == "signalled":
        name = signal.Signals(ending.status).name
        return {"status": "failed", "reason": f"the process of the run was ended by {name}", **log}
    if ending.kind == "exited":
        reason = f"the run ended its process with exit status {ending.status}"
        return {"status": "failed", "reason": reason, **log}
    return None


def write(spec: Mapping[str, Any], output: Path, outcome: Mapping[str, Any], runs: Path) -> None:
    """Write the record of a run that left none; where its spec says `keep`, also a file of weights without weights."""
    result = lookup(spec)[2]
    result.update(outcome)
    if "keep" in spec:
        result["artifacts"] = artifact.write(None, result, artifact.path(runs, spec))
    record.write(result, output)


def _tidy(lines: Any) -> list[str]:
    """Return the last lines of a log with paths relative to the repository."""
    here = f"{paths.root()}/"
    return last_lines(line.replace(here, "") for line in lines)


def guarded(verb: str, work: Callable[[], int]) -> Callable[[], int]:
    """Return `work`, which prints errors that a user can act on as a message and then returns 1."""

    def _work() -> int:
        try:
            return work()
        except KanbenchError as error:
            print(f"kanbench {verb}: {error}", file=sys.stderr)
            return 1

    return _work
