"""A record, and a study with one of its two runs done."""

from __future__ import annotations

import copy
import json

import pytest

from kanbench.base.spec import run_name
from kanbench.records import record


@pytest.fixture
def result(spec) -> dict:
    """A complete record of a run, as training would leave it."""
    blank = record.blank(spec, label="MLP", family="function_fitting", metric="rmse", goal="min")
    split = {"rmse": 0.25, "mae": 0.2, "nrmse": 0.5}
    evaluation = {"step": 4, "train": split, "validation": split, "test": split}
    blank["metrics"] = {"last": evaluation, "selected": evaluation, "legacy_best_on_test": {"step": 2, "value": 0.2}}
    blank["parameters"] = {"trainable": 9, "total": 9, "buffers": 0, "groups": {"other": 9}}
    blank["selection"] = {"metric": "rmse", "goal": "min"}
    blank["data"] = {"name": "feynman I.6.20a", "fingerprint": "0" * 64, "canonical": True}
    blank["code"] = {"commit": None, "dirty": None, "digest": "0" * 64}
    return blank


@pytest.fixture
def study(tmp_path, result):
    """A study folder with a plan of two runs, one of which has a record."""
    other = {**copy.deepcopy(result["spec"]), "seed": 1}
    runs = {
        result["run"]: {"spec": result["spec"], "label": "MLP", "experiments": ["E1"]},
        run_name(other): {"spec": other, "label": "MLP", "experiments": ["E1", "E2"]},
    }
    plan = {"study": "tiny", "protocol": 1, "experiments": {"E1": "", "E2": ""}, "runs": runs}
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(plan))
    record.write(result, folder / "runs" / f"{result['run']}.json")
    return folder
