"""One spec in, one record out: outcomes are data."""

from __future__ import annotations

import copy
import json

import pytest
import torch

from kanbench.cli.parser import main
from kanbench.records import record
from kanbench.training import loop, train


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_run_leaves_a_complete_record(spec, tmp_path):
    result = train.run(spec)
    record.write(result, tmp_path / "r.json")
    assert result["status"] == "ok"
    assert result["parameters"]["trainable"] == (1 * 2 + 2) + (2 * 1 + 1)
    for split in ("train", "validation", "test"):
        assert result["metrics"]["selected"][split]["rmse"] > 0
    assert result["memory"]["simulated_peak_bytes"] == sum(result["memory"]["breakdown"].values()) > 0
    assert result["memory"]["peak_allocated_bytes"] is None
    assert result["time"]["step_seconds"]["q25"] <= result["time"]["step_seconds"]["median"]
    assert [point["step"] for point in result["curve"]] == [0, 2, 4]
    assert result["environment"]["torch"] == torch.__version__


def test_the_threads_asked_for_are_those_that_ran(spec, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ["train", "--spec", json.dumps(spec), "--output", str(tmp_path / "r.json"), "--threads", "2"]
    assert main(words) == 0
    assert record.read(tmp_path / "r.json")["environment"]["threads"] == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_the_record_says_how_many_threads_ran(spec, monkeypatch, threads):
    torch.set_num_threads(threads)
    assert train.run(spec)["environment"]["threads"] == threads
    steps = loop.Training.run

    def run(training):
        torch.set_num_threads(3)  # as a plug-in might
        steps(training)

    monkeypatch.setattr(loop.Training, "run", run)
    assert train.run(spec)["environment"]["threads"] == 3


def test_the_same_seed_trains_the_same_and_another_one_differently(spec):
    first, again = train.run(spec), train.run(spec)
    assert again["metrics"]["last"]["test"]["rmse"] == pytest.approx(first["metrics"]["last"]["test"]["rmse"], abs=1e-6)
    other = copy.deepcopy(spec)
    other["seed"] = 1
    assert train.run(other)["metrics"]["last"]["test"]["rmse"] != first["metrics"]["last"]["test"]["rmse"]
    assert train.run(other)["data"]["fingerprint"] != first["data"]["fingerprint"]


def test_measuring_does_not_change_what_is_trained(spec, monkeypatch):
    measured = train.run(spec)
    blank = {"simulated_peak_bytes": None, "breakdown": {}, "saved_for_backward_bytes": None}
    monkeypatch.setattr(train, "_memory", lambda *arguments: blank)
    assert train.run(spec)["metrics"] == measured["metrics"]


def test_divergence_is_an_outcome(spec, tmp_path):
    spec["training"].update(optimiser="sgd", learning_rate=1e30)
    result = train.run(spec)
    record.write(result, tmp_path / "r.json")
    assert result["status"] == "diverged"
    assert "at step" in result["reason"]
    assert result["metrics"]["selected"] is None


def test_running_out_of_memory_is_an_outcome(spec, monkeypatch):
    def exhausted(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore text")

    monkeypatch.setattr(train.loop.Training, "run", exhausted)
    result = train.run(spec)
    assert result["status"] == "out_of_memory"
    assert result["reason"] == "CUDA out of memory. Tried to allocate 2 GiB"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_spec_without_a_gpu_is_skipped_with_its_reason(spec):
    spec["device"] = "cuda"
    result = train.run(spec)
    assert result["status"] == "skipped"
    assert "no GPU" in result["reason"]


@pytest.mark.gpu
def test_a_gpu_run_measures_real_memory(spec):
    spec["device"] = "cuda"
    result = train.run(spec)
    assert result["status"] == "ok"
    assert 0 < result["memory"]["peak_allocated_bytes"] <= result["memory"]["peak_reserved_bytes"]
    assert result["environment"]["gpu"]


def test_a_programming_error_of_the_harness_is_raised(spec, monkeypatch):
    monkeypatch.delattr(train.loop.Training, "look")
    with pytest.raises(AttributeError, match="look"):
        train.run(spec)


def test_lbfgs_trains_through_the_same_loop(spec):
    spec["training"].update(optimiser="lbfgs", learning_rate=1.0, steps=5)
    result = train.run(spec)
    curve = [point["validation"] for point in result["curve"]]
    assert curve[-1] < 0.5 * curve[0]
