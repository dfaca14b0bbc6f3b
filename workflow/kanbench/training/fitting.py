"""Turns the spec of an estimator into a record: it fits itself once, and is measured where it can be.

What cannot be measured from outside is null, with the reason below `method_info.not_measured`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kanbench.base import seeds
from kanbench.base.errors import Unavailable
from kanbench.baselines import build, estimators
from kanbench.process import watch
from kanbench.process.locks import device_lock
from kanbench.tasks import task as tasks
from kanbench.training import loop
from kanbench.training.train import Attempt

NOT_MEASURED = {
    "memory": "there is no training step whose memory could be followed",
    "step_seconds": "it fits itself in one call",
    "curve": "nothing is seen between the start of fit and its end",
    "legacy_best_on_test": "there are no steps to choose from",
}
NOT_COUNTED = "the baseline offers no count_parameters"


def run(spec: Mapping[str, Any], *, data_root: Path | None = None, exclusive: bool = False) -> dict[str, Any]:
    """Return the record of a spec, as `train.run` does; `time.train_seconds` is that of `fit`."""
    attempt = Fitting(spec, data_root)
    if attempt.going:
        with device_lock(attempt.device, exclusive):
            attempt.fit()
        attempt.result["time"]["exclusive"] = exclusive
    return attempt.record()


class Fitting(Attempt):
    """A run of an estimator on its way from spec to record: `fit`, then `record`."""

    def fit(self) -> None:
        """Load the task, fit to the training split and evaluate on all three."""
        spec, result = self.spec, self.result
        with self.outcomes():
            self._check_spec()
            self.task = tasks.load(
                spec["task"]["name"],
                spec["task"]["settings"],
                seed=spec["seed"],
                dtype=getattr(torch, spec["dtype"]),
                device=torch.device("cpu"),
                data_root=self.data_root,
            )
            if not isinstance(self.task, tasks.TensorTask):
                raise Unavailable(f"{spec['task']['name']} has no training split to fit to")
            self._data = tasks.fingerprint(*self.task.held())
            result.update(data=dict(self.task.data), floors=self.task.floors(), selection=dict(self.task.selection))
            module = build.load_model_module(self.method.baseline)
            with seeds.seeded(spec["seed"], "initialisation"):
                fitted = estimators.build(self.method, spec["method"]["settings"], self.task.problem)
                self._time(fitted)
                metrics = {split: self.task.evaluate(fitted, split) for split in tasks.SPLITS}
            self._describe(module, fitted)
            self._conclude(metrics)

    def _check_spec(self) -> None:
        if tasks.taskinfo.discover()[self.spec["task"]["name"]].profile:
            raise Unavailable("no training step: an estimator fits itself")
        if "source" in self.spec:
            raise Unavailable(f"no adapt: {self.spec['method']['name']} cannot start from another run")

    def _time(self, fitted: estimators.Fitted) -> None:
        with watch.within(self.spec["training"].get("timeout_seconds")):
            started = time.perf_counter()
            fitted.fit(*self.task.splits["train"])
            self.result["time"]["train_seconds"] = time.perf_counter() - started

    def _describe(self, module: Any, fitted: estimators.Fitted) -> None:
        count, absent = estimators.parameters(module, fitted), dict(NOT_MEASURED)
        if count is None:
            absent["parameters"] = NOT_COUNTED
        self.result["parameters"].update(trainable=count, total=count)
        described = build.described(module, fitted.estimator)
        self.result["method_info"] = {**described, "contract": "estimator", "not_measured": absent}
        for name in self.spec.get("analyses", {}):
            self.result["analyses"][name] = {"status": "skipped", "reason": "an estimator is no network", "curve": []}

    def _conclude(self, metrics: Mapping[str, Mapping[str, float]]) -> None:
        chosen = metrics["validation"][self.task.selection["metric"]]
        if not math.isfinite(chosen):
            raise loop.Diverged(f"the validation {self.task.selection['metric']} was {chosen} after fit")
        self._check_data()
        self.result["metrics"].update(last={"step": 1, **metrics}, selected={"step": 1, **metrics})
