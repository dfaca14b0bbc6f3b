"""The walk of a convolution against the plain definition, in values and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from metakan import MetaConvKAN, MetaKANConv2d, native
from metakan.bases import make_basis
from metakan.engine.forms import Setting
from metakan.engine.lattice import Lattice
from metakan.engine.materialized import materialized
from metakan.engine.shape import Convolution
from metakan.engine.sources import Generated
from metakan.engine.walk import Walk, walkable

pytestmark = pytest.mark.skipif(
    not (native.active() and native.walk.AVAILABLE), reason="the kernel of the walk is not compiled here"
)


def source(edges, outputs, hidden, numbers, seed, dtype=torch.float64):
    """Return prompts, some of which lie on kinks, and a meta-learner with kinks that coincide."""
    generator = torch.Generator().manual_seed(seed)
    w1, b1, w2, b2, prompts = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((hidden, 1), (hidden,), (numbers, hidden), (numbers,), (outputs, edges, 1))
    )
    w1 = (16 * w1).round() / 16
    b1 = (2 * b1).round() / 2 * w1[:, 0]
    prompts.flatten()[::3] = (2 * prompts.flatten()[::3]).round() / 2
    return [tensor.to(dtype).requires_grad_() for tensor in (prompts, w1, b1, w2, b2)]


def both(x, tensors, basis, shape, view=lambda y: y):
    """Return values and gradients by the walk and by the plain definition; the output's gradient is a ``view``."""
    made = Generated(tensors[0], tuple(tensors[1:3]), tuple(tensors[3:]), "relu")
    setting = Setting(made, basis, shape, x.dtype)
    results = []
    for form in (Walk(setting), lambda x, *_: materialized(x, made.numbers(), basis, shape)):
        y = form(x, *tensors)
        weights = view(torch.linspace(-1, 1, max(y.numel(), 1), dtype=y.dtype)[: y.numel()].view_as(y))
        results.append([y, *torch.autograd.grad(y, [x, *tensors], weights, allow_unused=True)])
    return zip(*results, strict=True)


def points(*size, dtype=torch.float64, seed=0):
    return 1.5 * torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@settings(max_examples=80, deadline=None)
@given(
    batch=st.integers(0, 5),
    channels=st.integers(1, 6),
    outputs=st.integers(1, 40),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    hidden=st.integers(1, 20),
    basis=st.sampled_from(["bspline", "legendre", "rbf"]),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_are_those_of_the_definition(
    batch, channels, outputs, size, kernel, stride, padding, hidden, basis, seed
):
    padding = tuple(min(pad, length - 1) for pad, length in zip(padding, kernel, strict=True))
    if any(length + 2 * pad < taps for length, pad, taps in zip(size, padding, kernel, strict=True)):
        return
    shape = Convolution(kernel, stride, padding)
    family = make_basis(basis, 5, 3, (-1.0, 1.0))
    tensors = source(channels * shape.taps, outputs, hidden, family.numbers, seed)
    x = points(batch, channels, *size, seed=seed).requires_grad_()
    for ours, theirs in both(x, tensors, family, shape):
        scale = max(1.0, float(theirs.detach().abs().max()) if theirs.numel() else 0)
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-10 * scale)


@pytest.mark.parametrize("padding", [(3, 0), (2, 5)])
def test_padding_beyond_the_kernel(padding):
    family, shape = make_basis("bspline", 5, 3, (-1.0, 1.0)), Convolution((3, 2), (2, 1), padding)
    tensors = source(2 * shape.taps, 9, 8, family.numbers, 1)
    for ours, theirs in both(points(3, 2, 5, 4).requires_grad_(), tensors, family, shape):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_float32_is_as_close_to_the_truth_as_the_definition(threads, stride, monkeypatch):
    monkeypatch.setattr("metakan.engine.walk.WORK_A_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    family, shape = make_basis("bspline", 5, 3, (-1.0, 1.0)), Convolution((3, 3), (stride, stride), (1, 1))
    x = points(4, 7, 13, 16, dtype=torch.float32)
    tensors = source(7 * 9, 50, 32, family.numbers, 1, torch.float32)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    single = list(both(x.clone().requires_grad_(), tensors, family, shape))
    truth = [pair[1] for pair in both(x.double().requires_grad_(), exact, family, shape)]
    torch.set_num_threads(before)
    for (ours, theirs), true in zip(single, truth, strict=True):
        error, rounding = (float((found - true).norm() / true.norm()) for found in (ours, theirs))
        assert error <= max(1e-5, 2 * rounding)


@pytest.mark.parametrize("kind", ["channels_last", "steps", "expanded", "negated"])
def test_inputs_and_gradients_of_any_layout(kind):
    views = {
        "channels_last": lambda t: t.contiguous(memory_format=torch.channels_last),
        "steps": lambda t: torch.stack([t, t + 1], dim=-1)[..., 0],
        "expanded": lambda t: t[:, :, :, :1].expand_as(t),
        "negated": lambda t: torch.complex(torch.zeros_like(t), -t).conj().imag,
    }
    family, shape = make_basis("bspline", 5, 3, (-1.0, 1.0)), Convolution((3, 3), (1, 1), (1, 1))
    tensors = source(27, 20, 16, family.numbers, 3)
    x = views[kind](points(3, 3, 6, 7)).detach().requires_grad_()
    for ours, theirs in both(x, tensors, family, shape, views[kind]):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-9)


def test_lines_and_images_share_their_padding():
    lattice = Lattice.of(Convolution((3, 3), (1, 1), (1, 1)), torch.zeros(8, 3, 4, 4))
    assert lattice.image == 25
    assert lattice.halo == 12
    assert lattice.read == max(8 * 25, 7 * 25 + 3 * 5 + 4 + 12)


def test_auto_takes_the_walk_and_agrees_with_the_other_forms():
    torch.manual_seed(0)
    model = MetaConvKAN((16, 32, 32), strides=(1, 2, 1), dropout=0, head_dropout=0).double()
    x = torch.randn(6, 3, 32, 32, dtype=torch.float64)
    found = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    assert all(layer.mode_used == "walk" for layer in model.modules() if isinstance(layer, MetaKANConv2d))
    with native.disabled():
        others = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    for ours, theirs in zip(found, others, strict=True):
        assert (ours - theirs).abs().max() <= 1e-8 * theirs.abs().max()


def test_a_simulated_step_takes_the_memory_of_a_real_one():
    def peak(layer, x):
        tracker = MemTracker()
        tracker.track_external(layer, x)
        with tracker:
            layer(x).square().sum().backward()
        return tracker.get_tracker_snapshot("peak")[x.device]["Total"]

    real = peak(MetaKANConv2d(16, 32, stride=2), torch.randn(8, 16, 16, 16, requires_grad=True))
    with FakeTensorMode():
        layer = MetaKANConv2d(16, 32, stride=2)
        simulated = peak(layer, torch.randn(8, 16, 16, 16, requires_grad=True))
        assert layer.mode_used == "walk"
    assert simulated == real


def test_kernels_of_the_released_layout_do_not_walk():
    family = make_basis("bspline", 5, 3, (-1.0, 1.0))
    prompts, w1, b1, w2, b2 = source(18, 60, 8, family.numbers, 0)
    made, x = Generated(prompts, (w1, b1), (w2, b2), "relu"), torch.zeros(2, 2, 4, 4, dtype=torch.float64)
    assert walkable(x, made, family, Convolution((3, 3), (1, 1), (1, 1)))
    assert not walkable(x, made, family, Convolution((3, 3), (1, 1), (1, 1), "released"))
