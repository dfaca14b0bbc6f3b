"""Exports to efficient-kan and pykan: the same function, and pykan's own tools work on it."""

from __future__ import annotations

import contextlib
import random
import sys

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

import metakan
from kanbench.baselines import build, discovery
from kanbench.tasks.task import Problem
from metakan import KAN, KANLinear, MetaKAN, MetaKANLinear, to_efficient_kan, to_pykan

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
GRIDS = [(5, 3, (-1.0, 1.0)), (8, 2, (0.0, 3.0)), (3, 1, (-2.0, 0.5)), (1, 4, (-1.0, 1.0))]
EFFICIENT = build.load_model_module(discovery.discover()["efficient_kan"].methods["efficient_kan"].baseline)


def trained(kind, width, dtype, grid=GRIDS[0], **options):
    """Return a network whose functions have left their start, and points inside and outside of its grid."""
    torch.manual_seed(0)
    grid_size, order, (low, high) = grid
    model = kind(list(width), grid_size=grid_size, spline_order=order, grid_range=(low, high), **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = low + (high - low) * (2 * torch.rand(200, width[0]) - 0.5)
    return model.to(dtype), x.to(dtype)


def close(found, expected):
    tolerance = TOLERANCE[expected.dtype] * expected.abs().max().item()
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kind", [MetaKAN, KAN])
def test_efficient_kan_computes_the_same(kind, grid, dtype):
    model, x = trained(kind, (3, 4, 2), dtype, grid)
    options = {"grid_size": grid[0], "spline_order": grid[1], "grid_range": grid[2]}
    target = EFFICIENT.EfficientKAN([3, 4, 2], **options).to(dtype)
    assert list(to_efficient_kan(model)) == [
        f"layers.{layer}.{name}"
        for layer in (0, 1)
        for name in ("base_weight", "spline_weight", "spline_scaler", "grid")
    ]
    assert to_efficient_kan(model, target) is target
    close(target(x), model(x))


def test_an_efficient_kan_without_standalone_scales_is_filled_too():
    model, x = trained(KAN, (3, 4, 2), torch.float64)
    target = EFFICIENT.EfficientKAN([3, 4, 2]).double()
    for layer in target.layers:
        del layer.spline_scaler
        layer.spline_scaler = torch.ones(layer.base_weight.shape, dtype=torch.float64)
    close(to_efficient_kan(model, target)(x), model(x))


def test_the_exported_state_is_that_of_splines_in_scipy():
    model, x = trained(MetaKANLinearNetwork, (1, 1), torch.float64)
    state = {name: value.numpy() for name, value in to_efficient_kan(model).items()}
    t, points = state["layers.0.grid"][0], np.linspace(-0.99, 0.99, 50)
    spline = BSpline(t, state["layers.0.spline_weight"][0, 0], 3)(points)
    expected = spline + state["layers.0.base_weight"][0, 0] * points / (1 + np.exp(-points))
    found = model(torch.from_numpy(points).unsqueeze(1)).detach().numpy()[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def MetaKANLinearNetwork(width, **options):
    return MetaKANLinear(*width, **options)


def test_a_target_of_another_shape_is_refused():
    model = KAN([3, 4, 2])
    with pytest.raises(ValueError, match=r"layers.0.grid: found \(3, 14\) in module, expected \(3, 12\)"):
        to_efficient_kan(model, EFFICIENT.EfficientKAN([3, 4, 2], grid_size=7))
    with pytest.raises(ValueError, match=r"layers.1.base_weight: found nothing of that name"):
        to_efficient_kan(model, EFFICIENT.EfficientKAN([3, 4]))


@pytest.mark.parametrize("export", [to_efficient_kan, to_pykan])
def test_what_cannot_be_exported_is_refused(export):
    with pytest.raises(ValueError, match="found the basis 'rbf', expected 'bspline'"):
        export(MetaKAN([2, 1], basis="rbf"))
    with pytest.raises(TypeError, match="found a Sequential .found inside it: pass that., expected one of KAN"):
        export(torch.nn.Sequential(torch.nn.Flatten(), KAN([2, 1])))
    with pytest.raises(TypeError, match="found a Linear, expected one of KAN"):
        export(torch.nn.Linear(2, 1))
    with pytest.raises(TypeError, match="found a int"):
        export(3)


def test_pykan_is_needed_only_for_its_export(monkeypatch):
    monkeypatch.setitem(sys.modules, "kan", None)
    with pytest.raises(ImportError, match="pip install pykan"):
        to_pykan(KAN([2, 1]))


@pytest.fixture
def kan():
    return pytest.importorskip("kan", reason="pykan is not installed")


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kind", [MetaKAN, KAN])
def test_pykan_computes_the_same(kan, kind, grid, dtype):
    model, x = trained(kind, (3, 4, 2), dtype, grid)
    network = to_pykan(model)
    assert isinstance(network, kan.KAN)
    assert network.symbolic_enabled
    close(network(x), model(x))


def test_a_layer_is_exported_as_a_network_of_one(kan):
    layer, x = trained(lambda width, **options: KANLinear(*width, **options), (3, 2), torch.float64)
    close(to_pykan(layer)(x), layer(x))
    assert to_pykan(layer).width == [[3, 0], [2, 0]]


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (torch.zeros(5, 2), ValueError, r"inputs: found an input of shape \(5, 2\), expected 3 features"),
        (torch.zeros(5, 4), ValueError, r"shape \(5, 4\), expected 3"),
        (torch.zeros(3), ValueError, r"inputs: found shape \(3,\), expected \(n, 3\)"),
        (torch.zeros(2, 5, 3), ValueError, r"expected \(n, 3\)"),
        (torch.zeros(5, 3, dtype=torch.float64), TypeError, "dtype torch.float64, expected torch.float32"),
        ([[0.0, 0.0, 0.0]], TypeError, "found an input of type list"),
    ],
)
def test_inputs_of_another_shape_or_kind_are_refused_before_the_export(inputs, error, message):
    with pytest.raises(error, match=message):
        to_pykan(MetaKAN([3, 4, 2]), inputs)


def test_the_export_has_no_side_effects(kan, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model, x = KAN([2, 3, 1]), torch.rand(9, 2)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    weights = [p.clone() for p in model.parameters()]
    network = to_pykan(model, x)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert random.getstate() == before[2]
    assert model.width == [2, 3, 1]
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert capsys.readouterr().out == ""
    network.prune()
    assert list(tmp_path.iterdir()) == [], "what prune writes goes to a temporary folder"
    to_pykan(model, x, checkpoints=tmp_path / "mine").prune()
    assert (tmp_path / "mine/history.txt").exists()


def known(dtype) -> tuple[KAN, torch.Tensor]:
    """Return a [2, 2, 1] network that computes sin(x1) + x2**2 up to its splines, its second hidden node dead."""
    model = KAN([2, 2, 1], grid_size=20, grid_range=(-2, 2)).double()
    points = torch.linspace(-2, 2, 400, dtype=torch.float64)
    features = model.basis.features(points)[:, :-1]
    targets = {(0, 0, 0): points.sin(), (0, 0, 1): points.square(), (1, 0, 0): points}
    with torch.no_grad():
        for layer in model.layers:
            layer.edges.weight.zero_()
        for (layer, output, source), values in targets.items():
            fit = torch.linalg.lstsq(features, values.unsqueeze(1)).solution[:, 0]
            model.layers[layer].edges.weight[output, source, :-1] = fit
    x = torch.rand(300, 2, dtype=torch.float64) * torch.tensor([2.0, 1.2], dtype=torch.float64) - 0.6
    return model.to(dtype), x.to(dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_pykan_prunes_the_export_and_finds_the_formula(kan, dtype):
    model, x = known(dtype)
    network = to_pykan(model, x)
    name, _, r2, _ = network.suggest_symbolic(0, 0, 0, lib=["x", "x^2", "sin"], verbose=False, weight_simple=0.0)
    assert name == "sin"
    assert r2 > 0.9999
    torch.testing.assert_close(network(x), model(x), atol=1e-6, rtol=0)  # asking changes nothing
    with default_dtype(dtype):
        pruned = network.prune()
        assert pruned.width == [[2, 0], [1, 0], [1, 0]]
        torch.testing.assert_close(pruned(x), model(x), atol=1e-5, rtol=0)
        pruned.auto_symbolic(lib=["x", "x^2", "sin"], verbose=0, weight_simple=0.0)
    names = [layer.funs_name for layer in pruned.symbolic_fun]
    assert names == [[["sin", "x^2"]], [["x"]]]
    formula = pruned.symbolic_formula()[0][0]
    for x1, x2 in ((0.3, -0.2), (1.0, 0.5)):
        value = float(formula.subs({"x_1": x1, "x_2": x2}))
        assert value == pytest.approx(np.sin(x1) + x2**2, abs=0.02)


@pytest.mark.parametrize("name", ["metakan-relu", "tiled_kan"])
def test_the_baselines_offer_the_export(kan, name):
    method = discovery.discover()[name.partition("-")[0]].methods[name]
    settings = discovery.resolve(method, "function_fitting", {"hidden_width": 4, "depth": 1})
    model = build.build(method, settings, Problem("function_fitting", inputs=3, outputs=2))
    x = torch.rand(8, 3) * 2 - 1
    close(build.load_model_module(method.baseline).to_pykan(model)(x), model(x))


def test_the_public_names_are_listed():
    assert {"to_efficient_kan", "to_pykan", "save_meta_learner", "load_meta_learner"} <= set(metakan.__all__)
