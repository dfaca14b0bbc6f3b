"""Runs of estimators: what is measured is right, and what cannot be measured is null with a reason."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from line_estimator import LINE_BASELINE

from kanbench.records import check, record
from kanbench.study import config, plan
from kanbench.training import fitting

MODEL = """
import numpy as np

class Line:
    def fit(self, x, y):
        self.w = np.linalg.lstsq(np.c_[x, np.ones(len(x))], y, rcond=None)[0]

    def predict(self, x):
        return np.c_[x, np.ones(len(x))] @ self.w

def build(problem, settings):
    return Line()
"""
COUNTS = "\ndef count_parameters(estimator):\n    return estimator.w.size\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A suite whose one baseline is a line, fitted by least squares."""
    folder = tmp_path / "baselines/line"
    folder.mkdir(parents=True)
    (folder / "baseline.yaml").write_text(yaml.safe_dump(LINE_BASELINE))
    (folder / "model.py").write_text(MODEL)
    monkeypatch.setenv("KANBENCH_ROOT", str(tmp_path))
    return folder


def specs(tiny, **changes) -> list[dict]:
    tiny["experiments"]["E1"] |= {"methods": ["line"], "axes": {}, **changes}
    return [run.spec for run in plan.expand(config.from_content(tiny, "tiny.yaml")).runs.values()]


def test_the_errors_are_those_of_least_squares(place, tiny, tmp_path):
    (spec,) = specs(tiny)
    found = fitting.run(spec)
    assert (found["status"], found["reason"]) == ("ok", None)
    floor = found["floors"]["affine"]["rmse"]
    assert found["metrics"]["selected"]["test"]["rmse"] == pytest.approx(floor, rel=1e-4), "the task's own affine fit"
    assert found["metrics"]["last"] == found["metrics"]["selected"]
    assert found["time"]["train_seconds"] > 0
    record.write(found, tmp_path / "runs/record.json")
    content = check.parse((tmp_path / "runs/record.json").read_bytes())
    assert check.findings(content, "record") == []


def test_what_is_not_measured_is_null_and_says_why(place, tiny):
    (spec,) = specs(tiny)
    found = fitting.run(spec)
    assert found["memory"]["simulated_peak_bytes"] is None
    assert found["parameters"] == {"trainable": None, "total": None, "buffers": None, "groups": {}}
    assert found["time"]["step_seconds"]["median"] is None
    assert found["metrics"]["legacy_best_on_test"] is None
    assert found["curve"] == []
    absent = found["method_info"]["not_measured"]
    assert set(absent) == {"memory", "step_seconds", "curve", "legacy_best_on_test", "parameters"}
    (place / "model.py").write_text(MODEL + COUNTS)
    counted = fitting.run(spec)
    assert counted["parameters"]["trainable"] == 1 + 1, "one input and a constant"
    assert "parameters" not in counted["method_info"]["not_measured"]


def test_rates_that_are_swept_make_one_run(place, tiny):
    tiny["experiments"]["E1"]["training"]["learning_rate"] = [0.1, 0.01]
    (spec,) = specs(tiny)
    assert spec["training"]["optimiser"] == "own"
    assert spec["training"]["steps"] == 4, "by which it is paired"
    assert "learning_rate" not in spec["training"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": ["digits"]}, "a line has no classes"),
        ({"tasks": [{"name": "poisson", "settings": {"dimension": 2}}]}, "no derivatives"),
        ({"source": {"adapt": "warm"}}, "no adapt"),
    ],
)
def test_what_it_cannot_do_is_skipped_with_the_reason(place, tiny, change, words):
    (spec,) = specs(tiny, **change)
    found = fitting.run(spec)
    assert found["status"] == "skipped"
    assert words in found["reason"]


FAULTS = {
    "raises": ("raise ValueError('too few points')", "failed", "too few points"),
    "nothing finite": ("self.w = np.full(2, np.nan); return", "diverged", "nan after fit"),
    "memory": ("raise MemoryError()", "out_of_memory", "out of memory"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_ends_a_fit_is_an_outcome(place, tiny, fault):
    line, status, words = FAULTS[fault]
    (place / "model.py").write_text(MODEL.replace("        self.w =", f"        {line}\n        self.w =", 1))
    (spec,) = specs(tiny)
    found = fitting.run(spec)
    assert found["status"] == status
    assert words in found["reason"]


def test_the_same_seed_gives_the_same_numbers(place, tiny):
    noisy = MODEL.replace("[0]\n", "[0] + np.random.normal(0, 0.01)\n")
    (place / "model.py").write_text(noisy)
    tiny["seeds"] = [0, 1]
    first, second = specs(tiny)
    values = [fitting.run(spec)["metrics"]["selected"]["train"]["rmse"] for spec in (first, first, second)]
    assert values[0] == values[1]
    assert not np.isclose(values[0], values[2])
