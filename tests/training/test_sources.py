"""Runs that start from what other runs learned, and what is computed from a trained model."""

from __future__ import annotations

import copy
import json
import sys

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file

from kanbench.base.errors import InvalidInput, MissingData
from kanbench.base.spec import run_name
from kanbench.records import record
from kanbench.study import config, plan
from kanbench.training import artifact, train


@pytest.fixture
def transfer(tiny) -> dict:
    """A study in which two ways of adapting start from one run a seed."""
    tiny = copy.deepcopy(tiny)
    source = tiny["experiments"].pop("E1")
    source["methods"] = ["metakan-relu"]
    source["axes"] = {"hidden_width": 2, "depth": 1, "grid_size": 3, "hidden_dim": 4}
    target = copy.deepcopy(source)
    target["tasks"][0]["settings"]["formula"] = "product"
    target["source"] = {"experiment": "E10source", "adapt": ["frozen", "warm"]}
    source["keep"] = "model"
    # The one that starts from the other is written first: the plan has to find the order.
    tiny["experiments"] = {"E10": target, "E10source": source}
    tiny["seeds"] = [0, 1]
    return tiny


def expand(content) -> plan.Plan:
    return plan.expand(config.from_content(content, "tiny.yaml"))


def test_every_target_starts_from_the_source_of_its_own_seed(transfer):
    planned = expand(transfer)
    targets = [run for run in planned.runs.values() if run.experiments == ["E10"]]
    assert len(targets) == 2 * 2
    for run in targets:
        source = run.spec["source"]["spec"]
        assert source["seed"] == run.spec["seed"]
        assert source["keep"] == "model"
        assert f"results/tiny/runs/{run_name(source)}.safetensors" in planned.inputs(run.name)
    assert {run.spec["source"]["adapt"] for run in targets} == {"frozen", "warm"}


def test_an_experiment_alone_brings_its_sources(transfer):
    transfer["only"] = "E10"
    assert expand(transfer).experiments.keys() == {"E10", "E10source"}


def test_unknown_sources_and_circles_are_refused(transfer):
    transfer["experiments"]["E10source"]["source"] = {"experiment": "E10", "adapt": "warm"}
    with pytest.raises(InvalidInput, match="E10 -> E10source -> E10"):
        expand(transfer)
    transfer["experiments"]["E10source"]["source"]["experiment"] = "E10sorce"
    with pytest.raises(InvalidInput, match="unknown experiment 'E10sorce'"):
        expand(transfer)


def test_the_meta_learner_is_handed_over_and_frozen(transfer, tmp_path):
    runs = expand(transfer).runs.values()
    target = next(run.spec for run in runs if run.experiments == ["E10"] and run.spec["source"]["adapt"] == "frozen")
    source = target["source"]["spec"]
    with pytest.raises(MissingData, match=run_name(source)):
        train.run(target, runs=tmp_path)

    first = train.run(source, runs=tmp_path)
    record.write(first, tmp_path / "source.json")
    weights = load_file(artifact.path(tmp_path, source))
    assert first["artifacts"]["model"] == artifact.path(tmp_path, source).name
    second = train.run({**target, "keep": "model"}, runs=tmp_path)
    record.write(second, tmp_path / "target.json")
    handed = load_file(artifact.path(tmp_path, {**target, "keep": "model"}))
    for name, value in weights.items():
        if "meta_learners" in name:
            assert torch.equal(handed[name], value)
    # [2, 2, 1]: six prompts; the meta-learner stands still.
    assert second["parameters"]["trainable"] == 6
    assert second["parameters"]["groups"] == {"prompts": 6}
    warm = train.run({**target, "source": {"spec": source, "adapt": "warm"}}, runs=tmp_path)
    assert warm["parameters"]["trainable"] == 6 + (1 + 1) * 4 + (4 + 1) * (3 + 3 + 1)


def test_equal_weights_are_equal_files(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    entry = {"run": "a/b/ü", "status": "ok"}
    made = [artifact.write(model, entry, tmp_path / f"{number}.safetensors") for number in range(8)]
    contents = {(tmp_path / each["model"]).read_bytes() for each in made}
    assert len(contents) == len({each["model_sha256"] for each in made}) == 1
    found = load_file(tmp_path / "0.safetensors")
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())
    with safe_open(tmp_path / "0.safetensors", framework="pt") as content:
        assert content.metadata() == entry


def test_a_source_that_failed_skips_what_starts_from_it(transfer, tmp_path):
    for run in expand(transfer).runs.values():
        if run.experiments == ["E10"]:
            target = run.spec
    target["source"]["spec"]["training"].update(optimiser="sgd", learning_rate=1e30)
    assert train.run(target["source"]["spec"], runs=tmp_path)["status"] == "diverged"
    result = train.run(target, runs=tmp_path)
    assert result["status"] == "skipped"
    assert "is diverged" in result["reason"]


def test_a_baseline_that_cannot_adapt_is_skipped_with_the_reason(spec, tmp_path):
    result = train.run({**spec, "source": {"spec": None, "adapt": "warm"}}, runs=tmp_path)
    assert result["status"] == "skipped"
    assert result["reason"].startswith("no adapt")


def test_analyses_are_filled_in_or_say_what_is_missing(transfer, spec, tmp_path):
    for run in expand(transfer).runs.values():
        if run.experiments == ["E10source"]:
            source = run.spec
    settings = {"points": 5, "edges": 3}
    result = train.run({**source, "analyses": {"edge_functions": settings}}, runs=tmp_path)
    found = result["analyses"]["edge_functions"]
    assert (found["status"], found["reason"], found["curve"]) == ("ok", None, [])
    assert found["layers"][0]["t"] == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert found["layers"][0]["edges"] == [[0, 0], [1, 0]]
    assert [len(values) for values in found["layers"][1]["values"]] == [5, 5]
    without = train.run({**spec, "analyses": {"edge_functions": settings}})
    assert without["status"] == "ok"
    assert without["analyses"]["edge_functions"]["status"] == "skipped"
    assert without["analyses"]["edge_functions"]["reason"] == "no edge_functions"


def test_settings_of_analyses_are_checked_in_the_plan(tiny):
    tiny["experiments"]["E1"]["analyses"] = {"edge_function": {}}
    with pytest.raises(InvalidInput, match="did you mean 'edge_functions'"):
        expand(tiny)
    tiny["experiments"]["E1"]["analyses"] = {"edge_functions": {"point": 3}}
    with pytest.raises(InvalidInput, match="did you mean 'points'"):
        expand(tiny)
    tiny["experiments"]["E1"]["analyses"] = {"edge_functions": {"points": "many"}}
    with pytest.raises(InvalidInput, match="a value of type int"):
        expand(tiny)
    tiny["experiments"]["E1"]["analyses"] = ["edge_functions"]
    for run in expand(tiny).runs.values():
        assert run.spec["analyses"] == {"edge_functions": {"points": 101, "edges": 32}}
        assert "workflow/kanbench/training/analyses/edge_functions.py" in expand(tiny).made_by.files(run.spec)


@pytest.mark.slow
def test_the_workflow_trains_the_source_first(run, suite, transfer):
    transfer["seeds"] = [0]
    (suite / "tiny.yaml").write_text(yaml.safe_dump(transfer, sort_keys=False))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "results/tiny/records.jsonl.gz"]
    done = run([*command, "--configfile", "tiny.yaml"], suite)
    assert done.returncode == 0, done.stdout + done.stderr
    statuses = [json.loads(path.read_text())["status"] for path in (suite / "results/tiny/runs").rglob("[!.]*.json")]
    assert statuses == ["ok"] * 3
    assert len(list((suite / "results/tiny/runs").rglob("*.safetensors"))) == 1
