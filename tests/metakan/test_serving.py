"""Which tensors the kernels serve, and that all others give the same numbers by torch's operators."""

from __future__ import annotations

import io

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from metakan import MetaConvKAN, MetaKAN, native
from metakan.bases import make_basis
from metakan.engine import piecewise

kernels = pytest.mark.skipif(not native.active(), reason="the CPU kernels are not compiled here")

NETWORKS = {
    "materialized": lambda **options: MetaKAN([6, 5, 3], mode="materialized", **options),
    "tiled": lambda **options: MetaKAN([6, 5, 3], mode="tiled", **options),
    "factorised": lambda **options: MetaKAN([6, 5, 3], meta_activation="none", **options),
    "wavelets": lambda **options: MetaKAN([6, 5, 3], mode="tiled", basis="wavelet", **options),
    "wide": lambda **options: MetaKAN([6, 300, 100, 3], **options),
}


class Subclass(torch.Tensor):
    """A tensor about which code on addresses knows nothing."""


def negated(x: torch.Tensor) -> torch.Tensor:
    """Return a view with the numbers of ``x`` over memory with theirs of the other sign."""
    return torch.complex(torch.zeros_like(x), -x).conj().imag


@kernels
def test_plain_tensors_with_memory_on_the_cpu_are_served():
    x = torch.zeros(2, 3)
    assert native.serves(x, torch.nn.Parameter(x), x.double(), x[:0], x.t(), x.requires_grad_())
    assert not native.serves(x, x.bfloat16())
    assert not native.serves(x.detach().to("meta"))
    assert not native.serves(x.detach().to_sparse())
    assert not native.serves(x.detach().as_subclass(Subclass))
    with native.disabled():
        assert not native.serves(x)
    assert native.serves(x)


@kernels
def test_nothing_is_served_while_operators_are_recorded():
    x, seen = torch.zeros(2, 3), []

    def look(value):
        seen.append(native.serves(value))
        return value * 2

    torch.jit.trace(look, x, check_trace=False)
    for kind in ("real", "fake", "symbolic"):
        make_fx(look, tracing_mode=kind)(x)
    vmap(lambda value: look(value).sum())(x)
    grad(lambda value: look(value).sum())(x)
    torch.func.jvp(look, (x,), (x,))
    torch.func.functionalize(look)(x)
    with FakeTensorMode() as mode:
        look(mode.from_tensor(x))
    torch.export.export(Looking(look), (x,))
    assert len(seen) >= 9
    assert not any(seen)


class Looking(torch.nn.Module):
    def __init__(self, look):
        super().__init__()
        self.look = look

    def forward(self, x):
        return self.look(x)


@pytest.mark.parametrize("name", NETWORKS)
def test_views_that_put_off_a_sign_give_the_numbers_they_show(name):
    torch.manual_seed(0)
    model, x = NETWORKS[name]().double(), torch.randn(7, 6, dtype=torch.float64)
    view = negated(x)
    assert view.is_neg()
    assert torch.equal(view, x)
    results = []
    for points in (x, view):
        points = points.detach().requires_grad_()
        y = model(points)
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        weights = negated(weights) if points.is_neg() else weights
        results.append([y, *torch.autograd.grad(y, [points, *model.parameters()], weights)])
    for ours, theirs in zip(*reversed(results), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 6), (3, 5, 6, 2)])
def test_kernels_read_negated_and_strided_arguments(shape):
    basis = make_basis("bspline", 5, 3, (-1.0, 1.0))
    x = torch.randn(shape, dtype=torch.float64)
    gradient = torch.randn(basis.features(x, 2).shape, dtype=torch.float64)
    expected = basis.at(x, 2).features(), basis.at(x, 2).pull(gradient.clone())
    for points in (negated(x), x.transpose(0, 1).contiguous().transpose(0, 1), x.flip(0).flip(0)):
        for pulled in (negated(gradient), gradient.clone().transpose(1, 2).contiguous().transpose(1, 2)):
            point = basis.at(points, 2)
            assert torch.equal(point.features(), expected[0])
            assert torch.equal(point.pull(pulled), expected[1])

    coefficients = torch.randn(2, basis.numbers, dtype=torch.float64)
    found = [reduced(basis, *way, x) for way in ((coefficients, False), (negated(coefficients), True))]
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)


def reduced(basis, coefficients, negate, x):
    functions = piecewise.make_functions(basis, coefficients, x)
    if not isinstance(functions, piecewise.KernelPieces):
        pytest.skip("no kernels here")
    values, totals = functions.reduced(negated(x) if negate else x)
    gradients = values.sin(), totals.cos()
    if negate:
        gradients = tuple(negated(each) for each in gradients)
    pulled = functions.pull_reduced(x, *gradients, True)
    return values, totals, pulled, functions.gradients()


@pytest.mark.parametrize("name", NETWORKS)
def test_traces_hold_for_other_batches(name):
    torch.manual_seed(0)
    model, x, other = NETWORKS[name](), torch.randn(4, 6), torch.randn(9, 6)
    expected = model(other)
    traced = torch.jit.trace(model, x, check_trace=False)
    graph = make_fx(model, tracing_mode="symbolic", _allow_non_fake_inputs=True)(x)
    exported = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=2)},)).module()
    for recorded in (traced, graph, exported):
        assert torch.allclose(recorded(other), expected, rtol=1e-4, atol=1e-4)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    loaded = torch.jit.load(file)
    results = []
    for each in (model, loaded):
        points = other.clone().requires_grad_()
        y = each(points)
        results.append([y, *torch.autograd.grad(y.square().sum(), [points, *each.parameters()])])
    for theirs, ours in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_each_sample_are_those_of_a_loop(name):
    torch.manual_seed(0)
    model, x = NETWORKS[name]().double(), torch.randn(3, 6, dtype=torch.float64)
    parameters = {key: value.detach() for key, value in model.named_parameters()}

    def loss(parameters, point):
        return functional_call(model, parameters, (point.unsqueeze(0),)).sin().sum()

    found = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for index, point in enumerate(x):
        expected = torch.autograd.grad(model(point.unsqueeze(0)).sin().sum(), list(model.parameters()))
        for ours, theirs in zip(found.values(), expected, strict=True):
            assert torch.allclose(ours[index], theirs, rtol=1e-9, atol=1e-10)


def test_meta_and_fake_tensors_have_the_shapes_of_real_ones():
    for make in (lambda: MetaKAN([6, 300, 100, 3]), lambda: MetaKAN([6, 300, 3], meta_activation="none")):
        assert make().to("meta")(torch.zeros(5, 6, device="meta")).shape == (5, 3)
        with FakeTensorMode() as mode:
            model, x = make(), mode.from_tensor(torch.zeros(5, 6))
            y = model(x)
            y.sum().backward()
        assert y.shape == (5, 3)
    with FakeTensorMode():
        y = MetaConvKAN((8, 16), mode="tiled").eval()(torch.zeros(2, 3, 8, 8))
        y.sum().backward()
    assert y.shape == (2, 10)


@pytest.mark.parametrize("name", NETWORKS)
def test_stacked_networks_train_as_each_alone(name):
    torch.manual_seed(0)
    models = [NETWORKS[name]().double() for _ in range(3)]
    x = torch.randn(3, 7, 6, dtype=torch.float64)
    names = [key for key, _ in models[0].named_parameters()]
    stacked = {
        key: torch.stack([dict(model.named_parameters())[key].detach() for model in models]).requires_grad_()
        for key in names
    }
    losses = vmap(lambda parameters, points: functional_call(models[0], parameters, (points,)).sin().sum())(stacked, x)
    found = torch.autograd.grad(losses.sum(), list(stacked.values()))
    used = models[0].mode_used
    for index, model in enumerate(models):
        expected = torch.autograd.grad(model(x[index]).sin().sum(), list(model.parameters()))
        assert model.mode_used == used  # the form does not change because others are trained beside it
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.allclose(ours[index], theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_jacobians_in_both_modes_are_those_of_autograd(name):
    torch.manual_seed(0)
    model, x = NETWORKS[name]().double(), torch.randn(2, 6, dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(model, x)
    for mode in (torch.func.jacrev, torch.func.jacfwd):
        assert torch.allclose(mode(model)(x), expected, rtol=1e-9, atol=1e-11)


def test_only_the_gradients_that_are_asked_for_are_computed(monkeypatch):
    from metakan.engine import higher

    model, x = MetaKAN([6, 5, 3], mode="tiled"), torch.randn(4, 6, requires_grad=True)
    seen, wanted = [], higher.wanted
    monkeypatch.setattr(higher, "wanted", lambda ctx: seen.append(wanted(ctx)) or seen[-1])
    torch.autograd.grad(model(x).sum(), x)
    assert seen == [(True, *[False] * 5)] * 2
    torch.autograd.grad(model(x.detach()).sum(), model.layers[1].prompts)
    assert seen[2:] == [(False, True, *[False] * 4)]
    model(x).sum().backward()
    assert seen[3:] == [(True,) * 6] * 2
