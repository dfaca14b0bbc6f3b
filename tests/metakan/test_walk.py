"""The walk along the curve of functions against the plain definition, in values and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from metakan import MetaKAN, native
from metakan.bases import make_basis
from metakan.engine import memory
from metakan.engine.forms import Setting
from metakan.engine.materialized import materialized
from metakan.engine.shape import FullyConnected
from metakan.engine.sources import Generated
from metakan.engine.walk import Walk, walkable

pytestmark = pytest.mark.skipif(
    not (native.active() and native.walk.AVAILABLE), reason="the kernel of the walk is not compiled here"
)

LAYOUTS = {
    "columns": lambda t: t.t().contiguous().t(),
    "steps": lambda t: torch.stack([t, t + 1], dim=-1)[..., 0],
    "expanded": lambda t: t[:, :1].expand(-1, t.shape[1]),
    "negated": lambda t: torch.complex(torch.zeros_like(t), -t).conj().imag,
    "rows": lambda t: torch.cat([t, t])[::2][: len(t)],
}
"""Views of a matrix that lie in memory in odd ways."""
BASES = ("bspline", "rbf", "legendre", "gram", "chebyshev")


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch):
    monkeypatch.setattr("metakan.engine.walk.WORK_A_THREAD", 1)
    monkeypatch.setattr("metakan.engine.walk.LEAST_GROUP", 2)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def layer(inputs, outputs, hidden, numbers, seed, spread=1.0, dtype=torch.float64):
    """Return prompts, some of which lie on kinks, and a meta-learner with kinks that coincide and units without one."""
    generator = torch.Generator().manual_seed(seed)
    w1, b1, w2, b2, prompts = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((hidden, 1), (hidden,), (numbers, hidden), (numbers,), (outputs, inputs, 1))
    )
    w1 = (16 * w1).round() / 16  # so that arguments of units on their kinks are zero in any order of rounding
    b1 = (2 * b1).round() / 2 * w1[:, 0]  # kinks are multiples of one half: many coincide
    w1[::5], b1[1::7] = 0, 0
    flat = prompts.flatten()
    prompts *= spread
    flat[::3] = (2 * flat[::3]).round() / 2
    return [tensor.to(dtype).requires_grad_() for tensor in (prompts, w1, b1, w2, b2)]


def both(x, tensors, basis, weights):
    """Return values and gradients by the walk and by the plain definition."""
    source = Generated(tensors[0], tuple(tensors[1:3]), tuple(tensors[3:]), "relu")
    setting = Setting(source, basis, FullyConnected(), x.dtype)
    results = []
    for form in (Walk(setting), lambda x, *_: materialized(x, source.numbers(), basis, setting.shape)):
        y = form(x, *tensors)
        results.append([y, *torch.autograd.grad((y * weights).sum(), [x, *tensors], allow_unused=True)])
    return zip(*results, strict=True)


def weights_like(batch, outputs, dtype=torch.float64):
    return torch.linspace(-1, 1, max(batch * outputs, 1), dtype=dtype)[: batch * outputs].view(batch, outputs)


@settings(max_examples=60, deadline=None)
@given(
    inputs=st.integers(1, 40),
    outputs=st.integers(1, 150),
    batch=st.integers(0, 140),
    hidden=st.integers(1, 40),
    basis=st.sampled_from(BASES),
    grid_size=st.sampled_from([1, 5, 50]),
    order=st.sampled_from([1, 2, 3, 5]),
    spread=st.sampled_from([1.0, 1e-3, 100.0]),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_are_those_of_the_definition(
    inputs, outputs, batch, hidden, basis, grid_size, order, spread, seed
):
    family = make_basis(basis, grid_size, order if basis in ("bspline", "rbf") else 3, (-1.0, 1.0))
    tensors = layer(inputs, outputs, hidden, family.numbers, seed, spread)
    x = 1.5 * torch.randn(batch, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for ours, theirs in both(x.requires_grad_(), tensors, family, weights_like(batch, outputs)):
        assert torch.allclose(
            ours, theirs, rtol=1e-10, atol=1e-10 * max(1.0, float(theirs.abs().max()) if theirs.numel() else 0)
        )


@pytest.mark.parametrize("hidden", [8, 32, 128])
@pytest.mark.parametrize("grid_size", [5, 50])
def test_float32_is_as_close_to_the_truth_as_the_definition(hidden, grid_size, threads):
    family = make_basis("bspline", grid_size, 3, (-1.0, 1.0))
    x = 1.5 * torch.randn(130, 50, generator=torch.Generator().manual_seed(0))
    tensors = layer(50, 120, hidden, family.numbers, 1, dtype=torch.float32)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    single = list(both(x.clone().requires_grad_(), tensors, family, weights_like(130, 120, torch.float32)))
    truth = [pair[1] for pair in both(x.double().requires_grad_(), exact, family, weights_like(130, 120))]
    for (ours, theirs), true in zip(single, truth, strict=True):
        error, rounding = (float((found - true).norm() / true.norm()) for found in (ours, theirs))
        assert error <= max(1e-5, 2 * rounding)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_inputs_and_gradients_of_any_layout(kind, threads):
    family = make_basis("bspline", 5, 3, (-1.0, 1.0))
    whole = torch.randn(70, 60, dtype=torch.float64)
    tensors = layer(60, 90, 16, family.numbers, 3)
    x, weights = LAYOUTS[kind](whole).detach().requires_grad_(), LAYOUTS[kind](weights_like(70, 90))
    for ours, theirs in both(x, tensors, family, weights):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-9)


def test_prompts_that_are_not_finite_stay_visible_and_harm_no_other():
    family = make_basis("bspline", 5, 3, (-1.0, 1.0))
    tensors = [tensor.detach() for tensor in layer(4, 60, 8, family.numbers, 5)]
    x = torch.rand(5, 4, dtype=torch.float64)
    setting = Setting(
        Generated(tensors[0], tuple(tensors[1:3]), tuple(tensors[3:]), "relu"), family, FullyConnected(), x.dtype
    )
    before = Walk(setting)(x, *tensors)
    tensors[0] = tensors[0].clone()
    tensors[0][7, 2], tensors[0][9, 0] = torch.nan, torch.inf
    after = Walk(setting)(x, *tensors)
    spoilt = [7, 9]
    assert not after[:, spoilt].isfinite().any()
    others = [output for output in range(60) if output not in spoilt]
    assert torch.equal(after[:, others], before[:, others])


def test_auto_takes_the_walk_and_results_do_not_change_from_run_to_run(threads):
    torch.manual_seed(0)
    model, x = MetaKAN([300, 200, 100, 10]), torch.randn(90, 300)
    runs = [torch.autograd.grad(model(x).square().sum(), list(model.parameters())) for _ in range(2)]
    assert model.mode_used == "materialized+walk"
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))
    with native.disabled():
        others = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
        assert model.mode_used == "materialized+tiled"
    for ours, theirs in zip(runs[0], others, strict=True):
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


@pytest.mark.parametrize(("hidden_dim", "mode"), [(32, "walk"), (128, "tiled")])
def test_layers_of_few_outputs_walk_unless_tables_are_large(hidden_dim, mode):
    torch.manual_seed(0)
    model, x = MetaKAN([700, 10], hidden_dim=hidden_dim), torch.randn(70, 700, requires_grad=True)
    inputs = [x, *model.parameters()]
    ours = torch.autograd.grad(model(x).square().sum(), inputs)
    assert model.mode_used == mode
    layer = memory.Layer(700, 10, 70, splines=8, prompt_dim=1, hidden_dim=hidden_dim)
    assert memory.form(layer, "auto") == mode
    with native.disabled():
        theirs = torch.autograd.grad(model(x).square().sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()


def test_several_clusters_and_mixtures_walk_too():
    torch.manual_seed(0)
    x = torch.randn(40, 100, dtype=torch.float64)
    for clustering in ("kmeans_width", "learned"):
        model = MetaKAN([100, 150, 120], num_clusters=2, clustering=clustering).double()
        y = model(x)
        assert "walk" in model.mode_used
        with native.disabled():
            assert torch.allclose(y, model(x), rtol=1e-10, atol=1e-10)


def test_a_simulated_step_takes_the_memory_of_a_real_one():
    def peak(model, x):
        tracker = MemTracker()
        tracker.track_external(model, x)
        with tracker:
            model(x).square().sum().backward()
        return tracker.get_tracker_snapshot("peak")[x.device]["Total"]

    real = peak(MetaKAN([300, 200, 100]), torch.randn(90, 300))
    with FakeTensorMode():
        model = MetaKAN([300, 200, 100])
        simulated = peak(model, torch.randn(90, 300))
        assert "walk" in model.mode_used
    assert simulated == real


def test_only_what_the_walk_can_do_is_given_to_it():
    family = make_basis("bspline", 5, 3, (-1.0, 1.0))
    prompts, w1, b1, w2, b2 = layer(3, 60, 8, family.numbers, 0)
    source, x = Generated(prompts, (w1, b1), (w2, b2), "relu"), torch.zeros(2, 3, dtype=torch.float64)
    shape = FullyConnected()
    assert walkable(x, source, family, shape)
    assert not walkable(x.float(), source, family, shape)
    assert not walkable(x, Generated(prompts, (w1, b1), (w2, b2), "tanh"), family, shape)
    assert not walkable(x, source, make_basis("wavelet", 5, 3, (-1.0, 1.0)), shape)
    wide = Generated(prompts.expand(-1, -1, 2), (w1.expand(-1, 2), b1), (w2, b2), "relu")
    assert not walkable(x, wide, family, shape)
    with native.disabled():
        assert not walkable(x, source, family, shape)
