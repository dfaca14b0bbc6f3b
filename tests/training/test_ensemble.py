"""Runs trained together leave the records that they leave one by one."""

from __future__ import annotations

import copy
import json

import pytest
import torch

from kanbench.baselines import discovery
from kanbench.cli.parser import main
from kanbench.records import record
from kanbench.tasks import taskinfo
from kanbench.training import ensemble, train

pytestmark = pytest.mark.usefixtures("pairs_are_stacked")
STEPS = 50
SIZES = {"train_samples": 60, "validation_samples": 20, "test_samples": 20}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def of_method(spec, name, **training) -> dict:
    """The spec of a cell of 50 steps, each of them on the curve."""
    method = next(m for b in discovery.discover().values() for m in b.methods.values() if m.name == name)
    wished = {"hidden_width": 3, "depth": 1, "grid_size": 3}
    wished = {key: value for key, value in wished.items() if key in method.axes}
    settings = discovery.resolve(method, "function_fitting", wished)
    spec = copy.deepcopy(spec)
    spec["method"] = {
        "name": name, "baseline": method.baseline.name, "variant": method.variant, "settings": settings,
    }  # fmt: skip
    spec["task"]["settings"] = taskinfo.resolve("feynman", {"formula": "I.6.20", **SIZES})
    spec["training"].update({"steps": STEPS, "evaluations": STEPS, **training})
    return spec


def seeds_of(spec, count=3) -> list[dict]:
    return [{**copy.deepcopy(spec), "seed": seed} for seed in range(count)]


def numbers(result) -> list[list[float]]:
    points = [[p["validation"], p["test_legacy"], *([p["train_loss"]] if p["step"] else [])] for p in result["curve"]]
    return points + [list(result["metrics"][kind][split].values()) for kind in ("last", "selected") for split in SPLITS]


SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mlp", {}),
        ("mlp", {"batch_size": 16, "schedule": "cosine"}),
        ("mlp", {"optimiser": "adamw", "weight_decay": 0.1}),
        ("mlp", {"optimiser": "sgd"}),
        ("efficient_kan", {}),
        ("efficient_kan", {"batch_size": 16}),
        ("metakan-relu", {"schedule": "exponential"}),
        ("metakan_released-relu", {}),
    ],
)
def test_the_first_fifty_steps_are_those_of_separate_runs(spec, name, changes):
    specs = seeds_of(of_method(spec, name, **changes))
    together = ensemble.run(specs)
    for each, found in zip(specs, together, strict=True):
        assert found["time"]["together"] == 3, found["time"]
        alone = train.run(each)
        assert len(found["curve"]) == STEPS + 1
        for one, other in zip(numbers(found), numbers(alone), strict=True):
            assert one == pytest.approx(other, rel=1e-5, abs=1e-5)
        for part in ("parameters", "memory", "data", "floors", "spec", "status", "method_info"):
            assert found[part] == alone[part]
    values = [found["metrics"]["last"]["test"]["rmse"] for found in together]
    assert len(set(values)) == 3, "every run has its own seed"


def test_in_double_precision_the_difference_is_rounding(spec):
    specs = seeds_of(of_method(spec, "mlp"), 2)
    for each in specs:
        each["dtype"] = "float64"
    for each, found in zip(specs, ensemble.run(specs), strict=True):
        for one, other in zip(numbers(found), numbers(train.run(each)), strict=True):
            assert one == pytest.approx(other, rel=1e-10, abs=1e-12)


def test_rates_of_groups_hold_for_stacked_parameters(spec):
    specs = seeds_of(of_method(spec, "metakan-relu", groups={"meta_learners": {"learning_rate": 1e-4}}), 2)
    slow, plain = ensemble.run(specs), ensemble.run(seeds_of(of_method(spec, "metakan-relu"), 2))
    assert numbers(slow[0])[-1] == pytest.approx(numbers(train.run(specs[0]))[-1], rel=1e-5, abs=1e-5)
    assert numbers(slow[0])[-1] != pytest.approx(numbers(plain[0])[-1], rel=1e-3)


@pytest.mark.parametrize("name", ["mlp", "metakan-relu"])
def test_runs_with_learning_rates_of_their_own_share_steps(spec, name):
    cell = of_method(spec, name, schedule="cosine", batch_size=16)
    rates = [{"learning_rate": 1e-3}, {"learning_rate": 3e-2}]
    if name == "metakan-relu":
        rates += [{"learning_rate": 3e-2, "groups": {"meta_learners": {"learning_rate": 1e-3}}}]
    specs = [{**each, "training": {**each["training"], **own}} for own in rates for each in seeds_of(cell, 2)]
    for each, found in zip(specs, ensemble.run(specs), strict=True):
        assert found["time"]["together"] == len(specs)
        assert found["spec"] == each
        alone = train.run(each)
        for ours, theirs in zip(numbers(found), numbers(alone), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
        assert found["memory"] == alone["memory"]


def test_memory_is_simulated_once_for_runs_that_cannot_differ_in_it(spec, monkeypatch):
    measured, memory = [], train._memory
    monkeypatch.setattr(train, "_memory", lambda *given: measured.append(given[1]["seed"]) or memory(*given))
    specs = seeds_of(of_method(spec, "mlp", steps=2, evaluations=1))
    assert [each["memory"] for each in ensemble.run(specs)] == [train.run(specs[0])["memory"]] * 3
    assert measured == [0, 0]
    monkeypatch.setattr(train.build, "capability", lambda module, name: print if name == "prepare" else None)
    train.Attempt(specs[1]).prepare(train.Attempt(specs[0]))
    assert measured == [0, 0, 1], "a network made from its data is measured by itself"


def test_a_diverging_run_does_not_touch_the_others(spec, monkeypatch):
    specs = seeds_of(of_method(spec, "mlp"))
    alone = train.run(specs[0])
    begin = train.loop.Training.begin

    def broken(self):
        begin(self)
        if self.batches is broken.second:
            with torch.no_grad():
                for parameter in self.trainee.model.parameters():
                    parameter.fill_(float("nan"))

    prepare = train.Attempt.prepare

    def prepared(self, *alike):
        prepare(self, *alike)
        if self.spec["seed"] == 1:
            broken.second = self.session.batches

    monkeypatch.setattr(train.loop.Training, "begin", broken)
    monkeypatch.setattr(train.Attempt, "prepare", prepared)
    found = ensemble.run(specs)
    assert [each["status"] for each in found] == ["ok", "diverged", "ok"]
    assert "at step 1 of 50" in found[1]["reason"]
    assert numbers(found[0])[-1] == pytest.approx(numbers(alone)[-1], rel=1e-5)


def test_forms_with_a_backward_of_their_own_are_stacked(spec):
    specs = seeds_of(of_method(spec, "metakan-linear", steps=3, evaluations=3), 2)
    for each, found in zip(specs, ensemble.run(specs), strict=True):
        assert found["time"]["together"] == 2
        for ours, theirs in zip(numbers(found), numbers(train.run(each)), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("changes", [{"optimiser": "lbfgs", "learning_rate": 1.0}, {}])
def test_what_cannot_be_stacked_is_trained_one_by_one_and_says_why(spec, changes, monkeypatch):
    def refused(_):
        raise RuntimeError("no rule for this operator")

    monkeypatch.setattr(ensemble, "vmap", refused)
    specs = seeds_of(of_method(spec, "mlp", steps=3, evaluations=3, **changes), 2)
    for each, found in zip(specs, ensemble.run(specs), strict=True):
        assert found["time"]["together"] == 1
        assert "cannot be stacked: no rule" in found["time"]["apart"]
        alone = train.run(each)
        assert found["metrics"] == alone["metrics"]
        assert found["curve"] == alone["curve"]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_few_runs_are_trained_one_after_another_on_a_processor(spec, count, monkeypatch):
    monkeypatch.setattr(ensemble, "LEAST_STACKED", 4)
    specs = seeds_of(of_method(spec, "metakan-relu", steps=3, evaluations=3), count)
    for each, found in zip(specs, ensemble.run(specs), strict=True):
        assert found["time"]["together"] == (count if count == 4 else 1)
        if count < 4:
            assert "quicker one after another" in found["time"]["apart"]
            assert found["curve"] == train.run(each)["curve"]


def test_few_runs_are_stacked_under_lbfgs(spec, monkeypatch):
    monkeypatch.setattr(ensemble, "LEAST_STACKED", 4)
    specs = seeds_of(of_method(spec, "mlp", steps=3, evaluations=3, optimiser="lbfgs", learning_rate=1.0), 2)
    assert [found["time"]["together"] for found in ensemble.run(specs)] == [2, 2]


def test_cells_are_told_apart(spec):
    cell, other = of_method(spec, "mlp", steps=4), of_method(spec, "mlp", steps=6)
    found = ensemble.run([*seeds_of(cell, 2), other])
    assert [each["time"]["together"] for each in found] == [2, 2, 1]
    assert "no other run of its cell" in found[2]["time"]["apart"]
    assert [each["spec"]["training"]["steps"] for each in found] == [4, 4, 6]


def test_the_command_line_takes_several_specs(spec, tmp_path, capsys):
    specs = seeds_of(of_method(spec, "mlp", steps=4, evaluations=2), 2)
    outputs = [tmp_path / f"{index}.json" for index in range(2)]
    words = [
        part
        for each, output in zip(specs, outputs, strict=True)
        for part in ("--spec", json.dumps(each), "--output", str(output))
    ]
    assert main(["train", *words]) == 0
    assert [record.read(path)["spec"]["seed"] for path in outputs] == [0, 1]
    assert [record.read(path)["time"]["together"] for path in outputs] == [2, 2]
    assert main(["train", *words, "--exclusive"]) == 1
    assert main(["train", *words[:-2]]) == 1
    assert "2 times --spec and 1 times --output" in capsys.readouterr().err
