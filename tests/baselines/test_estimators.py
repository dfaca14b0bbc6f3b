"""The second contract: objects with fit and predict, checked by faults, and measured where they can be."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from line_estimator import LINE_BASELINE

from kanbench.baselines import build, check, discovery, estimators, scaffold
from kanbench.study import config
from kanbench.tasks.task import Problem

pytestmark = pytest.mark.usefixtures("elsewhere")
LINE = "class Line:\n    def fit(self, x, y):\n        a = np.c_[x, np.ones(len(x))]\n"
LINE += "        self.w = np.linalg.lstsq(a, y, rcond=None)[0]\n"
LINE += "    def predict(self, x):\n        return np.c_[x, np.ones(len(x))] @ self.w\n"
HEAD = "import numpy as np\nimport torch\n"
BUILD = "def build(problem, settings):\n    return Line()\n"


def folder(place: Path, body: str = LINE + BUILD, **changes) -> Path:
    (place / "line").mkdir(parents=True)
    (place / "line/baseline.yaml").write_text(yaml.safe_dump({**copy.deepcopy(LINE_BASELINE), **changes}))
    (place / "line/model.py").write_text(HEAD + body)
    return place


def outcomes(place: Path) -> dict[str, check.RuleResult]:
    return {result.rule: result for result in check.check_baseline("line", place)}


def test_the_template_keeps_the_contract_as_it_is(tmp_path):
    scaffold.new_baseline("my_ridge", tmp_path, scaffold.ESTIMATOR)
    results = check.check_baseline("my_ridge", tmp_path)
    assert [result.rule for result in results] == ["schema", *check.ESTIMATOR_RULES]
    assert [result for result in results if not result.ok] == []


def test_a_line_keeps_all_that_can_be_tried(tmp_path):
    found = outcomes(folder(tmp_path))
    assert {name for name, result in found.items() if result.ok is False} == set()
    assert found["count"].ok is None, "nothing is counted, nothing declared"


def fit_does(line: str) -> str:
    """Return the line with a statement at the start of `fit`."""
    return LINE.replace("        a = ", f"        {line}\n        a = ") + BUILD


def predicts(expression: str) -> str:
    """Return the line with `@ self.w` of its prediction replaced."""
    return LINE.replace("@ self.w\n", f"{expression}\n") + BUILD


DRAWS = LINE.replace("[0]\n", "[0] + np.random.default_rng().normal()\n") + BUILD
FAULTS = {
    "no predict": ("class Line:\n    def fit(self, x, y): pass\n" + BUILD, "builds", "without predict"),
    "a shape": (predicts("@ self.w[:, None].repeat(2, 1)"), "shapes", "shape"),
    "targets changed": (fit_does("y *= 0"), "learning", "best constant"),
    "a draw of its own": (DRAWS, "seed_decides", "two fits of one seed"),
    "other points": (predicts("@ self.w + x.mean()"), "evaluation", "other points"),
    "a file": (fit_does("open('left.txt', 'w').close()"), "files", "left.txt"),
    "a switch": (fit_does("torch.set_num_threads(torch.get_num_threads() + 1)"), "generators", "number of threads"),
    "the harness": ("import kanbench\n" + LINE + BUILD, "imports", "imports kanbench"),
    "a misspelt name": (LINE + BUILD + "def count_parameter(e): return 3\n", "names", "count_parameters"),
    "a count": (LINE + BUILD + "def count_parameters(e): return 0\n", "count", "not a number of parameters"),
    "a constant": (predicts("@ self.w * 0"), "learning", "best constant"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_breaks_its_rule(tmp_path, fault):
    body, rule, words = FAULTS[fault]
    found = outcomes(folder(tmp_path, body))
    assert found[rule].ok is False, found[rule]
    assert words in found[rule].message


def test_a_declared_count_is_compared(tmp_path):
    body = LINE + BUILD + "def count_parameters(e): return e.w.size\n"
    example = {**LINE_BASELINE["example"], "trainable_parameters": 4}
    assert "3 counted, 4 declared" in outcomes(folder(tmp_path / "a", body, example=example))["count"].message
    example["trainable_parameters"] = 3
    assert outcomes(folder(tmp_path / "b", body, example=example))["count"].ok


CONTRADICTIONS = [
    ({"groups": ["a"]}, "groups"),
    ({"contract": "network"}, "contract"),
    ({"contract": "module"}, "example"),
]


@pytest.mark.parametrize(("changes", "key"), CONTRADICTIONS)
def test_descriptions_that_contradict_the_contract_are_refused(tmp_path, changes, key):
    problems = discovery.read(folder(tmp_path, **changes) / "line")[1]
    assert any(finding.key.startswith(key) for finding in problems), problems


class Classes:
    """Predicts the frequencies of the classes that it saw."""

    def fit(self, x, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.shares = counts / counts.sum()

    def predict(self, x):
        return np.repeat(self.classes_[self.shares.argmax()], len(x))

    def predict_proba(self, x):
        return np.tile(self.shares, (len(x), 1))


def test_a_class_that_the_training_split_lacks_is_not_taken_for_another():
    fitted = estimators.Fitted(Classes(), Problem("classification", 2, 4))
    x = torch.rand(8, 2)
    fitted.fit(x, torch.tensor([0, 0, 0, 1, 1, 3, 3, 3]))
    expected = torch.tensor([3 / 8, 2 / 8, estimators.LEAST, 3 / 8]).log()
    torch.testing.assert_close(fitted(x), expected.expand(8, 4), rtol=1e-5, atol=1e-6)


def test_labels_alone_are_no_scores():
    class Labels:
        def predict(self, x):
            return x[:, 0]

    fitted = estimators.Fitted(Labels(), Problem("classification", 2, 2))
    with pytest.raises(build.BrokenContract, match="predict_proba"):
        fitted(torch.rand(3, 2))


def test_images_are_flattened_and_one_output_is_one_column():
    seen = {}

    class Sees:
        def fit(self, x, y):
            seen.update(x=x.shape, y=y.shape)

        def predict(self, x):
            return x.sum(1)

    fitted = estimators.Fitted(Sees(), Problem("function_fitting", 12, 1, (3, 2, 2)))
    fitted.fit(torch.rand(5, 3, 2, 2), torch.rand(5, 1))
    assert seen == {"x": (5, 12), "y": (5,)}
    x = torch.rand(4, 3, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(fitted(x), x.flatten(1).sum(1, keepdim=True))


def test_what_is_no_budget_is_dropped_so_that_sweeps_of_rates_are_one_run(tmp_path):
    baseline = discovery.read(folder(tmp_path) / "line")[0]
    training = {**config.TRAINING_DEFAULTS, "steps": 5, "batch_size": 8, "learning_rate": 0.1}
    found = config.for_method(training, baseline)
    assert found == {"steps": 5, "batch_size": 8, "timeout_seconds": None, "optimiser": "own", "evaluations": 1}
    assert config.for_method({**training, "learning_rate": 0.2}, baseline) == found
    assert config.with_knobs(found, {"learning_rate": 1.0}) == found
