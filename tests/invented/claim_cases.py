"""Frames of a few invented runs and claims about them, to vary in tests. None of the numbers is a measurement."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import yaml

from kanbench.verdicts import claims, declared

RATIO = {"kind": "paired_ratio", "metric": "error", "method": "meta", "expect": "not_worse", "margin": 0.1}
CLAIM = {
    "id": "x",
    "statement": "Meta is as good as the KAN.",
    "source": "t",
    "claimed": "c",
    "experiment": "E1",
    "direction": "lower",
}


def runs(method, errors, *, experiment="E1", floor=math.nan, validation=None, **columns) -> pd.DataFrame:
    """Return rows of a frame: `errors` maps (task, seed) to a test error, or to a status other than ok."""
    rows = []
    for (task, seed), entry in errors.items():
        ok = not isinstance(entry, str)
        rows.append(
            {
                "run": f"{experiment}/{method}/{task}/{seed}/{columns}",
                "status": "ok" if ok else entry,
                "method": method,
                "task": task,
                "seed": seed,
                "family": "function_fitting",
                "metric": "rmse",
                "goal": "min",
                "selection.metric": "rmse",
                "selection.goal": "min",
                "metrics.selected.validation.rmse": validation if validation is not None else entry if ok else math.nan,
                "experiments": [experiment],
                "curve": [],
                "value": entry if ok else math.nan,
                "error": entry if ok else math.nan,
                "floors.affine.rmse": floor,
                "spec.training.steps": 100,
                **columns,
            }
        )
    return pd.DataFrame(rows)


def seeds(values, task="t") -> dict:
    return {(task, seed): value for seed, value in enumerate(values)}


def loaded(tmp_path, *entries, **top) -> list[dict]:
    content = {"families": {"f": "why"}, "claims": list(entries), **top}
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(content))
    return declared.load(tmp_path / "claims.yaml")


def claim(criterion=None, **changes) -> dict:
    """Return a declared claim; a criterion without a kind changes the paired one."""
    criterion = (
        criterion if criterion and "kind" in criterion else {"reference": "strong", **RATIO, **(criterion or {})}
    )
    if "references" in criterion:
        criterion.pop("reference")
    scoped = {"scope": "these tasks"} if criterion["kind"] in ("paired_ratio", "paired_difference") else {}
    return {**CLAIM, **scoped, **changes, "criterion": criterion}


def outcome(tmp_path, frames, *, chosen=None, top=None, **changes):
    entry = claim(**changes)
    return claims.evaluate(loaded(tmp_path, entry, **(top or {})), pd.concat(frames, ignore_index=True), chosen)[0]


def noisy(median: float, size: int, seed: int = 0) -> np.ndarray:
    """Return positive values of about this median, a twentieth apart."""
    return median * np.exp(np.random.default_rng(seed).normal(0, 0.05, size=size))
