"""Extraction with pykan's tools: networks that are a formula give it back, and what fails says why."""

from __future__ import annotations

import copy
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import sympy
import torch

from kanbench.base import seeds
from kanbench.baselines.build import contained_generators
from kanbench.tasks import task, taskinfo
from kanbench.training.analysis import Skip
from kanbench.training.symbolic import extraction

kan = pytest.importorskip("kan", reason="pykan is not installed")
symbolic = pytest.importorskip("kanbench.training.analyses.symbolic")
QUICK = {**symbolic.DEFAULTS, "sparsify_steps": 0, "refit_iterations": 20}


def network_of(width, edges, grid=20):
    """Return a pykan network whose edges (layer, input, output) are the given functions of points."""
    from kan.spline import curve2coef

    with contained_generators():
        network = kan.KAN(width=list(width), grid=grid, k=3, auto_save=False, grid_range=[-2.5, 2.5], seed=0)
    points = torch.linspace(-2.5, 2.5, 400)
    with torch.no_grad():
        for layer, part in enumerate(network.act_fun):
            part.scale_base.zero_()
            part.scale_sp.fill_(1.0)
            values = torch.zeros(len(points), part.in_dim, part.out_dim)
            for (depth, source, target), function in edges.items():
                if depth == layer:
                    values[:, source, target] = function(points)
            repeated = points[:, None].expand(-1, part.in_dim)
            part.coef.copy_(curve2coef(repeated, values, part.grid, 3))
    return network


SINE = {
    (0, 0, 0): lambda t: torch.sin(math.pi * t),
    (0, 1, 0): torch.square,
    (1, 0, 0): lambda t: t,
}


def subject_of(network, name="sine-plus-square", noise=0.0):
    settings = taskinfo.resolve("feynman", {"formula": name, "train_samples": 200, "test_samples": 200, "noise": noise})
    loaded = task.load("feynman", settings, seed=0, dtype=torch.float32, device=torch.device("cpu"))
    return SimpleNamespace(
        model=network,
        task=loaded,
        spec={"task": {"name": "feynman", "settings": settings}, "seed": 0},
        capabilities={"to_pykan": lambda: network},
        device=torch.device("cpu"),
        generator=lambda purpose: seeds.generator(0, purpose),
    )


def test_a_network_that_is_a_formula_gives_it_back(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    network = network_of([2, 1, 1], SINE)
    before = copy.deepcopy(network.state_dict())
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    found = symbolic.finish(subject_of(network), QUICK)
    assert found["target"] == "x2**2 + sin(pi*x1)"
    assert (found["edges_before"], found["edges_after"]) == (3, 3)
    for way in ("isolated", "in_context"):
        reading = found[way]
        assert (reading["status"], reading["equivalence"], reading["exact"]) == ("ok", "exact", True)
        assert sympy.sympify(reading["snapped"]) == sympy.sympify("x2**2 + sin(pi*x1)")
        assert [edge[3] for edge in reading["edges"]] == ["sin", "x^2", "x"]
        assert reading["r2_truth"] == pytest.approx(1.0, abs=1e-9)
        assert reading["edge_r2_least"] > 0.999
        assert reading["equal_inside"]
        assert reading["equal_outside"]
        assert reading["operations"] == 4
    curve = found["curves"][0]
    assert (curve["edge"], curve["symbol"]) == ([0, 0, 0], "sin")
    assert curve["fit"] == pytest.approx(curve["learned"], abs=0.02)
    assert curve["t"] == sorted(curve["t"])
    # Nothing of pykan's side effects is left.
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002
    assert states[2] == random.getstate()
    assert torch.get_default_dtype() == torch.float32
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())


def test_the_choice_by_itself_is_that_of_pykan():
    network = network_of([2, 1, 1], SINE)
    with extraction.contained() as folder:
        mine = extraction.private_copy(network, torch.rand(60, 2) * 2 - 1, folder)
        points = torch.rand(60, 2) * 2 - 1
        mine(points)
        for place in extraction.live_edges(mine):
            edge = extraction.suggest(mine, place, symbolic.DEFAULTS["library"], 0.8)
            name, _, r2, complexity = mine.suggest_symbolic(*place, lib=symbolic.DEFAULTS["library"], verbose=False)
            assert (edge.symbol, edge.r2) == (name, pytest.approx(float(r2), abs=1e-6))
            assert extraction.formula.COMPLEXITY[name] == complexity
            extraction.release(mine, place)
        assert extraction.live_edges(mine) == [(0, 0, 0), (0, 1, 0), (1, 0, 0)]


def test_the_loss_of_the_network_overrules_the_fit_of_the_edge():
    # The edge is an arc of a sine, the data are a parabola: by itself the edge is best called a sine.
    network = network_of([1, 1], {(0, 0, 0): lambda t: 2 - 2 * torch.cos(t)})
    with extraction.contained() as folder:
        points = torch.linspace(-2, 2, 101)[:, None]
        targets = points**2
        mine = extraction.private_copy(network, points, folder)
        mine(points)
        edge = extraction.suggest(mine, (0, 0, 0), ["sin", "x^2"], 0.8)
        assert edge.symbol == "sin"
        assert edge.fits["sin"][0] > edge.fits["x^2"][0] > 0.9
        settings = {**QUICK, "candidates": 2}
        (chosen,) = extraction.choose_in_context(mine, [edge], points, targets, points, settings)
        assert chosen.symbol == "x^2"
        assert extraction.live_edges(mine) == []
        extraction.refit_symbols(mine, points, targets, 50)
        assert extraction.loss_of(mine, points, targets) < 1e-12


def test_affine_parameters_are_fitted_to_the_data():
    network = network_of([2, 1, 1], SINE)
    with extraction.contained() as folder:
        points = torch.rand(100, 2) * 2 - 1
        targets = (2 * torch.sin(3 * points[:, :1] + 0.4) - 0.5 * points[:, 1:] ** 2) * 1.5 + 0.25
        mine = extraction.private_copy(network, points, folder)
        mine(points)
        edges = [extraction.suggest(mine, place, ["x", "x^2", "sin"], 0.8) for place in extraction.live_edges(mine)]
        extraction.choose_isolated(mine, edges)
        assert extraction.loss_of(mine, points, targets) > 0.01
        extraction.refit_symbols(mine, points, targets, 200)
        assert extraction.loss_of(mine, points, targets) < 1e-12
        outputs = mine(points)[:, 0].detach().numpy()
        variables = list(sympy.symbols("u v", real=True))
        found = extraction.formula.values(extraction.expression(mine, variables), variables, points.numpy())
        assert np.allclose(found, outputs, atol=1e-9)


def test_an_edge_behind_a_mask_cannot_spoil_the_outputs():
    # A logarithm that pykan leaves behind its mask of 0 is not a number at negative points.
    network = network_of([2, 1, 1], SINE)
    with extraction.contained() as folder:
        mine = extraction.private_copy(network, torch.rand(60, 2) + 0.1, folder)
        mine(torch.rand(60, 2) + 0.1)
        extraction.suggest(mine, (0, 1, 0), ["log", "sqrt"], 0.8)
        assert torch.isfinite(mine(torch.rand(60, 2) * 4 - 2)).all()


def test_a_network_that_is_pruned_away_is_a_result(capfd):
    network = network_of([2, 2, 1], {})
    found = symbolic.finish(subject_of(network), QUICK)
    assert found["edges_before"] == 6
    assert found["edges_after"] is None
    for way in ("isolated", "in_context"):
        assert found[way]["status"] == "no formula"
        assert found[way]["reason"].startswith("prune: ")
        assert (found[way]["exact"], found[way]["score_truth"], found[way]["r2_truth"]) == (False, 0.0, None)
    assert capfd.readouterr() == ("", "")


def test_what_has_no_formula_or_no_export_is_skipped():
    subject = subject_of(network_of([2, 1, 1], SINE))
    unknown = SimpleNamespace(**{**vars(subject), "spec": {"task": {"name": "poisson", "settings": {}}, "seed": 0}})
    with pytest.raises(Skip, match="the task poisson has no known formula"):
        symbolic.finish(unknown, QUICK)

    def refuse():
        raise ValueError("found the basis 'rbf'")

    subject.capabilities = {"to_pykan": refuse}
    with pytest.raises(Skip, match="found the basis 'rbf'"):
        symbolic.finish(subject, QUICK)


def test_inputs_are_translated_to_the_variables_of_the_formula():
    subject = subject_of(network_of([2, 1, 1], SINE), name="inverse-of-product")
    target = symbolic.Target(subject, QUICK)
    x1, x2 = target.symbols
    assert target.inputs == [2 * x1 - 1, 2 * x2 - 1]
    expected = 1 / (1 + target.points[:, 0] * target.points[:, 1])
    assert np.allclose(expected, target.values, atol=1e-6)
    assert ((target.points >= 0) & (target.points <= 1)).all()


def test_r2_of_what_is_not_finite_is_missing():
    values = np.array([0.0, 1.0, 2.0])
    assert symbolic.Target.r2(values, values) == 1.0
    assert symbolic.Target.r2(np.full(3, 1.0), values) == 0.0
    assert symbolic.Target.r2(np.array([np.nan, 1.0, 2.0]), values) is None


def test_a_formula_that_cannot_be_written_out_in_time_is_a_result(monkeypatch):
    def never_ends(*arguments):
        while True:
            pass

    monkeypatch.setattr(symbolic.extraction, "expression", never_ends)
    found = symbolic.finish(subject_of(network_of([2, 1, 1], SINE)), {**QUICK, "simplify_seconds": 0.02})
    for way in ("isolated", "in_context"):
        assert found[way]["reason"] == "formula: not multiplied out within 0.1 s"
        assert (found[way]["exact"], found[way]["score_network"]) == (False, 0.0)
