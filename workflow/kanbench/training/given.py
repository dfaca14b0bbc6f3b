"""A spec that somebody gave by hand: read, and checked against what there is to run. Free of torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kanbench.base import schema
from kanbench.base.errors import Finding, InvalidInput, nearest
from kanbench.baselines import discovery
from kanbench.tasks import taskinfo


def read(given: str, profiled: bool) -> dict[str, Any]:
    """Return the spec in `given`, JSON or `@FILE`, of a run whose step is `profiled` or that is trained.

    Raises:
        InvalidInput: it is no JSON, breaks the schema, or names a method or task that is not there or not of this kind.
    """
    text = Path(given[1:]).read_text(encoding="utf-8") if given.startswith("@") else given
    try:
        spec = json.loads(text)
    except json.JSONDecodeError as error:
        step = "copy a spec from `python -m kanbench plan --json`"
        raise InvalidInput([Finding("--spec", "", str(error), "one JSON document", step)]) from None
    problems = [f for f in schema.findings({"spec": spec}, "record", "--spec") if f.key.startswith("spec")]
    own = None if problems else discovery.find(spec["method"]["baseline"])
    if not problems and (own is None or spec["method"]["name"] not in own.methods):
        name, methods = spec["method"]["name"], sorted(m for b in discovery.discover().values() for m in b.methods)
        problems.append(Finding("--spec", "method.name", name, nearest(name, methods), "correct the name"))
    if not problems and spec["task"]["name"] not in taskinfo.discover():
        name = spec["task"]["name"]
        problems.append(
            Finding("--spec", "task.name", name, nearest(name, list(taskinfo.discover())), "correct the name")
        )
    if not problems and taskinfo.discover()[spec["task"]["name"]].profile != profiled:
        expected = "a task to train" if not profiled else "a task whose step is profiled"
        verb = "train" if profiled else "profile"
        problems.append(Finding("--spec", "task.name", spec["task"]["name"], expected, f"use the verb `{verb}`"))
    if problems:
        raise InvalidInput(problems)
    return spec
