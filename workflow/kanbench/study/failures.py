"""Which runs of a study failed, why, where their logs are, and how they are made again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kanbench.base import paths
from kanbench.records import record
from kanbench.records.frame import FAILED
from kanbench.study.config import DEFAULT_STUDY
from kanbench.study.plan import WEIGHTS, Plan

MOST = 20
"""Failures that are printed one by one."""
NO_RECORD = "no record"
RETRIED = "retried"


@dataclass(frozen=True)
class Failure:
    """A run that did not end well; `status` is `no record` where its job ended without one. `log` is a path."""

    run: str
    status: str
    reason: str
    log: str


def found(plan: Plan, statuses: tuple[str, ...] = (*FAILED, NO_RECORD)) -> Iterator[Failure]:
    """Yield the runs of a study that failed, in the order of the plan; absent runs only where a log says why."""
    for name in plan.runs:
        content, log = record.read(paths.root() / plan.record(name)), log_of(plan, name)
        if content is not None and content["status"] in statuses:
            yield Failure(name, content["status"], content["reason"] or "no reason given", log)
        elif content is None and NO_RECORD in statuses and (last := _last_line(paths.root() / log)):
            yield Failure(name, NO_RECORD, last, log)


def log_of(plan: Plan, name: str) -> str:
    """Return the path of the log that the workflow keeps of a run, relative to the repository."""
    cell = plan.cell_of.get(name)
    if cell is not None:
        return f"{plan.folder}/logs/train_together/{cell}.log"
    spec = plan.runs[name].spec
    rule = "profile" if plan.tasks[spec["task"]["name"]].profile else "train_and_keep" if "keep" in spec else "train"
    return f"{plan.folder}/logs/{rule}/{name}.log"


def _last_line(log: Path) -> str:
    if not log.is_file():
        return ""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def text(plan: Plan) -> str:
    """Return what a user should know of the failed runs of a study: reasons, logs, and the command that retries."""
    failures = list(found(plan))
    if not failures:
        return ""
    lines = [f"{len(failures)} of {len(plan.runs)} runs of {plan.study.name} failed:"]
    for failure in failures[:MOST]:
        lines += [f"  {failure.status.replace('_', ' ')}: {failure.run}", f"    {failure.reason}", f"    {failure.log}"]
    if len(failures) > MOST:
        lines.append(f"  and {len(failures) - MOST} more: python -m kanbench failures{_option(plan)}")
    if any(failure.status != NO_RECORD for failure in failures):
        statuses = sorted({failure.status for failure in failures} - {NO_RECORD})
        which = "" if statuses == ["failed"] else f" --status {','.join(statuses)}"
        lines.append(f"  again: python -m kanbench retry{_option(plan)}{which}")
    if any(failure.status == NO_RECORD for failure in failures):
        lines.append("  runs without a record are made again by the same snakemake command")
    return "\n".join(lines)


def _option(plan: Plan) -> str:
    label = plan.study.label
    return "" if label == DEFAULT_STUDY else f" --configfile {label}"


def set_aside(plan: Plan, statuses: tuple[str, ...], match: str = "") -> list[str]:
    """Move the records of failed runs to `<study>/retried`, so that they are planned again; return their names.

    What is retried stays on record there, however often: a run that fails now and then is not made a good one by
    forgetting.
    """
    names = [failure.run for failure in found(plan, statuses) if match in failure.run]
    for name in names:
        file = paths.root() / plan.record(name)
        kept = paths.root() / plan.folder / RETRIED / f"{name}.json"
        kept.parent.mkdir(parents=True, exist_ok=True)
        number = len(list(kept.parent.glob(f"{kept.stem}.*.json"))) + 1
        os.replace(file, kept.with_name(f"{kept.stem}.{number}.json"))
        file.with_name(f"{file.stem}{WEIGHTS}").unlink(missing_ok=True)
    return names
