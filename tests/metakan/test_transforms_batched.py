"""Batches of gradients through every form: by autograd itself, by torch.func.vmap around it, and of batches."""

from __future__ import annotations

import pytest
import torch
from test_transforms import WIDE, every_form, made
from torch.func import functional_call, grad, jacrev, vmap

from metakan import MetaConvKAN, MetaKAN, native

WALKS = {
    "walk": (lambda: MetaKAN([5, 400, 3], hidden_dim=64), (5,)),
    "walks that share a learner": (lambda: MetaKAN([5, 120, 110, 2], hidden_dim=64), (5,)),
    "walk of a convolution": (lambda: MetaConvKAN((50, 3), in_channels=2, hidden_dim=128, dropout=0.0), (2, 9, 9)),
}


def check(model, x, members=3):
    """Compare batched gradients of input and parameters, and gradients of those, with one at a time."""
    x = x.clone().requires_grad_()
    wanted = [x, *model.parameters()]
    y = model(x)
    directions = torch.randn(members, *y.shape, dtype=y.dtype)
    options = {"retain_graph": True, "allow_unused": True}
    expected = [torch.autograd.grad(y, wanted, each, **options) for each in directions]
    found = torch.autograd.grad(y, wanted, directions, is_grads_batched=True, **options)
    vmapped = vmap(lambda v: torch.autograd.grad(y, wanted, v, **options)[0])(directions)
    for ours, theirs in zip(found, zip(*expected, strict=True), strict=True):
        assert (ours is None) == (theirs[0] is None)
        if ours is not None:
            assert torch.allclose(ours, torch.stack(theirs), rtol=1e-10, atol=1e-10)
    assert torch.allclose(vmapped, torch.stack([each[0] for each in expected]), rtol=1e-10, atol=1e-10)
    batched = torch.autograd.grad(y, x, directions, is_grads_batched=True, create_graph=True)[0]
    single = torch.stack([torch.autograd.grad(y, x, each, create_graph=True)[0] for each in directions])
    seconds = torch.randn(members, *single.shape, dtype=y.dtype)
    for ours, theirs in zip(
        torch.autograd.grad(batched, wanted, seconds, is_grads_batched=True, **options),
        zip(*(torch.autograd.grad(single, wanted, each, **options) for each in seconds), strict=True),
        strict=True,
    ):
        assert ours is None or torch.allclose(ours, torch.stack(theirs), rtol=1e-10, atol=1e-9)


@every_form
def test_batches_of_gradients_are_the_gradients_one_by_one(kind, basis):
    model, x, _ = made(kind, basis)
    check(torch.nn.Sequential(*model.layers) if x.dim() == 4 else model, x[:2])


@pytest.mark.parametrize("kind", WIDE)
def test_batches_of_gradients_of_wide_layers(kind):
    model, x, _ = made(kind)
    check(model, x[:2])


@pytest.fixture(params=WALKS)
def walking(request):
    """Return a network that walks, its input, and what evaluates it in the plain form."""
    if not (native.active() and native.walk.AVAILABLE):
        pytest.skip("the kernel of the walk is not compiled here")
    torch.manual_seed(0)
    make, shape = WALKS[request.param]
    model = make().double().eval()
    x = torch.randn(3, *shape, dtype=torch.float64)
    model(x)
    assert "walk" in model.mode_used
    return model, x


def in_plain_form(model, function):
    """Evaluate a function of the network with all of its layers in the plain form."""
    for layer in model.layers:
        layer.mode = "materialized"
    found = function()
    for layer in model.layers:
        layer.mode = "auto"
    return found


def test_batches_of_gradients_of_the_walk(walking):
    model, x = walking
    check(torch.nn.Sequential(*model.layers) if x.dim() == 4 else model, x)


def test_jacobians_of_the_walk_whichever_way_they_are_taken(walking):
    model, x = walking
    expected = in_plain_form(model, lambda: torch.autograd.functional.jacobian(model, x))
    ways = {
        "jacrev": lambda: jacrev(model)(x),
        "jacrev in chunks": lambda: jacrev(model, chunk_size=2)(x),
        "vectorised": lambda: torch.autograd.functional.jacobian(model, x, vectorize=True),
        "forward mode": lambda: torch.autograd.functional.jacobian(model, x, vectorize=True, strategy="forward-mode"),
    }
    for name, way in ways.items():
        assert torch.allclose(way(), expected, rtol=1e-10, atol=1e-10), name


def test_gradients_of_single_samples_of_the_walk(walking):
    model, x = walking
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def loss(parameters, point):
        return functional_call(model, parameters, (point.unsqueeze(0),)).sin().sum()

    found = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for index, point in enumerate(x):
        expected = torch.autograd.grad(
            model(point.unsqueeze(0)).sin().sum(), list(model.parameters()), allow_unused=True
        )
        for ours, theirs in zip(found.values(), expected, strict=True):
            theirs = torch.zeros_like(ours[index]) if theirs is None else theirs
            assert torch.allclose(ours[index], theirs, rtol=1e-10, atol=1e-10)


def test_networks_of_a_batch_of_parameters_walk_and_batch_their_gradients(walking):
    model, x = walking
    stacked = {
        name: torch.stack([value, value + 0.01]).detach().requires_grad_() for name, value in model.named_parameters()
    }
    y = vmap(lambda own: functional_call(model, own, (x,)), randomness="different")(stacked)
    directions = torch.randn(2, *y.shape, dtype=y.dtype)
    options = {"retain_graph": True, "allow_unused": True}
    found = torch.autograd.grad(y, list(stacked.values()), directions, is_grads_batched=True, **options)
    expected = [torch.autograd.grad(y, list(stacked.values()), each, **options) for each in directions]
    assert torch.allclose(y[0], model(x), rtol=1e-12, atol=1e-12)
    for ours, *theirs in zip(found, *expected, strict=True):
        assert ours is None or torch.allclose(ours, torch.stack(theirs), rtol=1e-10, atol=1e-10)


def test_a_hessian_of_batched_passes(walking):
    model, x = walking
    z = x[:1, :, :4, :4] if x.dim() == 4 else x[:1]
    network = torch.nn.Sequential(*model.layers) if x.dim() == 4 else model

    def function(points):
        return network(points).sin().sum()

    expected = in_plain_form(model, lambda: torch.autograd.functional.hessian(function, z))
    found = torch.autograd.functional.hessian(function, z, vectorize=True)
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-10)
