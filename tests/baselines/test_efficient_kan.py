"""efficient-KAN: our formulation against an independent oracle, and against upstream where that is installed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from kanbench.baselines import build, check, discovery
from kanbench.measurement import measure
from kanbench.study import config, plan
from kanbench.tasks.task import Problem
from kanbench.training import train
from metakan import MetaKAN, to_efficient_kan

METHODS = discovery.discover()["efficient_kan"].methods
METHOD, RELEASED = METHODS["efficient_kan"], METHODS["efficient_kan-released"]
MODULE = build.load_model_module(METHOD.baseline)
SHAPES = [(5, 3, (-1.0, 1.0)), (8, 2, (0.0, 3.0)), (3, 1, (-2.0, 1.0))]
STAND_IN = Path(__file__).resolve().parents[1] / "stand_ins/efficient_kan_stand_in.py"


def network(width, grid_size, order, grid_range, seed=0) -> torch.nn.Module:
    torch.manual_seed(seed)
    options = {"grid_size": grid_size, "spline_order": order, "grid_range": grid_range}
    return MODULE.EfficientKAN(width, **options).double()


def knots(grid_size, order, grid_range):
    low, high = grid_range
    return low + (high - low) / grid_size * np.arange(-order, grid_size + order + 1)


def oracle(model, x, grid_size, order, grid_range):
    """Return the forward pass in NumPy, every edge function a `scipy.interpolate.BSpline`."""
    t = knots(grid_size, order, grid_range)
    for layer in model.layers:
        base, coefficients, scaler = (
            p.detach().numpy() for p in (layer.base_weight, layer.spline_weight, layer.spline_scaler)
        )
        inside = (x >= t[0]) & (x < t[-1])
        y = (x / (1 + np.exp(-x))) @ base.T
        for o, i in np.ndindex(base.shape):
            # scipy continues the outermost polynomials; padding the knots lets every basis function run out to zero
            padded = np.concatenate([t[0] - np.arange(order, 0, -1), t, t[-1] + np.arange(1, order + 1)])
            filled = np.concatenate([np.zeros(order), coefficients[o, i], np.zeros(order)])
            spline = BSpline(padded, filled, order)(x[:, i])
            y[:, o] += scaler[o, i] * np.where(inside[:, i], spline, 0.0)
        x = y
    return x


@pytest.mark.parametrize("shape", SHAPES)
def test_forward_agrees_with_scipy_inside_and_outside_of_the_grid(shape):
    grid_range = shape[2]
    model = network([3, 4, 2], *shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    middle, span = sum(grid_range) / 2, grid_range[1] - grid_range[0]
    x = middle + span * 1.5 * (2 * torch.rand(200, 3, dtype=torch.float64) - 1)
    expected = oracle(model, x.numpy(), *shape)
    np.testing.assert_allclose(model(x).detach().numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_basis_is_that_of_scipy_and_sums_to_one_on_the_grid(shape):
    grid_size, order, (low, high) = shape
    t = knots(*shape)
    x = torch.linspace(low, high, 101, dtype=torch.float64)[:-1]
    found = MODULE.bspline_basis(x.unsqueeze(1), torch.from_numpy(t).unsqueeze(0), order)[:, 0]
    assert found.shape == (100, grid_size + order)
    np.testing.assert_allclose(found, BSpline.design_matrix(x.numpy(), t, order).toarray(), atol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)


def test_counts_are_those_of_upstream():
    settings = discovery.resolve(METHOD, "classification", {"hidden_width": 32, "depth": 1})
    model = build.build(METHOD, settings, Problem("classification", inputs=784, outputs=10))
    counts = measure.count_parameters(model, [])
    assert (counts["trainable"], counts["total"], counts["buffers"]) == (254_080, 254_080, (784 + 32) * 12)


def test_splines_start_as_least_squares_fits_to_small_noise():
    model = network([6, 50], 5, 3, (-1.0, 1.0))
    layer = model.layers[0]
    points = layer.grid[0, 3:-3]
    basis = MODULE.bspline_basis(points.expand(6, -1).T, layer.grid, 3)
    values = torch.einsum("big,oig->boi", basis, layer.spline_weight)[:-1]
    assert values.abs().max() < 0.1 / 5 / 2 + 1e-6, "uniform within noise_scale / grid_size / 2"
    assert values.std().item() == pytest.approx(0.1 / 5 / 12**0.5, rel=0.1)
    bound = 6**-0.5
    for weight in (layer.base_weight, layer.spline_scaler):
        assert weight.abs().max() < bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


WIDE = {"hidden_width": 200, "depth": 1}


def check_the_released_sizes(model):
    """Assert the distributions of MetaKAN's released dense KAN, layer by layer."""
    for layer in model[1].layers:
        outputs, inputs, numbers = layer.spline_weight.shape
        uniform, scaler, coefficients = layer.base_weight, layer.spline_scaler, layer.spline_weight
        assert uniform.abs().max() <= inputs**-0.5
        assert uniform.std().item() == pytest.approx((3 * inputs) ** -0.5, rel=0.05)
        assert coefficients.std().item() == pytest.approx(0.01 / (inputs * numbers) ** 0.5, rel=0.05)
        assert coefficients.mean().abs() < 4 * coefficients.std() / coefficients.numel() ** 0.5
        assert scaler.mean().item() == pytest.approx(1, abs=4 * 0.1 / (outputs * inputs) ** 0.5)
        assert scaler.std().item() == pytest.approx(0.1, rel=0.1)
        excess = ((coefficients / coefficients.std()) ** 4).mean() - 3
        assert excess.abs() < 0.5, "normal, not uniform: the fourth moment of a uniform law is 1.8"


@pytest.mark.parametrize("setting", [{"grid_size": 5}, {"grid_size": 20, "spline_order": 2}])
def test_the_released_initialisation_has_its_standard_deviations(setting):
    settings = discovery.resolve(RELEASED, "classification", WIDE | setting)
    model = build.build(RELEASED, settings, Problem("classification", inputs=100, outputs=10))
    check_the_released_sizes(model)


def test_the_released_initialisation_changes_first_values_and_no_count():
    problem, axes = Problem("classification", inputs=784, outputs=10), {"hidden_width": 32, "depth": 1}
    models = [build.build(m, discovery.resolve(m, "classification", axes), problem) for m in METHODS.values()]
    counts = [measure.count_parameters(model, []) for model in models]
    assert counts[0] == counts[1]
    assert counts[0]["trainable"] == 254_080
    sizes = [model[1].layers[0].spline_scaler.abs().mean().item() for model in models]
    assert sizes[0] < 0.02
    assert sizes[1] == pytest.approx(1, rel=0.01)


def test_an_implied_setting_is_in_specs_where_it_was_changed_alone():
    families = ("function_fitting", "classification", "pde")
    assert not [f for f in families if "initialisation" in discovery.resolve(METHOD, f, {})]
    chosen = {"initialisation": "upstream"}
    assert "initialisation" not in discovery.resolve(METHOD, "pde", chosen)
    assert discovery.resolve(RELEASED, "pde", {})["initialisation"] == "released"
    assert "initialisation" not in discovery.resolve(RELEASED, "pde", chosen)


def test_a_baseline_that_is_plain_keeps_its_own_name_beside_its_variants(tiny):
    tiny["experiments"]["E1"]["methods"] = ["efficient_kan"]
    (run,) = plan.expand(config.from_content(tiny, "tiny.yaml")).runs.values()
    assert (run.spec["method"]["name"], run.spec["method"]["variant"]) == ("efficient_kan", None)
    tiny["experiments"]["E1"]["methods"] = ["all"]
    names = {run.spec["method"]["name"] for run in plan.expand(config.from_content(tiny, "tiny.yaml")).runs.values()}
    assert {"efficient_kan", "efficient_kan-released"} < names


def test_memory_is_that_of_the_recursion():
    model, batch, inputs = network([20, 7], 5, 3, (-1.0, 1.0)).float(), 256, 20
    x = torch.rand(batch, inputs, requires_grad=True)
    saved = measure.saved_for_backward(model, lambda: model(x).sum(), [x])
    # floats an input: the indicators, for degrees 2 and 3 both weights and the values that they blend, the last values
    # and SiLU; those of degree 1 blend constants and need no weights
    kept = 11 + (2 * 9 + 10) + (2 * 8 + 9) + 8 + 1
    assert saved == pytest.approx(4 * batch * inputs * kept, rel=0.05)


def test_the_record_names_the_implementation():
    settings = discovery.resolve(METHOD, "function_fitting", {})
    model = build.build(METHOD, settings, Problem("function_fitting", inputs=2, outputs=1))
    found = MODULE.describe(model)["implementation"]
    assert found == (
        "own formulation of efficient-kan"
        if isinstance(model[1], MODULE.EfficientKAN)
        else "efficient_kan, upstream package"
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_parity_with_the_upstream_package(shape):
    upstream = pytest.importorskip("efficient_kan", reason="the upstream package efficient_kan is not installed")
    grid_size, order, grid_range = shape
    torch.manual_seed(0)
    theirs = upstream.KAN([5, 4, 3], grid_size=grid_size, spline_order=order, grid_range=list(grid_range))
    torch.manual_seed(0)
    ours = MODULE.EfficientKAN([5, 4, 3], grid_size=grid_size, spline_order=order, grid_range=grid_range)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, atol=1e-6, rtol=0)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(64, 5)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=0)


@pytest.fixture
def upstream(tmp_path, monkeypatch):
    """The importable package efficient_kan: a stand-in of the same interface, whatever is installed."""
    (tmp_path / "efficient_kan").mkdir()
    shutil.copy(STAND_IN, tmp_path / "efficient_kan/__init__.py")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "efficient_kan", raising=False)
    import efficient_kan

    yield efficient_kan
    sys.modules.pop("efficient_kan", None)


def test_an_importable_package_runs_with_the_settings_of_the_baseline(upstream):
    settings = discovery.resolve(METHOD, "classification", {"hidden_width": 32, "depth": 1, "noise_scale": 0.3})
    model = build.build(METHOD, settings, Problem("classification", inputs=784, outputs=10))
    assert isinstance(model[1], upstream.KAN)
    assert measure.count_parameters(model, [])["trainable"] == 254_080
    assert model[1].layers[0].spline_weight.std().item() == pytest.approx(0.3, rel=0.01)
    assert model(torch.rand(4, 1, 28, 28)).shape == (4, 10)


@pytest.mark.parametrize("shape", SHAPES)
def test_state_dicts_are_exchangeable_with_the_package(upstream, shape):
    grid_size, order, grid_range = shape
    torch.manual_seed(0)
    theirs = upstream.KAN([5, 4, 3], grid_size=grid_size, spline_order=order, grid_range=list(grid_range))
    ours = MODULE.EfficientKAN([5, 4, 3], grid_size=grid_size, spline_order=order, grid_range=grid_range)
    ours.load_state_dict(theirs.state_dict())
    x = 2 * torch.randn(64, 5)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)
    learnt = MetaKAN([5, 4, 3], grid_size=grid_size, spline_order=order, grid_range=grid_range)
    torch.testing.assert_close(to_efficient_kan(learnt, theirs)(x), learnt(x), atol=1e-5, rtol=1e-5)


def test_the_released_initialisation_is_drawn_over_that_of_the_package(upstream):
    settings = discovery.resolve(RELEASED, "classification", WIDE)
    model = build.build(RELEASED, settings, Problem("classification", inputs=100, outputs=10))
    assert isinstance(model[1], upstream.KAN)
    check_the_released_sizes(model)


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_the_package_keeps_the_contract(upstream, method):
    broken = {result.rule: result.message for result in check.check_method(method) if result.ok is False}
    assert not broken


def test_a_run_of_the_package_says_so_in_its_record(upstream, tiny):
    tiny["experiments"]["E1"] |= {"methods": ["efficient_kan"], "axes": {"grid_size": 3}}
    (run,) = plan.expand(config.from_content(tiny, "tiny.yaml")).runs.values()
    found = train.run(run.spec)
    assert found["status"] == "ok"
    assert found["method_info"] == {"implementation": "efficient_kan, upstream package"}
