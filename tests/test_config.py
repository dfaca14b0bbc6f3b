"""Studies: what is refused, and that everything is refused at once with a way out."""

from __future__ import annotations

import pytest

from kanbench import config, paths, plan
from kanbench.errors import InvalidInput


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
    assert list(study.experiments) == ["E1"]
