"""The engine against the plain definition y_o = Σ_i w_oi · b(x_i), in values and gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from metakan import KAN, ConvKAN, MetaConvKAN, MetaKAN

pytestmark = pytest.mark.usefixtures("evaluation")

LINEAR_BASES = ("bspline", "rbf", "legendre", "gram", "chebyshev")


def plain(model, x):
    """Evaluate a network layer by layer from its numbers and its basis, keeping everything."""
    for layer in model.layers:
        x = torch.einsum("bin,oin->bo", layer.basis.features(x, dim=-1), layer.numbers())
    return x


def gradients(model, x, values):
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.autograd.grad(values.square().sum(), [x, *parameters])


def agree(model, x, tolerance):
    first, second = model(x), plain(model, x)
    scale = second.abs().max().clamp_min(1.0)
    assert (first - second).abs().max() <= tolerance * scale
    for a, b in zip(gradients(model, x, first), gradients(model, x, second), strict=True):
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1.0)


@settings(max_examples=25, deadline=None)
@given(
    width=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    grid_size=st.integers(1, 7),
    basis=st.sampled_from(LINEAR_BASES),
    prompt_dim=st.integers(1, 3),
    hidden_dim=st.integers(1, 9),
    activation=st.sampled_from(["relu", "none", "tanh", "silu"]),
    batch=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_tiled_metakan_equals_the_definition(width, grid_size, basis, prompt_dim, hidden_dim, activation, batch, seed):
    torch.manual_seed(seed)
    options = {"prompt_dim": prompt_dim, "hidden_dim": hidden_dim, "meta_activation": activation, "mode": "tiled"}
    model = MetaKAN(width, grid_size=grid_size, basis=basis, **options).double()
    x = (
        3 * torch.rand(batch, width[0], dtype=torch.float64) - 1.5
    ).requires_grad_()  # some inputs lie outside the grid
    agree(model, x, 1e-10)
    assert model.mode_used in ("tiled", "factorised")


@pytest.mark.parametrize("activation", ["relu", "none"])
@pytest.mark.parametrize("batch", [1, 128])
def test_float32_is_as_close_to_the_truth_as_the_definition(activation, batch):
    torch.manual_seed(0)
    model = MetaKAN([60, 40, 10], meta_activation=activation, mode="tiled")
    x = (2 * torch.rand(batch, 60) - 1).requires_grad_()
    exact, points = copy.deepcopy(model).double(), x.detach().double().requires_grad_()
    truth = gradients(exact, points, plain(exact, points))
    ours, theirs = gradients(model, x, model(x)), gradients(model, x, plain(model, x))
    for a, b, t in zip(ours, theirs, truth, strict=True):
        error, rounding = (((g - t).norm() / t.norm()).item() for g in (a, b))
        assert error <= max(1e-5, 2 * rounding)  # single precision itself loses more where large terms cancel


@pytest.mark.parametrize("network", [KAN, MetaKAN])
def test_empty_and_strided_batches(network):
    torch.manual_seed(0)
    model = network([4, 3, 2], mode="tiled").double()
    assert model(torch.zeros(0, 4, dtype=torch.float64)).shape == (0, 2)
    strided = torch.randn(4, 10, dtype=torch.float64).t()
    assert not strided.is_contiguous()
    assert torch.allclose(model(strided), model(strided.contiguous()), atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "none"])
def test_first_and_second_order_against_differences(activation):
    torch.manual_seed(3)
    model = MetaKAN([3, 2], hidden_dim=5, meta_activation=activation, mode="tiled").double()
    x = (1.2 * torch.rand(2, 3, dtype=torch.float64) - 0.6).requires_grad_()
    parameters = dict(model.named_parameters())

    def value(inputs, *weights):
        named = dict(zip(parameters, weights, strict=True))
        return torch.func.functional_call(model, named, (inputs,))

    inputs = (x, *(p.detach().requires_grad_() for p in parameters.values()))
    assert gradcheck(value, inputs)
    assert gradgradcheck(value, inputs)


@pytest.mark.parametrize("activation", ["relu", "none", "tanh"])
def test_gradients_that_can_be_differentiated_again_are_the_same_gradients(activation):
    torch.manual_seed(0)
    model = MetaKAN([4, 5, 6, 2], meta_activation=activation, mode="tiled").double()
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    wanted = [x, *model.parameters()]  # the layers share a meta-learner, on which the inputs of all but one depend
    first = torch.autograd.grad(model(x).sin().sum(), wanted)
    second = torch.autograd.grad(model(x).sin().sum(), wanted, create_graph=True)
    assert any(gradient.requires_grad for gradient in second)
    for ours, theirs in zip(first, second, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("basis", LINEAR_BASES)
@pytest.mark.parametrize("network", [ConvKAN, MetaConvKAN])
def test_convolution_tiled_equals_materialized(network, basis):
    torch.manual_seed(0)
    options = {
        "in_channels": 3,
        "num_classes": 5,
        "strides": (1, 2),
        "basis": basis,
        "dropout": 0.0,
        "head_dropout": 0.0,
    }
    first, second = (network((4, 6), **options, mode=mode).double() for mode in ("tiled", "materialized"))
    second.load_state_dict(first.state_dict())
    results = []
    for model in (first, second):
        x = torch.linspace(-2, 2, 2 * 3 * 8 * 8, dtype=torch.float64).reshape(2, 3, 8, 8).sin().requires_grad_()
        y = model(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, *model.parameters()])])
    assert first.mode_used == "tiled"
    for a, b in zip(*results, strict=True):
        assert (a - b).abs().max() <= 1e-10 * b.abs().max().clamp_min(1.0)


def test_the_state_dict_and_the_dense_form_carry_the_function():
    torch.manual_seed(0)
    model, other = MetaKAN([5, 4, 3]), MetaKAN([5, 4, 3])
    x = torch.randn(6, 5)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))
    dense = model.materialize()
    assert isinstance(dense, KAN)
    assert torch.allclose(dense(x), model(x), atol=1e-5)


@pytest.mark.parametrize(("clusters", "count"), [(1, 25_769), (2, 26_130)])
def test_the_published_counts(clusters, count):
    assert sum(p.numel() for p in MetaKAN([784, 32, 10], num_clusters=clusters).parameters()) == count


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"grid_size": 0}, "grid_size"),
        ({"prompt_dim": 0}, "prompt_dim"),
        ({"basis": "bsplin"}, "basis"),
        ({"width": [3]}, "width"),
        ({"mode": "tile"}, "mode"),
        ({"num_clusters": 9}, "num_clusters"),
    ],
)
def test_bad_arguments_are_named(arguments, named):
    with pytest.raises((ValueError, TypeError), match=named):
        MetaKAN(**{"width": [3, 2], **arguments})


def test_bad_inputs_are_named():
    with pytest.raises(ValueError, match="4"):
        MetaKAN([4, 2])(torch.zeros(2, 3))
    with pytest.raises(TypeError, match="int64"):
        MetaKAN([4, 2])(torch.zeros(2, 4, dtype=torch.int64))
