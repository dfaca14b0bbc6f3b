"""`quarter: true` plans an experiment at a quarter of its budget as well, under an id that tells."""

from __future__ import annotations

import pytest

from kanbench.base import budget
from kanbench.base.errors import InvalidInput
from kanbench.study import config, plan


@pytest.fixture
def quartered(tiny):
    tiny["experiments"]["E1"]["quarter"] = True
    return tiny


def expand(content):
    return plan.expand(config.from_content(content, "tiny.yaml"))


def test_the_same_experiment_is_planned_at_a_quarter(quartered, tiny):
    found = expand(quartered)
    by_experiment = {key: [r.spec for r in found.runs.values() if key in r.experiments] for key in found.experiments}
    assert list(by_experiment) == ["E1", "E1quarter"]
    assert found.experiments["E1quarter"] == "Function fitting, a quarter of the budget"
    assert [spec["training"]["steps"] for spec in by_experiment["E1"]] == [4, 4]
    for whole, part in zip(by_experiment["E1"], by_experiment["E1quarter"], strict=True):
        assert part == whole | {"training": whole["training"] | {"steps": 1}}


def test_the_runs_at_the_whole_budget_keep_their_names(quartered):
    with_quarter = expand(quartered).runs
    quartered["experiments"]["E1"]["quarter"] = False
    assert list(expand(quartered).runs) == [n for n, run in with_quarter.items() if run.experiments == ["E1"]]


def test_epochs_and_the_budgets_of_methods_are_quartered(quartered):
    experiment = quartered["experiments"]["E1"]
    del experiment["training"]["steps"]
    experiment["training"]["epochs"] = 50
    experiment["methods"] = ["mlp", {"name": "affine", "training": {"steps": 400}}]
    found = [run.spec for run in expand(quartered).runs.values() if "E1quarter" in run.experiments]
    budgets = {s["method"]["name"]: (s["training"].get("epochs"), s["training"].get("steps")) for s in found}
    assert budgets == {"mlp": (12, None), "affine": (None, 100)}, "12 of 50 epochs are 0.24"


def test_only_takes_the_quarter_along(quartered):
    quartered["experiments"]["E2"] = {**quartered["experiments"]["E1"], "quarter": False, "axes": {"hidden_width": 7}}
    for only, expected in (("E1", {"E1", "E1quarter"}), ("E1quarter", {"E1quarter"}), ("E2", {"E2"})):
        assert set(config.from_content({**quartered, "only": only}, "tiny.yaml").experiments) == expected
    with pytest.raises(InvalidInput, match="E2quarter"):
        config.from_content({**quartered, "only": "E2quarter"}, "tiny.yaml")


@pytest.mark.parametrize(("unit", "value"), [("epochs", 10), ("steps", 2), ("steps", 6), ("steps", 1)])
def test_a_budget_without_a_quarter_is_refused(quartered, unit, value):
    training = quartered["experiments"]["E1"]["training"]
    del training["steps"]
    training[unit] = value
    with pytest.raises(InvalidInput) as raised:
        config.from_content(quartered, "tiny.yaml")
    (finding,) = raised.value.findings
    assert (finding.key, finding.found) == (f"experiments.E1.training.{unit}", f"{value} {unit}")


def test_the_ending_is_for_planned_quarters(quartered):
    quartered["experiments"] = {"E3quarter": quartered["experiments"]["E1"] | {"quarter": False}}
    with pytest.raises(InvalidInput, match="for planned quarters"):
        config.from_content(quartered, "tiny.yaml")


def test_ids_tell_budgets():
    assert budget.quarter("E1") == "E1quarter"
    assert (budget.whole("E1quarter"), budget.whole("E1tuned")) == ("E1", "E1tuned")
    assert budget.is_quarter("E1tunedquarter")
    assert not budget.is_quarter("E1")
    assert budget.nearest_budget([10, 1000], 99) == 10
    assert budget.nearest_budget([10, 1000], 100) == 1000, "of two as near, the longer"
