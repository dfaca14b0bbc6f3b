"""Runs whose data set is not on disk: they are skipped with the command that fetches it, and the rest runs.

No process is started for them: the plan says so, and the record set has a line for each. Once the set is there, or the
study says `download: true`, they are planned like any other run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kanbench.data import presence


def of(plan: Any) -> dict[str, dict[str, Any]]:
    """Return what a plan says of each run that it skips, by name: `data`, `reason`, and the facts of its task."""
    if plan.study.content.get("download") or plan.study.rendering_only:
        return {}
    root, known, found = plan.study.content.get("data_root"), {}, {}
    for name, run in plan.runs.items():
        info = plan.tasks[run.spec["task"]["name"]]
        if info.data is None:
            continue
        if info.data not in known:
            known[info.data] = presence.is_there(info.data, root)
        if not known[info.data] and not plan.due.made(name):
            reason = f"the data set '{info.data}' is not on disk; to get it: {presence.command(info.data, root)}"
            facts = {"family": info.family, "metric": info.metric, "goal": info.goal}
            found[name] = {"data": info.data, "reason": reason, **facts}
    return found


def lines(plan: Any) -> Iterator[str]:
    """Yield a sentence a data set that is not on disk: how many runs are skipped for it, and the command."""
    for data in sorted({entry["data"] for entry in plan.due.lacking.values()}):
        names = [name for name, entry in plan.due.lacking.items() if entry["data"] == data]
        experiments = ", ".join(sorted({key for name in names for key in plan.runs[name].experiments}))
        yield f"{len(names)} runs of {experiments} are skipped: {plan.due.lacking[names[0]]['reason']}"
