"""Which files and packages a run's numbers depend on: they make it stale, and its record keeps their digest.

Its imports are free of torch: the plan asks for every run, at every call of Snakemake.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from kanbench.base import paths
from kanbench.baselines import depends
from kanbench.records import provenance
from kanbench.training import analyses

PACKAGE = Path(__file__).resolve().parents[1]
HARNESS = (
    "training/train.py",
    "training/profile.py",
    "training/ensemble.py",
    "training/stacking.py",
    "training/loop.py",
    "training/schedules.py",
    "training/analysis.py",
    "measurement/measure.py",
    "tasks/task.py",
    "baselines/build.py",
    "base/seeds.py",
)
"""Files of the harness on which the numbers of every run depend."""
LBFGS = ("training/side_by_side.py", "training/lbfgs.py", "training/line_search.py", "training/compiled.py")
"""Files on which the numbers of a run depend that L-BFGS trains."""
CAPTURE = ("training/capture.py", "training/graphs.py")
"""Files on which the numbers of a run depend whose steps may be recorded."""
FITTING = ("training/fitting.py", "baselines/estimators.py")
"""Files on which the numbers of an estimator depend."""


def _recorded(spec: Mapping[str, Any]) -> bool:
    """Tell whether steps of a run may be recorded and replayed."""
    return spec["device"].startswith("cuda") and spec["training"].get("capture") != "eager"


def _by_lbfgs(spec: Mapping[str, Any]) -> bool:
    return spec["training"]["optimiser"] == "lbfgs"


class Code:
    """What would make runs now: each kind of run, each baseline and each file is looked up once.

    Args:
        methods: Methods by name (`kanbench.baselines.discovery`).
        tasks: Tasks by name (`kanbench.tasks.taskinfo`).
    """

    def __init__(self, methods: Mapping[str, Any], tasks: Mapping[str, Any]):
        self.methods, self.tasks = methods, tasks
        self._files: dict[tuple, list[str]] = {}
        self._code: dict[tuple, dict[str, Any]] = {}
        self._relative = cache(lambda file: paths.relative(Path(file)))
        self._content = cache(provenance.content)
        self._baseline = cache(lambda name: [self._relative(file) for file in depends.code_files(self._of(name))])
        self._packages = cache(lambda name: depends.packages(self._of(name)))

    def _of(self, baseline: str) -> Any:
        return next(each.baseline for each in self.methods.values() if each.baseline.name == baseline)

    def _key(self, spec: Mapping[str, Any]) -> tuple:
        analysed = tuple(sorted(spec.get("analyses", ())))
        return spec["method"]["name"], spec["task"]["name"], analysed, _recorded(spec), _by_lbfgs(spec)

    def files(self, spec: Mapping[str, Any]) -> list[str]:
        """Return the repository-relative files whose change makes a run of this spec stale, sorted.

        They are those of its baseline, its task, its analyses, `HARNESS`, `LBFGS` where that is the optimiser,
        `CAPTURE` where steps may be recorded, and `FITTING` where the baseline is an estimator.
        """
        key = self._key(spec)
        if key not in self._files:
            baseline = self.methods[spec["method"]["name"]].baseline
            harness = HARNESS + (CAPTURE if _recorded(spec) else ()) + (FITTING if baseline.fits_itself else ())
            harness += LBFGS if _by_lbfgs(spec) else ()
            found = [*self.tasks[spec["task"]["name"]].code_files, *(PACKAGE / name for name in harness)]
            found += [file for name in spec.get("analyses", ()) for file in analyses.code_files(name)]
            self._files[key] = sorted({*self._baseline(baseline.name), *map(self._relative, found)})
        return self._files[key]

    def of(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return the `digest` of the files of a spec, and the external `packages` of its baseline."""
        key = self._key(spec)
        if key not in self._code:
            digest = provenance.digest(self.files(spec), self._content)
            self._code[key] = {"digest": digest, "packages": self._packages(self.methods[key[0]].baseline.name)}
        return self._code[key]
