"""pykan: its side effects stay inside, and the wrapper changes nothing but them."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch

from kanbench.baselines import build, check, discovery
from kanbench.measurement import measure
from kanbench.tasks.task import Problem

pytestmark = pytest.mark.usefixtures("elsewhere")

kan = pytest.importorskip("kan", reason="pykan is not installed")
METHODS = discovery.discover()["pykan"].methods
MODULE = build.load_model_module(METHODS["pykan-default"].baseline)
PROBLEM = Problem("function_fitting", inputs=2, outputs=1)


def model(name="pykan-fast", **overrides):
    settings = discovery.resolve(METHODS[name], "function_fitting", {"hidden_width": 5, "depth": 1, **overrides})
    return MODULE.build(PROBLEM, build.read_only(settings))


def test_the_naive_use_breaks_what_the_wrapper_keeps(tmp_path):
    (tmp_path / "naive").mkdir()
    description = (METHODS["pykan-fast"].baseline.path / "baseline.yaml").read_text()
    (tmp_path / "naive/baseline.yaml").write_text(description)
    (tmp_path / "naive/model.py").write_text(
        "from kan import KAN\n"
        "def build(problem, settings):\n"
        "    return KAN(problem.width(settings), grid=settings['grid_size'], k=settings['spline_order'])\n"
    )
    found = {r.rule: r.message for r in check.check_baseline("naive", tmp_path) if r.ok is False}
    assert {"gradients", "count", "files", "generators", "seed_decides"} <= set(found)
    assert "model" in found["files"]
    assert "210 counted, 150 declared" in found["count"]
    assert "symbolic_fun.0.affine is zero everywhere" in found["gradients"]


def test_global_generators_move_by_one_draw_of_torch():
    torch.manual_seed(3)
    torch.randint(2**31, ())
    expected = torch.get_rng_state()
    states = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    torch.manual_seed(3)
    model()
    assert torch.equal(torch.get_rng_state(), expected)
    assert (np.random.get_state()[1] == states[0]).all()  # noqa: NPY002
    assert random.getstate() == states[1]


def test_nothing_is_printed_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model("pykan-default")(torch.rand(4, 2)).sum().backward()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_the_width_of_the_problem_is_left_alone():
    width = [2, 5, 1]
    problem = type("P", (), {"grid_range": (-1, 1), "width": lambda self, settings: width})()
    MODULE.build(problem, METHODS["pykan-fast"].settings)
    assert kan.KAN(width=copy.copy(width), auto_save=False).width == [[2, 0], [5, 0], [1, 0]]
    assert width == [2, 5, 1]


def test_only_what_receives_a_gradient_is_trainable():
    network = model()
    counts = measure.count_parameters(network, [])
    assert (counts["trainable"], counts["total"], counts["buffers"]) == (150, 348, 0)
    network(torch.rand(32, 2)).sum().backward()
    trained = {name.rpartition(".")[2] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {"coef", "scale_base", "scale_sp"}


def test_the_wrapper_computes_what_pykan_computes_and_hands_it_out():
    network, x = model(), torch.rand(16, 2) * 2 - 1
    inner = MODULE.to_pykan(network)
    assert isinstance(inner, kan.KAN)
    torch.testing.assert_close(network(x.view(16, 1, 2)), inner(x), atol=0, rtol=0)


def test_the_fast_variant_keeps_no_activations_and_gives_the_same_outputs():
    fast, x = model("pykan-fast"), torch.rand(16, 2)
    default = model("pykan-default")
    default.load_state_dict(fast.state_dict())
    torch.testing.assert_close(fast(x), default(x), atol=1e-7, rtol=0)
    assert fast.network.spline_postacts == []
    assert len(default.network.spline_postacts) == 2
    saved = [measure.saved_for_backward(m, lambda m=m: m(x).sum(), [x]) for m in (fast, default)]
    assert saved[0] < saved[1]


def test_it_moves_with_dtype_and_takes_its_index_along():
    network = model().double()
    assert network(torch.rand(3, 2, dtype=torch.float64)).dtype == torch.float64
    assert network.network.input_id.dtype == torch.int64
    assert network.to("meta").network.input_id.device.type == "meta"


def test_edge_functions_add_up_to_the_layer():
    network = model()
    layer = network.network.act_fun[0]
    points = torch.linspace(-1, 1, 7)
    values = MODULE.edge_functions(network, 0)(points)
    assert values.shape == (5, 2, 7)
    x = torch.stack([points, points.flip(0)], dim=1)
    expected = values[:, 0].T + values[:, 1].flip(1).T
    torch.testing.assert_close(layer(x)[0], expected, atol=1e-6, rtol=0)
