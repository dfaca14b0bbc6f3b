"""Which files a run's numbers depend on: the plan makes a run stale by them, its record keeps their digest.

Its imports are free of torch: the plan asks for every run, at every call of Snakemake.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kanbench.base import paths
from kanbench.baselines import discovery
from kanbench.training import analyses

PACKAGE = Path(__file__).resolve().parents[1]
HARNESS = (
    "training/train.py",
    "training/profile.py",
    "training/ensemble.py",
    "training/loop.py",
    "training/schedules.py",
    "training/analysis.py",
    "measurement/measure.py",
    "tasks/task.py",
    "baselines/build.py",
)
"""Files of the harness on which the numbers of every run depend."""
_FILES: dict[tuple, list[str]] = {}


def files(spec: Mapping[str, Any], methods: Mapping[str, Any], tasks: Mapping[str, Any]) -> list[str]:
    """Return the repository-relative files whose change makes a run stale, sorted.

    They are those of its baseline, its task, its analyses, and `HARNESS`.

    Args:
        spec: The spec of the run.
        methods: Methods by name (`kanbench.baselines.discovery`).
        tasks: Tasks by name (`kanbench.tasks.taskinfo`).
    """
    analysed = tuple(sorted(spec.get("analyses", ())))
    key = (spec["method"]["name"], spec["task"]["name"], analysed)
    if key not in _FILES:
        found = {*discovery.code_files(methods[key[0]].baseline), *tasks[key[1]].code_files}
        found |= {PACKAGE / name for name in HARNESS}
        found |= {file for name in analysed for file in analyses.code_files(name)}
        _FILES[key] = sorted({paths.relative(Path(file)) for file in found})
    return _FILES[key]
