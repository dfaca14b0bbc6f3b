"""The walk against the plain definition where curves, prompts and memory are awkward, in first and second order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_higher_derivatives import assert_agree
from test_walk import layer, weights_like

from metakan import native
from metakan.bases import make_basis
from metakan.engine.forms import Setting
from metakan.engine.materialized import materialized
from metakan.engine.shape import Convolution, FullyConnected
from metakan.engine.sources import Generated
from metakan.engine.walk import Walk

pytestmark = pytest.mark.skipif(
    not (native.active() and native.walk.AVAILABLE), reason="the kernel of the walk is not compiled here"
)

VIEWS = {
    "contiguous": lambda t: t,
    "reversed": lambda t: t.permute(*range(t.dim())[::-1]).contiguous().permute(*range(t.dim())[::-1]),
    "steps": lambda t: torch.stack([t, t + 1], dim=-1)[..., 0],
    "negated": lambda t: torch._neg_view(-t),
    "imaginary": lambda t: torch.complex(torch.zeros_like(t), -t).conj().imag,
    "inside": lambda t: torch.nn.functional.pad(t, (1,) * (2 * t.dim()))[(slice(1, -1),) * t.dim()],
}
"""Views of the same numbers that lie in memory in other ways, or whose numbers torch has put off."""


def apart(prompts, w1, b1):
    """Leave kinks and prompts where they are: some coincide, some prompts lie on kinks."""


def one_kink(prompts, w1, b1):
    """Let all kinks coincide, and half of the prompts lie on them."""
    b1.copy_(-0.5 * w1[:, 0])
    prompts.flatten()[::2] = 0.5


def each_on_a_kink(prompts, w1, b1):
    """Let every prompt lie on a kink, each on the next."""
    kinks = (-b1 / w1[:, 0]).nan_to_num(0.0, 0.0, 0.0)
    flat = prompts.view(-1)
    flat.copy_(kinks[torch.arange(flat.numel()) % len(kinks)])


def one_segment(prompts, w1, b1):
    """Let all segments but one be empty."""
    prompts.mul_(1e-4).add_(0.3)


def far(prompts, w1, b1):
    """Let all prompts lie outside of the kinks, on either side."""
    prompts.add_(50 * prompts.sign())


def flat_units(prompts, w1, b1):
    """Let no unit have a kink."""
    w1.zero_()


CURVES = (apart, one_kink, each_on_a_kink, one_segment, far, flat_units)


def made(curve, inputs, outputs, hidden, numbers, seed, view):
    """Return prompts and meta-learner in awkward places, as leaves and as the views that the form is given."""
    plain = [tensor.detach() for tensor in layer(inputs, outputs, hidden, numbers, seed)]
    curve(*plain[:3])
    return [VIEWS[view](tensor).detach().requires_grad_() for tensor in plain]


def derived(form, x, tensors, weights, second, scale=1.0):
    """Return values and gradients; or also first and second derivatives of ``x`` and the gradients of their squares.

    Values are about as large as ``scale``: a sine of larger ones would magnify rounding.
    """
    y, wanted = form(x, *tensors), [x, *tensors]
    options = {"allow_unused": True, "materialize_grads": True}
    if not second:
        return [y, *torch.autograd.grad(y, wanted, weights, **options)]
    (slope,) = torch.autograd.grad((y / scale).sin(), x, weights, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.square().sum(), x, create_graph=True)
    loss = slope.square().sum() + curvature.square().sum()
    return [y, slope, curvature, *torch.autograd.grad(loss, wanted, **options)]


def forms(tensors, basis, shape, dtype):
    source = Generated(tensors[0], tuple(tensors[1:3]), tuple(tensors[3:]), "relu")

    def plain(x, *own):
        return materialized(x, source.rebuild(*own).numbers(), basis, shape)

    return Walk(Setting(source, basis, shape, dtype)), plain


drawn = {
    "curve": st.sampled_from(CURVES),
    "view": st.sampled_from(sorted(VIEWS)),
    "given_view": st.sampled_from(sorted(VIEWS)),
    "hidden": st.sampled_from([1, 5, 32]),
    "outputs": st.integers(1, 60),
    "basis": st.sampled_from(["bspline", "rbf", "legendre"]),
    "second": st.booleans(),
    "seed": st.integers(0, 99),
}


@settings(max_examples=40, deadline=None)
@given(batch=st.integers(0, 70), inputs=st.integers(1, 20), **drawn)
def test_fully_connected_layers(batch, inputs, curve, view, given_view, hidden, outputs, basis, second, seed):
    family = make_basis(basis, 5, 3, (-1.0, 1.0))
    tensors = made(curve, inputs, outputs, hidden, family.numbers, seed, view)
    x = 1.5 * torch.randn(batch, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = VIEWS[given_view](x).detach().requires_grad_()
    weights, scale = VIEWS[view](weights_like(batch, outputs)), hidden * (50.0 if curve is far else 1.0)
    both = forms(tensors, family, FullyConnected(), x.dtype)
    assert_agree(*(derived(form, x, tensors, weights, second, scale) for form in both), 1e-10)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(0, 4),
    channels=st.integers(1, 4),
    size=st.tuples(st.integers(3, 7), st.integers(3, 7)),
    stride=st.integers(1, 2),
    **drawn,
)
def test_convolutions(batch, channels, size, stride, curve, view, given_view, hidden, outputs, basis, second, seed):
    family, shape = make_basis(basis, 5, 3, (-1.0, 1.0)), Convolution((3, 2), (stride, stride), (1, 0))
    tensors = made(curve, channels * shape.taps, outputs, hidden, family.numbers, seed, view)
    generator = torch.Generator().manual_seed(seed)
    x = 1.5 * torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64)
    x = VIEWS[given_view](x).detach().requires_grad_()
    y = shape.new_output(x, outputs)
    scale = hidden * (50.0 if curve is far else 1.0)
    weights = VIEWS[view](torch.linspace(-1, 1, max(y.numel(), 1), dtype=x.dtype)[: y.numel()].view_as(y))
    pair = [derived(form, x, tensors, weights, second, scale) for form in forms(tensors, family, shape, x.dtype)]
    assert_agree(*pair, 1e-10)


@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("view", ["reversed", "negated"])
@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.__name__)
def test_single_precision_is_as_close_to_the_truth_as_the_definition(curve, view, second):
    family, shape = make_basis("bspline", 5, 3, (-1.0, 1.0)), FullyConnected()
    exact = made(curve, 12, 60, 32, family.numbers, 1, "contiguous")
    exact = [tensor.detach().float().double().requires_grad_() for tensor in exact]
    points = 1.5 * torch.randn(70, 12, generator=torch.Generator().manual_seed(0))
    weights, scale = weights_like(70, 60, torch.float32), 32 * (50.0 if curve is far else 1.0)
    single = [VIEWS[view](tensor.detach().float()).detach().requires_grad_() for tensor in exact]
    x = VIEWS[view](points).detach().requires_grad_()
    ours, theirs = (derived(form, x, single, weights, second, scale) for form in forms(single, family, shape, x.dtype))
    x = points.double().requires_grad_()
    truth = derived(forms(exact, family, shape, x.dtype)[1], x, exact, weights.double(), second, scale)
    for found, plain, true in zip(ours, theirs, truth, strict=True):
        size = float(true.detach().norm()) or 1.0
        error, rounding = (float((each - true).norm()) / size for each in (found, plain))
        assert error <= max(1e-5, 2 * rounding)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("outputs", "hidden", "grid_size"), [(1, 1, 1), (61, 8, 5), (300, 40, 20)])
def test_the_kernel_writes_to_no_memory_but_its_own(outputs, hidden, grid_size, dtype, monkeypatch):
    """Beside tensors of its caller there is one block: what lies around it stays as it was, and the block is used."""
    blocks, allocate = [], torch.empty

    def guarded(*size, dtype=None, **options):
        if dtype != torch.uint8:
            return allocate(*size, dtype=dtype, **options)
        whole = torch.full((size[0] + 2 * 4096,), 173, dtype=dtype)
        blocks.append(whole)
        return whole[4096:-4096]

    family = make_basis("bspline", grid_size, 3, (-1.0, 1.0))
    tensors = [tensor.detach().to(dtype).requires_grad_() for tensor in layer(9, outputs, hidden, family.numbers, 0)]
    x = torch.randn(130, 9, dtype=dtype, requires_grad=True)
    form, plain = forms(tensors, family, FullyConnected(), dtype)
    monkeypatch.setattr("metakan.native.walk.torch.empty", guarded)
    y = form(x, *tensors)
    found = torch.autograd.grad(y.sum(), [x, *tensors])
    monkeypatch.undo()
    expected = torch.autograd.grad(plain(x, *tensors).sum(), [x, *tensors])
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    assert_agree(found, expected, tolerance)
    assert len(blocks) == 2
    for whole in blocks:
        assert bool((whole[:4096] == 173).all())
        assert bool((whole[-4096:] == 173).all())
        used = (whole[4096:-4096] != 173).nonzero()
        assert int(used.max()) >= 0.9 * (len(whole) - 2 * 4096) - 256


def test_the_kernel_has_no_allocator_of_its_own():
    """Only what torch allocates is in a simulated peak."""
    sources = sorted(Path(native.__file__).parent.glob("walk*.h"))
    assert len(sources) >= 4
    for source in sources:
        assert "alloc(" not in source.read_text(), source.name
