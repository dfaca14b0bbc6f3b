"""Layers of every form in whole graphs of torch.compile and torch.export, narrow and wide alike."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, grad, hessian, jacfwd, vmap

from metakan import KAN, MetaConvKAN, MetaKAN, native

NETWORKS = {
    "narrow": (lambda: MetaKAN([3, 4, 2]), (3,), "materialized"),
    "walk": (lambda: MetaKAN([3, 400, 2], hidden_dim=56), (3,), "materialized+walk"),
    "narrow, tiled": (lambda: MetaKAN([3, 4, 2], mode="tiled"), (3,), "tiled"),
    "dense, tiled": (lambda: KAN([3, 4, 2], mode="tiled", basis="rbf"), (3,), "tiled"),
    "wavelets, wide": (lambda: MetaKAN([3, 400, 2], basis="wavelet", hidden_dim=64), (3,), "materialized+tiled"),
    "network of another activation": (lambda: MetaKAN([3, 4, 2], meta_activation="tanh", mode="tiled"), (3,), "tiled"),
    "amplitudes": (lambda: MetaKAN([3, 4, 2], amplitude=True, mode="tiled"), (3,), "tiled"),
    "affine": (lambda: MetaKAN([3, 40, 2], meta_activation="none"), (3,), "factorised"),
    "wavelet": (lambda: MetaKAN([3, 4, 2], basis="wavelet", mode="tiled"), (3,), "tiled"),
    "convolution": (lambda: MetaConvKAN((50, 3), in_channels=2, hidden_dim=128, dropout=0.0), (2, 9, 9), None),
}


@pytest.fixture
def network(request):
    """Return a network in double precision, batches of two sizes and the form that evaluates it outside of graphs."""
    torch.compiler.reset()  # beyond a number of networks torch stops to compile, without a word
    torch.manual_seed(0)
    make, shape, form = NETWORKS[request.param]
    if form == "materialized+walk" and not (native.active() and native.walk.AVAILABLE):
        pytest.skip("the kernel of the walk is not compiled here")
    model = make().double().eval()
    return model, *(torch.randn(rows, *shape, dtype=torch.float64) for rows in (4, 7)), form


every_network = pytest.mark.parametrize("network", NETWORKS, indirect=True)
narrow_and_wide = pytest.mark.parametrize("network", ["narrow", "walk", "affine"], indirect=True)


def passed(function, model, x):
    """Return values and gradients of input and parameters."""
    x = x.clone().requires_grad_()
    y = function(x)
    wanted = [x, *model.parameters()]
    return [y, *torch.autograd.grad(y.sin().sum(), wanted, allow_unused=True)]


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def recorder(graphs):
    """Return a backend that keeps the graphs of both passes and runs them as they are."""
    from torch._dynamo.backends.common import aot_autograd

    def keep(graph, inputs):
        graphs.append(graph)
        return graph.forward

    return aot_autograd(fw_compiler=keep, bw_compiler=keep)


@every_network
def test_networks_are_compiled_whole_and_hold_for_other_batches(network):
    model, x, other, form = network
    graphs = []
    compiled = torch.compile(model, backend=recorder(graphs), fullgraph=True)
    for points in (x, other):
        assert_same(passed(compiled, model, points), passed(model, model, points))
    if form is not None:
        assert model.mode_used == form
    operators = {str(node.target) for graph in graphs for node in graph.graph.nodes}
    assert ("metakan.evaluate.default" in operators) == (form != "materialized")
    assert ("metakan.pull.default" in operators) == (form != "materialized")


@narrow_and_wide
def test_compiled_networks_take_any_view_and_autocast(network):
    model, x, _, _ = network
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    negated = torch.complex(torch.zeros_like(x), -x).conj().imag
    columns = x.transpose(0, 1).contiguous().transpose(0, 1)
    for points in (negated, columns):
        torch.testing.assert_close(compiled(points), model(points), rtol=1e-10, atol=1e-10)
    model.float()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        found, expected = compiled(x.float()), model(x.float())
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=5e-2, atol=5e-2)


@narrow_and_wide
def test_compiled_transforms_take_the_plain_form(network):
    model, x, _, _ = network
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def loss(parameters, point):
        return functional_call(model, parameters, (point.unsqueeze(0),)).sin().sum()

    each = vmap(grad(loss), in_dims=(None, 0))
    found = torch.compile(each, backend="aot_eager", fullgraph=True)(parameters, x)
    for ours, theirs in zip(found.values(), each(parameters, x).values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    for transform in (jacfwd, hessian):
        own = transform(lambda z: loss(parameters, z))
        found = torch.compile(own, backend="aot_eager", fullgraph=True)(x[0])
        torch.testing.assert_close(found, own(x[0]), rtol=1e-10, atol=1e-10)


@narrow_and_wide
@pytest.mark.parametrize("strict", [False, True])
def test_exports_hold_operators_of_torch_only_and_hold_for_other_batches(network, strict):
    model, x, other, _ = network
    sizes = ({0: torch.export.Dim("batch", min=2)},)
    exported = torch.export.export(model, (x,), dynamic_shapes=sizes, strict=strict)
    assert not any("metakan" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(other), model(other), rtol=1e-9, atol=1e-9)


@narrow_and_wide
def test_traces_of_narrow_and_wide_networks_hold_for_other_batches(network):
    model, x, other, _ = network
    traced = torch.jit.trace(model, x, check_trace=False)
    torch.testing.assert_close(traced(other), model(other), rtol=1e-9, atol=1e-9)
    assert_same(passed(traced, model, other), passed(model, model, other))


def test_second_derivatives_of_compiled_layers_are_refused_in_a_sentence():
    torch.compiler.reset()
    model, x = MetaKAN([3, 4, 2], mode="tiled"), torch.rand(5, 3, requires_grad=True)
    y = torch.compile(model, backend="eager", fullgraph=True)(x)
    (slope,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only.*leave it out of torch.compile"):
        torch.autograd.grad(slope.sum(), x)
