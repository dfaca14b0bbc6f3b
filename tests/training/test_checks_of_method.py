"""Prompts through training, pruning, the prompt axis, and targets with many kinds of edge functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kanbench.base import seeds
from kanbench.baselines import build
from kanbench.baselines.discovery import discover
from kanbench.tasks import edge_diversity, taskinfo
from kanbench.tasks import task as tasks
from kanbench.training import analysis, train
from kanbench.training.analyses import prompt_axis, prompts, pruning

SMALL = {"train_samples": 60, "validation_samples": 30, "test_samples": 30, "inputs": 2, "hidden": 2}


def subject_of(name: str = "metakan-relu", wanted: dict | None = None, **settings):
    resolved = taskinfo.resolve("edge_diversity", SMALL)
    task = tasks.load("edge_diversity", resolved, seed=0, dtype=torch.float64, device=torch.device("cpu"))
    method = {m.name: m for b in discover().values() for m in b.methods.values()}[name]
    module = build.load_model_module(method.baseline)
    chosen = {**method.settings, "hidden_width": 3, "grid_size": 4, **settings}
    with seeds.seeded(0, "initialisation"):
        model = build.build(method, chosen, task.problem).double()
    spec = {"seed": 0, "analyses": wanted or {}}
    return analysis.Analyses(module, model, task, spec, torch.device("cpu"))


def test_prompt_statistics_are_what_they_are_called():
    even = np.linspace(0, 1, 11)[:, None]
    found = prompts._statistics(even, 0.001)
    assert found["mean"] == pytest.approx(0.5)
    assert found["spread"] == pytest.approx(np.sqrt(0.1))
    assert found["nearest"] == pytest.approx(0.1)
    assert (found["effective_rank"], found["distinct"]) == (pytest.approx(1.0), 1.0)
    square = np.array([[x, y] for x in (-1.0, 1.0) for y in (-1.0, 1.0)])
    assert prompts._statistics(square, 0.001)["effective_rank"] == pytest.approx(2.0)
    same = np.repeat(even[:2], 5, axis=0)
    assert prompts._statistics(same, 0.001)["distinct"] == pytest.approx(2 / 10)
    assert prompts._statistics(np.zeros((4, 3)), 0.001)["effective_rank"] == pytest.approx(1.0)


def test_a_collapse_raises_the_alarm_and_says_where():
    watched = subject_of(wanted={"prompts": prompts.DEFAULTS})
    watched.observe(0)
    with torch.no_grad():
        watched.subject.model[1].layers[1].prompts.mul_(0.05)
    watched.observe(10)
    watched.finish()
    found = watched.results["prompts"]
    assert [point["step"] for point in found["curve"]] == [0, 10]
    assert found["alarm"]
    assert [(entry["layer"], entry["quantity"]) for entry in found["alarms"]] == [(1, "spread")]
    assert found["alarms"][0]["after"] == pytest.approx(0.05 * found["alarms"][0]["before"])
    assert sum(found["histograms"][0]["counts"]) == 2 * 3


def test_prompts_that_spread_raise_none():
    watched = subject_of(wanted={"prompts": prompts.DEFAULTS})
    watched.observe(0)
    with torch.no_grad():
        watched.subject.model[1].layers[0].prompts.mul_(3)
    watched.observe(1)
    watched.finish()
    assert not watched.results["prompts"]["alarm"]


@pytest.mark.parametrize("name", ["metakan-relu", "tiled_kan"])
def test_pruning_takes_the_smallest_edges_first(name):
    watched = subject_of(name, wanted={"pruning": pruning.DEFAULTS})
    subject = watched.subject
    before = {key: value.clone() for key, value in subject.model.state_dict().items()}
    watched.finish()
    found = watched.results["pruning"]
    assert found["exact"] == pytest.approx(0, abs=1e-12)
    whole = subject.task.evaluate(subject.model, "test")["rmse"]
    assert found["pruned"][0]["test"]["rmse"] == pytest.approx(whole, rel=1e-10)
    assert all(torch.equal(before[key], value) for key, value in subject.model.state_dict().items())
    # By hand: half of six and of three edges are gone, those whose function varies least.
    dense, numbers = subject.capabilities["dense_copy"]()
    points = torch.linspace(-1, 1, pruning.POINTS, dtype=torch.float64)
    with torch.no_grad():
        for position, layer in enumerate(numbers):
            sizes = subject.capabilities["edge_functions"](position)(points).std(dim=-1)
            for _ in range(layer.shape[0] * layer.shape[1] // 2):
                smallest = np.unravel_index(int(sizes.argmin()), sizes.shape)
                layer[smallest] = 0
                sizes[smallest] = torch.inf
    assert found["pruned"][2]["share"] == 0.5
    assert found["pruned"][2]["test"]["rmse"] == pytest.approx(subject.task.evaluate(dense, "test")["rmse"], rel=1e-10)


def test_the_prompt_axis_passes_through_the_edges_own_functions():
    watched = subject_of(prompt_dim=2)
    model = watched.subject.model
    layer = model[1].layers[0]
    t = torch.linspace(-1, 1, 9, dtype=torch.float64)
    own = watched.subject.capabilities["along_prompts"](0, layer.prompts.detach().flatten(0, 1), t)
    assert torch.allclose(own, layer.edge_functions(t).flatten(0, 1), atol=1e-12)
    found = prompt_axis.finish(watched.subject, {"prompts": 5, "points": 9, "reach": 2.0})["layers"][0]
    flat = layer.prompts.detach().flatten(0, 1)
    mean, deviation = flat[:, 0].mean().item(), flat[:, 0].std().item()
    assert found["z"] == pytest.approx([mean + step * deviation for step in (-2, -1, 0, 1, 2)], abs=1e-6)
    middle = layer.functions_of(flat.mean(dim=0, keepdim=True), t)[0].detach()
    assert found["values"][2] == pytest.approx(middle.tolist(), abs=1e-6)


@pytest.mark.parametrize("shape", [*edge_diversity.SHAPES, "mixed"])
def test_edge_functions_are_bounded_and_differ(shape):
    t = np.linspace(-1, 1, 2001)
    functions = edge_diversity.edge_functions(shape, 8, np.random.default_rng(0))
    values = np.array([function(t) for function in functions])
    assert np.abs(values).max() <= 1 + 1e-9
    assert len({tuple(np.round(row[::100], 6)) for row in values}) == 8
    jumps = np.abs(np.diff(values, axis=1)).max(axis=1)
    if shape in ("smooth", "oscillating"):
        assert jumps.max() < 0.05
    if shape == "discontinuous":
        assert (np.abs(np.diff(values, axis=1)) > 0).sum(axis=1).max() <= 3


def test_the_target_is_the_network_that_it_says():
    double, square = (lambda t: 2 * t), (lambda t: t**2)
    x = np.array([[0.5, -0.25], [0.1, 0.2]])
    # Edges in turn: 2x1, x2², ψ1 = 2t, then x1², 2x2, ψ2 = t².
    first = 2 * ((2 * x[:, 0] + x[:, 1] ** 2) / 2)
    second = ((x[:, 0] ** 2 + 2 * x[:, 1]) / 2) ** 2
    assert edge_diversity.target(x, [double, square], 2) == pytest.approx((first + second) / 2)
    assert edge_diversity.target(x, [double], 3) == pytest.approx(2 * x.sum(axis=1))


def test_a_run_with_all_analyses_is_a_record(spec, tmp_path):
    from kanbench.records import record
    from kanbench.training import analyses

    method = discover()["metakan"].methods["metakan-relu"]
    spec["task"] = {"name": "edge_diversity", "settings": taskinfo.resolve("edge_diversity", SMALL)}
    settings = {**method.settings, "hidden_width": 2, "grid_size": 3, "hidden_dim": 4}
    spec["method"] = {"name": method.name, "baseline": "metakan", "variant": "relu", "settings": settings}
    names = ["edge_functions", "prompt_axis", "prompts", "pruning"]
    spec["analyses"] = {name: dict(analyses.discover()[name]) for name in names}
    result = train.run(spec)
    record.write(result, tmp_path / "r.json")
    assert {name: found["status"] for name, found in result["analyses"].items()} == dict.fromkeys(names, "ok")
    assert [point["step"] for point in result["analyses"]["prompts"]["curve"]] == [0, 2, 4]
