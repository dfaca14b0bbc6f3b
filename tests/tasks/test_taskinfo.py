"""What is known of the tasks without torch, and which settings are refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kanbench.base.errors import InvalidInput
from kanbench.tasks import taskinfo


def refusal(name, **settings):
    with pytest.raises(InvalidInput) as caught:
        taskinfo.resolve(name, settings)
    return caught.value


def test_every_task_names_its_metric_and_accepts_its_own_defaults():
    metrics = {
        "function_fitting": {"rmse", "mae", "nrmse"},
        "classification": {"accuracy", "cross_entropy"},
        "pde": {"relative_l2", "relative_l1"},
    }
    goals = {"accuracy": "max"}
    found = taskinfo.discover()
    assert {"feynman", "digits", "mnist", "poisson", "allen_cahn"} <= set(found)
    for name, info in found.items():
        assert info.metric in metrics[info.family], name
        assert info.goal == goals.get(info.metric, "min"), name
        defaults = {key: entry["default"] for key, entry in info.settings.items()}
        assert taskinfo.resolve(name, defaults) == taskinfo.resolve(name, {}) == defaults, name
        assert all(path.is_file() for path in info.code_files), name


def test_the_formula_file_belongs_to_the_code_of_function_fitting_only():
    assert taskinfo.FORMULAS in taskinfo.discover()["feynman"].code_files
    assert taskinfo.FORMULAS not in taskinfo.discover()["digits"].code_files


def test_overrides_lie_over_the_defaults():
    found = taskinfo.resolve("feynman", {"formula": "I.12.11", "noise": 0.1})
    assert (found["formula"], found["noise"], found["train_samples"]) == ("I.12.11", 0.1, 1000)


def test_a_number_written_otherwise_is_the_same_setting():
    found = taskinfo.resolve("feynman", {"train_samples": 50.0, "noise": 1})
    assert (found["train_samples"], found["noise"]) == (50, 1.0)
    assert isinstance(found["train_samples"], int)
    assert isinstance(found["noise"], float)


def test_every_problem_is_reported_at_once():
    error = refusal("feynman", nois=1, train_samples=0, input_scaling="units", formula="I.6.20c")
    assert [finding.key for finding in error.findings] == ["nois", "train_samples", "input_scaling", "formula"]
    text = str(error)
    assert "unknown setting 'nois'" in text
    assert "did you mean 'noise'?" in text
    assert "integer, at least 1" in text
    assert "did you mean 'unit'?" in text
    assert "nearest: I.6.20" in text
    assert "a set of them (runnable, extended, variant, example, core)" in text


@pytest.mark.parametrize("value", ["100", True, 1.5, None, float("nan"), float("inf")])
def test_values_of_another_type_are_refused(value):
    assert refusal("feynman", train_samples=value).findings[0].key == "train_samples"


def test_more_sampled_dimensions_than_dimensions_are_refused():
    error = refusal("poisson", dimension=3, laplacian="sampled")
    assert "at most dimension, which is 3" in str(error)
    assert taskinfo.resolve("poisson", {"dimension": 3})["dimension"] == 3
    assert taskinfo.resolve("poisson", {"dimension": 3, "laplacian": "sampled", "sampled_dimensions": 3})


def test_an_unknown_task_is_refused_with_the_nearest():
    assert "did you mean 'poisson'?" in str(refusal("poison"))


def test_the_sets_of_formulas_have_their_sizes():
    assert len(taskinfo.formula_ids("runnable")) == 30
    assert len(taskinfo.formula_ids("runnable", core=True)) == len(taskinfo.formula_ids(core=True)) == 13
    assert len(taskinfo.formula_ids("extended")) == 88
    assert taskinfo.formula_ids("variant") == ["I.16.6-released"]
    assert taskinfo.formula_ids("example") == [
        "product",
        "exp-sin",
        "sine-plus-square",
        "root-of-squares",
        "inverse-of-product",
    ]
    assert {entry["set"] for entry in taskinfo.formulas().values()} == set(taskinfo.FORMULA_SETS)


def test_knowing_the_tasks_needs_no_torch():
    code = (
        "import sys; from kanbench.tasks import taskinfo; taskinfo.resolve('mnist', {}); print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
