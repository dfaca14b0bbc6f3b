"""Studies: what is refused, and that everything is refused at once with a way out."""

from __future__ import annotations

import pytest

from kanbench.base import paths
from kanbench.base.errors import InvalidInput
from kanbench.study import config, plan


def refused(content) -> str:
    with pytest.raises(InvalidInput) as caught:
        plan.expand(config.from_content(content, "tiny.yaml"))
    return str(caught.value)


def test_every_study_of_the_suite_is_valid():
    files = sorted((paths.root() / "workflow/config").glob("*.yaml"))
    assert {file.stem for file in files} >= {"smoke", "laptop", "paper"}
    for file in files:
        assert len(plan.expand(config.load(file)).runs) > 10, file


def test_misspelt_keys_are_all_reported_with_the_nearest_name(tiny):
    tiny["sedes"] = tiny.pop("seeds")
    tiny["experiments"]["E1"]["trainig"] = tiny["experiments"]["E1"].pop("training")
    message = refused(tiny)
    assert "4 problems found" in message
    assert "unknown key 'sedes'" in message
    assert "did you mean 'seeds'?" in message
    assert "experiments.E1.trainig" in message
    assert "did you mean 'training'?" in message


def test_unknown_names_are_all_reported_with_the_nearest_name(tiny):
    experiment = tiny["experiments"]["E1"]
    experiment["methods"] = ["mpl", "affine"]
    experiment["axes"]["gird_size"] = 5
    experiment["tasks"][0]["settings"]["fromula"] = "I.6.20a"
    experiment["tasks"].append("digit")
    message = refused(tiny)
    for found, nearest in (("mpl", "mlp"), ("gird_size", "grid_size"), ("fromula", "formula"), ("digit", "digits")):
        assert f"'{found}'" in message
        assert f"did you mean '{nearest}'?" in message
    assert "tiny.yaml: experiments.E1.axes.gird_size" in message


def test_ill_typed_values_name_what_is_expected(tiny):
    tiny["experiments"]["E1"]["training"]["steps"] = -3
    tiny["seeds"] = [0, 0]
    message = refused(tiny)
    assert "experiments.E1.training.steps" in message
    assert "at least 1" in message
    assert "each item once" in message


def test_steps_and_epochs_exclude_each_other(tiny):
    tiny["experiments"]["E1"]["training"]["epochs"] = 2
    assert "exactly one" in refused(tiny)
    del tiny["experiments"]["E1"]["training"]["steps"]
    assert len(plan.expand(config.from_content(tiny, "tiny.yaml")).runs) == 2


def test_lbfgs_refuses_mini_batches(tiny):
    tiny["experiments"]["E1"]["training"].update(optimiser="lbfgs", batch_size=8)
    assert "full batch" in refused(tiny)


def test_only_keeps_the_named_experiments_and_refuses_others(tiny):
    tiny["only"] = "E1"
    assert len(plan.expand(config.from_content(tiny, "tiny.yaml")).runs) == 2
    tiny["only"] = ["E1", "E9"]
    assert "only" in refused(tiny)


def test_a_key_written_twice_is_refused(tmp_path):
    file = tmp_path / "twice.yaml"
    file.write_text("study: a\nseeds: [0]\nseeds: [1]\n")
    with pytest.raises(InvalidInput, match="'seeds' is written twice"):
        config.load(file)


def test_an_absent_study_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="no such file"):
        config.load(tmp_path / "none.yaml")


def test_snakemake_overrides_lie_over_the_default_study():
    study = config.from_snakemake({"only": "E1"}, [])
    assert study.label == config.DEFAULT_STUDY
    assert list(study.experiments) == ["E1", "E1quarter"]


GROUPS = {"prompts": {"learning_rate": 0.01}, "meta_learners": {"learning_rate": 0.001, "schedule": "alternating"}}


def training(**changes):
    parts = [{"optimiser": "adamw", "steps": 4}, changes]
    found, problems = config.trainings(parts, "tiny.yaml", "experiments.E1.training")
    assert problems == []
    return found


def test_settings_of_groups_are_merged_group_by_group():
    parts = [{"steps": 4, "groups": GROUPS}, {"groups": {"meta_learners": {"learning_rate": 0.1, "weight_decay": 0.5}}}]
    (found,), problems = config.trainings(parts, "tiny.yaml", "key")
    assert problems == []
    assert found["groups"] == {
        "prompts": {"learning_rate": 0.01},
        "meta_learners": {"learning_rate": 0.1, "schedule": "alternating", "weight_decay": 0.5},
    }


def test_lists_of_training_settings_are_swept():
    found = training(
        weight_decay=[0.0, 0.1],
        groups={"prompts": {"learning_rate": [1.0, 0.1]}, "meta_learners": {"learning_rate": [1.0, 0.1, 0.01]}},
    )
    seen = {
        (t["weight_decay"], t["groups"]["prompts"]["learning_rate"], t["groups"]["meta_learners"]["learning_rate"])
        for t in found
    }
    assert len(found) == len(seen) == 12
    assert (0.1, 0.1, 0.01) in seen


def test_gamma_stands_where_a_schedule_is_exponential_and_nowhere_else():
    constant, exponential = training(schedule=["constant", "exponential"], gamma=0.7)
    assert "gamma" not in constant
    assert exponential["gamma"] == 0.7
    (plain,) = training(schedule="exponential")
    assert plain["gamma"] == config.GAMMA_DEFAULT
    (own,) = training(groups={"prompts": {"schedule": "exponential"}, "meta_learners": {"gamma": 0.5}})
    assert own["groups"] == {"prompts": {"schedule": "exponential", "gamma": config.GAMMA_DEFAULT}}


def test_a_method_keeps_the_settings_of_its_own_groups_only():
    (found,) = training(groups={**GROUPS, "other": {"learning_rate": 0.5}})
    both = config.for_groups(found, ("prompts", "meta_learners"))
    assert both == found
    assert config.for_groups(found, ("prompts",))["groups"] == {
        "prompts": {"learning_rate": 0.01},
        "other": {"learning_rate": 0.5},
    }
    none = config.for_groups(found, ())
    assert "groups" not in none
    assert none["learning_rate"] == 0.5, "the rest is everything"


def test_an_unknown_parameter_group_is_refused_with_the_nearest(tiny):
    tiny["experiments"]["E1"]["training"]["groups"] = {"promts": {"learning_rate": 0.1}}
    message = refused(tiny)
    assert "experiments.E1.methods.0.training.groups.promts" in message
    assert "did you mean 'prompts'?" in message


def test_lbfgs_refuses_settings_for_groups(tiny):
    tiny["experiments"]["E1"]["training"].update(optimiser="lbfgs", groups=GROUPS)
    assert "one learning rate" in refused(tiny)


@pytest.mark.parametrize(
    ("change", "key", "expected"),
    [
        ({"learning_rate": 0}, "learning_rate", "more than 0"),
        ({"learning_rate": [0.1, -1]}, "learning_rate.1", "more than 0"),
        ({"schedule": "cosin"}, "schedule", "did you mean 'cosine'?"),
        ({"schedule": ["linear", "expnential"]}, "schedule.1", "did you mean 'exponential'?"),
        ({"gamma": 1.5}, "gamma", "at most 1"),
        ({"groups": {"prompts": {"learning_rte": 1}}}, "groups.prompts.learning_rte", "did you mean 'learning_rate'?"),
        ({"groups": {"prompts": {"weight_decay": -1}}}, "groups.prompts.weight_decay", "at least 0"),
    ],
)
def test_training_values_that_make_no_sense_are_refused(tiny, change, key, expected):
    tiny["experiments"]["E1"]["training"].update(change)
    message = refused(tiny)
    assert f"experiments.E1.training.{key}\n" in message
    assert expected in message
