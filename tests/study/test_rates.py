"""Published studies type no learning rate: `tuned` stands for the number of a table that one procedure wrote."""

from __future__ import annotations

import pytest

from kanbench.base import paths
from kanbench.base.errors import InvalidInput
from kanbench.study import config, plan, rates, tuning

HEAD = "experiment,family,budget,method,settings,chosen\n"
ROWS = """E1,function_fitting,4,mlp,learning_rate 0.03,True
E1,function_fitting,4,mlp,learning_rate 0.1,False
E1,function_fitting,100,mlp,learning_rate 0.002,True
E1,function_fitting,4,affine,learning_rate 0.05,True
E1,function_fitting,4,metakan-relu,"learning_rate 0.04, meta_learners.learning_rate 0.005",True
E1,classification,4,mlp,learning_rate 0.7,True
E12,function_fitting,,,"penalty 0.03, weight_simple 0.5",True
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of choices that stands for that of the suite."""
    file = tmp_path / "tuning.csv"
    file.write_text(HEAD + ROWS)
    monkeypatch.setattr(rates, "FILE", str(file))
    return file


@pytest.fixture
def published(tiny):
    """The tiny study as one that is published, with its rate by name."""
    del tiny["published"]
    tiny["experiments"]["E1"]["training"]["learning_rate"] = "tuned"
    return tiny


def trainings(content) -> dict[str, dict]:
    runs = plan.expand(config.from_content(content, "tiny.yaml")).runs.values()
    return {run.spec["method"]["name"]: run.spec["training"] for run in runs}


def refused(content) -> list:
    with pytest.raises(InvalidInput) as raised:
        plan.expand(config.from_content(content, "tiny.yaml"))
    return raised.value.findings


def test_a_name_becomes_the_number_of_the_table(table, published):
    published["experiments"]["E1"]["methods"] += ["metakan-relu"]
    found = trainings(published)
    assert {name: each["learning_rate"] for name, each in found.items()} == {
        "mlp": 0.03,
        "affine": 0.05,
        "metakan-relu": 0.04,
    }
    assert found["metakan-relu"]["groups"] == {"meta_learners": {"learning_rate": 0.005}}
    assert "groups" not in found["mlp"]


def test_a_spec_is_that_of_the_typed_number(table, published, tiny):
    named = plan.expand(config.from_content(published, "tiny.yaml")).runs
    published["published"] = False
    published["experiments"]["E1"] |= {"methods": ["mlp"]}
    published["experiments"]["E1"]["training"]["learning_rate"] = 0.03
    assert set(plan.expand(config.from_content(published, "tiny.yaml")).runs) < set(named)


def test_one_rate_serves_where_there_is_one_direction(table, published):
    published["experiments"]["E1"]["methods"] = ["metakan-relu"]
    published["experiments"]["E1"]["training"]["optimiser"] = "lbfgs"
    (training,) = trainings(published).values()
    assert training["learning_rate"] == 0.04
    assert "groups" not in training


def test_a_rate_that_is_swept_for_a_group_stays(table, published):
    published["experiments"]["E1"]["methods"] = ["metakan-relu"]
    published["experiments"]["E1"]["training"]["groups"] = {"meta_learners": {"learning_rate": [0.1, 0.2]}}
    runs = plan.expand(config.from_content(published, "tiny.yaml")).runs.values()
    found = [run.spec["training"]["groups"]["meta_learners"]["learning_rate"] for run in runs]
    assert sorted(found) == [0.1, 0.2]


@pytest.mark.parametrize(("steps", "rate"), [(1, 0.03), (19, 0.03), (20, 0.002), (21, 0.002), (4000, 0.002)])
def test_the_nearest_budget_by_ratio_decides(table, published, steps, rate):
    published["experiments"]["E1"]["methods"] = ["mlp"]
    published["experiments"]["E1"]["training"]["steps"] = steps
    assert trainings(published)["mlp"]["learning_rate"] == rate


def test_an_experiment_may_take_the_rates_of_another(table, published):
    published["experiments"] = {"E9": published["experiments"]["E1"] | {"rates": "E1"}}
    assert trainings(published)["mlp"]["learning_rate"] == 0.03


def test_a_missing_choice_is_refused(table, published):
    published["experiments"]["E1"]["methods"] += ["tiled_kan"]
    (finding,) = refused(published)
    assert finding.key == "experiments.E1.methods"
    assert finding.found == "no tuned learning rate of tiled_kan for E1, function fitting"
    assert "make tuning" in finding.next_step
    published["experiments"]["E1"]["rates"] = "E3"
    assert {(f.key, f.found) for f in refused(published)} == {("experiments.E1.rates", "no rates of 'E3'")}


def test_what_all_stands_for_is_left_out_without_a_choice(table, published):
    published["experiments"]["E1"]["methods"] = ["all"]
    found = plan.expand(config.from_content(published, "tiny.yaml"))
    assert {run.spec["method"]["name"] for run in found.runs.values()} == {"mlp", "affine", "metakan-relu"}
    left_out = {each.name: each.findings[0].found for each in found.refused}
    assert left_out["tiled_kan"] == "no tuned learning rate of tiled_kan for E1, function fitting"
    assert not {"mlp", "affine", "metakan-relu"} & left_out.keys()
    published["experiments"]["E1"]["methods"] += ["tiled_kan"]
    assert refused(published)


def test_what_all_had_before_tuning_serves_those_without_a_choice(table, published):
    table.write_text(HEAD + ROWS + "E1,function_fitting,9,*,learning_rate 0.9,True\n")
    published["experiments"]["E1"]["methods"] += ["tiled_kan"]
    found = {name: each["learning_rate"] for name, each in trainings(published).items()}
    assert found == {"mlp": 0.03, "affine": 0.05, "tiled_kan": 0.9}


def test_a_typed_rate_is_refused_with_its_place(published):
    experiment = published["experiments"]["E1"]
    experiment["training"] |= {"learning_rate": 0.01, "groups": {"prompts": {"learning_rate": 1}}}
    experiment["methods"] = ["mlp", {"name": "affine", "training": {"learning_rate": 0.5}}]
    places = {finding.key.removeprefix("experiments.E1."): finding.found for finding in refused(published)}
    assert places == {
        "training.learning_rate": "0.01, typed",
        "training.groups.prompts.learning_rate": "1, typed",
        "methods.1.training.learning_rate": "0.5, typed",
    }


def test_the_default_rate_is_a_typed_one(published):
    del published["experiments"]["E1"]["training"]["learning_rate"]
    (finding,) = refused(published)
    assert finding.key == "experiments.E1.training.learning_rate"


@pytest.mark.parametrize("configuration", ["paper", "upstream_default"])
@pytest.mark.parametrize("place", ["study", "experiment"])
def test_settings_of_somebody_may_be_typed(published, configuration, place):
    published["experiments"]["E1"]["training"]["learning_rate"] = 0.123
    (published if place == "study" else published["experiments"]["E1"])["configuration"] = configuration
    assert trainings(published)["mlp"]["learning_rate"] == 0.123


@pytest.mark.parametrize("configuration", ["controlled", "tuned"])
def test_the_word_tuned_makes_no_typed_rate_a_tuned_one(published, configuration):
    published["experiments"]["E1"]["training"]["learning_rate"] = 0.123
    published["configuration"] = configuration
    assert len(refused(published)) == 1


def test_sweeps_trying_out_and_runs_without_training_may_type(published):
    experiment = published["experiments"]["E1"]
    experiment["training"]["learning_rate"] = [0.1, 0.2]
    assert trainings(published)["mlp"]["learning_rate"] == 0.2
    experiment["training"]["learning_rate"] = 0.3
    assert refused(published)
    experiment["tasks"] = ["step_cost"]
    assert trainings(published)["mlp"]["learning_rate"] == 0.3
    experiment["tasks"] = ["step_cost", "digits"]
    assert refused(published)
    published["published"] = False
    assert trainings(published)["mlp"]["learning_rate"] == 0.3


def test_unknown_names_of_rates_are_refused(published):
    published["experiments"]["E1"]["training"]["learning_rate"] = "tunde"
    with pytest.raises(InvalidInput, match="tuned"):
        config.from_content(published, "tiny.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD.replace("settings,", "") + "E1,pde,3,mlp,True\n", "no column 'settings'"),
        (HEAD + "E1,pde,3,mlp,learning_rate fast,True\n", "line 2"),
        (HEAD + "E1,pde,3,mlp,learning_rate -1,True\n", "no learning rate"),
        (HEAD + "E1,pde,3,mlp,learning_rate inf,True\n", "no learning rate"),
        (HEAD + "E1,pde,3,mlp,width 7,True\n", "'width 7' is no learning rate"),
        (HEAD + "E1,pde,,mlp,learning_rate 0.1,True\n", "line 2"),
    ],
)
def test_a_damaged_table_is_refused(table, published, text, expected):
    table.write_text(text)
    assert expected in str(InvalidInput(refused(published)))


def test_a_lost_table_is_refused(table, published):
    table.unlink()
    assert {finding.found for finding in refused(published)} == {"no such file"}


def test_rates_survive_text():
    for found in ({"learning_rate": 0.00215}, {"learning_rate": 1.0, "meta_learners.learning_rate": 4.64e-4}):
        assert rates.parse(rates.text(found)) == found


def test_the_published_studies_type_no_rate():
    folder = paths.root() / "workflow/config"
    for file in sorted(folder.glob("*.yaml")):
        study = config.load(file)
        assert study.content.get("published", True) == (study.name not in ("smoke", "tuning", "exploration")), (
            study.name
        )


def test_rates_from_another_budget_are_named_with_both(table, published, tiny):
    def lines(steps):
        published["experiments"]["E1"]["training"]["steps"] = steps
        planned = plan.expand(config.from_content(published, "tiny.yaml"))
        return tuning.far_lines(planned.study, planned.runs.values(), planned.tasks)

    published["experiments"]["E1"]["methods"] = ["mlp"]
    assert lines(4) == lines(8) == lines(100) == lines(200) == []
    assert lines(9) == ["rates of E1: trained for 9 steps, tuned at 4"]
    assert lines(1000) == ["rates of E1: trained for 1000 steps, tuned at 100"]
