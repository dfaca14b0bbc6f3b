"""Recorded steps: when they are tried, that they are checked against eager ones, and what the record says."""

from __future__ import annotations

import copy

import pytest
import torch

from kanbench.base.errors import InvalidInput
from kanbench.records import record
from kanbench.study import config
from kanbench.training import capture, ensemble, train

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def cuda_graph(step, clear, device):
    """Stands for a recorder on the CPU: replaying is stepping again."""
    for _ in range(3):
        step()
    clear()
    return step


def wrong(step, clear, device):
    """A recorder whose replay does not touch the parameters."""
    loss = step()
    return lambda: loss


def failing(step, clear, device):
    step()
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("changes", "device", "steps", "hooked", "reason"),
    [
        ({}, CUDA, 1000, False, None),
        ({}, CUDA, 10, False, "10 steps are too few"),
        ({"capture": "cuda_graph"}, CUDA, 10, False, None),
        ({"capture": "eager"}, CUDA, 1000, False, "the spec says so"),
        ({}, CPU, 1000, False, "the device is cpu"),
        ({"optimiser": "lbfgs"}, CUDA, 1000, False, "line search"),
        ({"optimiser": "sgd"}, CUDA, 1000, False, "sgd keeps its learning rate on the host"),
        ({}, CUDA, 1000, True, "after_step"),
    ],
)
def test_the_decision_has_a_reason(changes, device, steps, hooked, reason):
    found = capture.reason_for_eager({"optimiser": "adam", **changes}, device, steps, hooked)
    assert found is None if reason is None else reason in found


def longer(spec, **changes) -> dict:
    spec = copy.deepcopy(spec)
    spec["training"].update({"steps": 50, "evaluations": 25, "schedule": "cosine", **changes})
    return spec


def losses(result) -> list[float]:
    return [value for point in result["curve"][1:] for value in (point["train_loss"], point["validation"])]


@pytest.mark.parametrize("batch_size", [None, 12])
def test_replayed_steps_give_the_numbers_of_eager_ones(spec, monkeypatch, tmp_path, batch_size):
    eager = train.run(longer(spec, batch_size=batch_size))
    assert eager["time"]["capture"]["used"] == "eager"
    assert "cpu" in eager["time"]["capture"]["reason"]
    monkeypatch.setitem(capture.RECORDERS, "cpu", cuda_graph)
    replayed = train.run(longer(spec, batch_size=batch_size, capture="cuda_graph"))
    assert replayed["time"]["capture"]["used"] == "cuda_graph", replayed["time"]
    assert replayed["time"]["capture"]["deviation"] <= 1
    assert losses(replayed) == pytest.approx(losses(eager), rel=1e-5, abs=1e-5)
    record.write(replayed, tmp_path / "r.json")


@pytest.mark.parametrize(
    ("recorder", "reason"), [(wrong, "replayed steps differ"), (failing, "cannot be recorded: CUDA out of memory")]
)
def test_a_wrong_or_failing_recording_leaves_the_eager_numbers(spec, monkeypatch, recorder, reason):
    eager = train.run(longer(spec, capture="eager"))
    monkeypatch.setitem(capture.RECORDERS, "cpu", recorder)
    found = train.run(longer(spec, capture="cuda_graph"))
    assert found["time"]["capture"]["used"] == "eager"
    assert reason in found["time"]["capture"]["reason"]
    assert found["curve"] == eager["curve"]
    assert found["metrics"] == eager["metrics"]


def test_on_a_processor_auto_is_bit_equal_to_eager(spec):
    assert train.run(longer(spec))["curve"] == train.run(longer(spec, capture="eager"))["curve"]


@pytest.mark.usefixtures("pairs_are_stacked")
def test_runs_that_train_together_are_recorded_together(spec, monkeypatch):
    specs = [{**longer(spec, capture="cuda_graph"), "seed": seed} for seed in range(2)]
    eager = ensemble.run(specs)
    monkeypatch.setitem(capture.RECORDERS, "cpu", cuda_graph)
    for one, other in zip(ensemble.run(specs), eager, strict=True):
        assert (one["time"]["together"], one["time"]["capture"]["used"]) == (2, "cuda_graph")
        assert losses(one) == pytest.approx(losses(other), rel=1e-5, abs=1e-5)


def test_the_setting_is_validated_and_its_default_left_out_of_specs(tiny):
    tiny["experiments"]["E1"]["training"]["capture"] = "always"
    with pytest.raises(InvalidInput, match="capture"):
        config.from_content(tiny, "tiny.yaml")
    (plain,), _ = config.trainings([{"steps": 1, "capture": "auto"}], "x", "training")
    (chosen,), _ = config.trainings([{"steps": 1, "capture": "eager"}], "x", "training")
    assert "capture" not in plain
    assert chosen["capture"] == "eager"


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["mlp", "metakan-relu"])
def test_fifty_captured_steps_on_a_gpu_are_the_eager_ones(spec, name):
    from test_ensemble import of_method

    wished = {**of_method(spec, name, schedule="cosine"), "device": "cuda"}
    found = {}
    for mode in ("eager", "cuda_graph"):
        found[mode] = train.run({**wished, "training": {**wished["training"], "capture": mode}})
    assert found["cuda_graph"]["time"]["capture"]["used"] == "cuda_graph", found["cuda_graph"]["time"]
    assert losses(found["cuda_graph"]) == pytest.approx(losses(found["eager"]), rel=1e-5, abs=1e-5)
