"""Transforms of transforms of torch.func: derivatives of derivatives against a definition in torch's own operators."""

from __future__ import annotations

import math

import pytest
import torch
from test_transforms import KINDS, WIDE, every_form, label, made
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from metakan import KAN

FORMS = sorted(KINDS)


class PlainSiLU:
    """SiLU as its definition, in place of the function with a hand-written derivative."""

    @staticmethod
    def apply(x, derivative):
        assert derivative == 0
        return x * torch.sigmoid(x)


class PlainSplines:
    """Splines as sums of truncated powers (de Boor), in place of the function with a hand-written derivative."""

    @staticmethod
    def apply(x, centres, spacing, order, derivative):
        assert derivative == 0
        u = (x.unsqueeze(0) - centres.view(-1, *[1] * x.dim())) / spacing + (order + 1) / 2
        terms = [(-1) ** j * math.comb(order + 1, j) * torch.relu(u - j) ** order for j in range(order + 2)]
        return sum(terms) / math.factorial(order)


@pytest.fixture
def by_definition(monkeypatch):
    """Return what evaluates a function of a network with every form and derivative replaced by the definition."""

    def evaluate(model, function):
        modes = [layer.mode for layer in model.layers]
        with monkeypatch.context() as patch:
            patch.setattr("metakan.bases.silu._SiLU", PlainSiLU)
            patch.setattr("metakan.bases.bspline._SplinePlanes", PlainSplines)
            for layer in model.layers:
                layer.mode = "materialized"
            found = function()
        for layer, mode in zip(model.layers, modes, strict=True):
            layer.mode = mode
        return found

    return evaluate


def scalar(model):
    """Return a scalar function of one sample; of a convolutional network, that of its layers.

    Between them lies torch's PReLU, whose second derivatives torch itself cannot batch.
    """
    network = torch.nn.Sequential(*model.layers) if hasattr(model, "activations") else model
    return lambda z: network(z.unsqueeze(0)).sin().sum()


def pushed_twice(function, z):
    """Return the Hessian by forward mode of forward mode, one pair of directions after the other."""
    units = torch.eye(z.numel(), dtype=z.dtype).view(-1, *z.shape)

    def slope(point, unit):
        return jvp(function, (point,), (unit,))[1]

    rows = [torch.stack([jvp(lambda p, u=u: slope(p, u), (z,), (v,))[1] for v in units]) for u in units]
    return torch.stack(rows).view(*z.shape, *z.shape)


def pushed_pull(function, z):
    """Return the Hessian by forward mode of a pull."""
    units = torch.eye(z.numel(), dtype=z.dtype).view(-1, *z.shape)

    def gradient(point):
        y, pull = vjp(function, point)
        return pull(torch.ones_like(y))[0]

    return torch.stack([jvp(gradient, (z,), (u,))[1] for u in units]).view(*z.shape, *z.shape)


def each_of_two(transform):
    return lambda function: lambda z: vmap(transform(function))(torch.stack([z + 0.1, z]))[1]


SECOND = {
    "jacfwd of jacfwd": lambda f: jacfwd(jacfwd(f)),
    "jacrev of jacfwd": lambda f: jacrev(jacfwd(f)),
    "jacfwd of jacrev": lambda f: jacfwd(jacrev(f)),
    "jacrev of jacrev": lambda f: jacrev(jacrev(f)),
    "hessian": hessian,
    "jvp of jvp": lambda f: lambda z: pushed_twice(f, z),
    "jvp of vjp": lambda f: lambda z: pushed_pull(f, z),
}


def small(model, x):
    """Return a sample, of a convolution a small one, so that its Hessian is."""
    return x[0, :, :3, :3] if x.dim() == 4 else x[0]


@every_form
def test_second_derivatives_whichever_way_they_are_nested(kind, basis, by_definition):
    model, x, _ = made(kind, basis)
    z, function = small(model, x), scalar(model)
    expected = by_definition(model, lambda: torch.autograd.functional.hessian(function, z))
    assert expected.abs().max() > 1e-4
    for name, transform in SECOND.items():
        if x.dim() == 4 and name.startswith("jvp"):
            continue  # the same functions as of the Jacobians, one direction at a time
        assert torch.allclose(transform(function)(z), expected, rtol=1e-10, atol=1e-10), name
        if "jvp" not in name:
            assert torch.allclose(each_of_two(transform)(function)(z), expected, rtol=1e-10, atol=1e-10), name


@pytest.mark.parametrize("kind", WIDE)
def test_second_derivatives_of_wide_layers(kind, by_definition):
    model, x, _ = made(kind)
    z, function = x[0], scalar(model)
    expected = by_definition(model, lambda: torch.autograd.functional.hessian(function, z))
    for name, transform in SECOND.items():
        assert torch.allclose(transform(function)(z), expected, rtol=1e-10, atol=1e-10), name
    assert torch.allclose(each_of_two(hessian)(function)(z), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("order", "basis"), [(1, "bspline"), (3, "bspline"), (5, "bspline"), (3, "rbf")])
def test_third_derivatives_whichever_way_they_are_nested(order, basis, by_definition):
    torch.manual_seed(0)
    model = KAN([2, 3, 2], basis=basis, spline_order=order).double()
    z, function = torch.randn(2, dtype=torch.float64), scalar(model)

    def by_autograd():
        point = z.clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(point), point, create_graph=True)
        second = torch.stack([torch.autograd.grad(s, point, create_graph=True)[0] for s in slope])
        rows = [torch.autograd.grad(s, point, retain_graph=True)[0] for s in second.flatten()]
        return torch.stack(rows).view(2, 2, 2)

    expected = by_definition(model, by_autograd)
    for first in (jacfwd, jacrev):
        for second in (jacfwd, jacrev):
            for third in (jacfwd, jacrev):
                assert torch.allclose(first(second(third(function)))(z), expected, rtol=1e-10, atol=1e-10)


@every_form
def test_parameters_and_inputs_are_pushed_twice_along_a_line(kind, basis, by_definition):
    """The second derivative along a line through parameters and batch: forward twice, and forward of reverse."""
    model, x, _ = made(kind, basis)
    values = {name: value.detach() for name, value in model.named_parameters()}
    along = {name: torch.randn_like(value) for name, value in values.items()}
    direction = torch.randn_like(x)

    def value(step):
        moved = {name: own + step * along[name] for name, own in values.items()}
        return functional_call(model, moved, (x + step * direction,)).sin().sum()

    def by_autograd():
        step = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(value(step), step, create_graph=True)
        return torch.autograd.grad(slope, step)[0]

    expected = by_definition(model, by_autograd)
    start = torch.zeros((), dtype=torch.float64)
    for transform in (lambda f: jacfwd(jacfwd(f)), lambda f: jacfwd(grad(f)), lambda f: grad(jacfwd(f))):
        assert torch.allclose(transform(value)(start), expected, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("kind", ["dense", "generated, tiled", "generated, wide", "affine, wide"])
def test_gradients_of_tangents_and_tangents_of_gradients_outside_of_transforms(kind, by_definition):
    model, x, _ = made(kind, None if kind in WIDE else "bspline")
    direction, function = torch.randn_like(x), lambda points: model(points).sin().sum()
    expected = by_definition(model, lambda: torch.autograd.functional.hvp(function, x, direction)[1])
    point = x.clone().requires_grad_()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(point, direction)
        tangent = forward_ad.unpack_dual(function(dual)).tangent
        assert torch.allclose(torch.autograd.grad(tangent, point)[0], expected, rtol=1e-10, atol=1e-10)
        (slope,) = torch.autograd.grad(function(dual), dual, create_graph=True)
        assert torch.allclose(forward_ad.unpack_dual(slope).tangent, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", FORMS, ids=label)
def test_hessians_of_autograd_by_forward_mode(kind):
    model, x, _ = made(kind, "bspline")
    z, function = small(model, x), scalar(model)
    expected = torch.autograd.functional.hessian(function, z)
    options = {"outer_jacobian_strategy": "forward-mode", "vectorize": True}
    assert torch.allclose(torch.autograd.functional.hessian(function, z, **options), expected, rtol=1e-10, atol=1e-10)
