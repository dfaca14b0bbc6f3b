"""The fused kernels against the plain definition: on a GPU where there is one, otherwise in Triton's interpreter.

`test_fused.py` runs these in a process of their own, since Triton decides once a process whether it interprets:
``TRITON_INTERPRET=1 python -m pytest tests/metakan/fused_cases.py``.
"""

from __future__ import annotations

import pytest
import torch

from metakan import KAN, MetaConvKAN, MetaKANLinear
from metakan.engine import fused as form
from metakan.engine.forms import Setting
from metakan.engine.run import evaluate
from metakan.engine.shape import FullyConnected

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
MIXED = torch.bfloat16 if ON_GPU else torch.float16  # the interpreter knows no products in bfloat16
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
# in, out, batch, hidden_dim, prompt_dim, grid_size, spline_order: none of them a multiple of a block, or all
SHAPES = [
    (1, 1, 1, 1, 1, 1, 1),
    (3, 2, 5, 4, 1, 5, 3),
    (17, 33, 70, 32, 1, 5, 3),
    (16, 64, 64, 32, 1, 5, 3),
    (5, 18, 20, 100, 2, 3, 2),
    (9, 17, 33, 40, 3, 20, 4),
    (2, 3, 7, 8, 5, 100, 3),
]


def layer_and_input(shape, dtype):
    inputs, outputs, batch, hidden_dim, prompt_dim, grid_size, order = shape
    torch.manual_seed(0)
    options = {"hidden_dim": hidden_dim, "prompt_dim": prompt_dim, "grid_size": grid_size, "spline_order": order}
    layer = MetaKANLinear(inputs, outputs, grid_range=(-1, 1.5), **options)
    with torch.no_grad():
        for parameter in layer.meta_learner.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    layer = layer.to(DEVICE, dtype)
    x = (5 * torch.rand(batch, inputs) - 2.3).to(DEVICE, dtype).requires_grad_()  # outside of the grid, too
    return layer, x


def fused(layer, x, dtype=None):
    source = layer.edges.source()
    return form.Fused(Setting(source, layer.basis, FullyConnected(), dtype or x.dtype))(x, *source.tensors())


def plain(layer, x):
    return torch.einsum("bin,oin->bo", layer.basis.features(x), layer.numbers())


def results(evaluation, layer, x):
    """Return the output and the gradients of x, prompts, W1, b1, W2 and b2 for a fixed direction."""
    y = evaluation(layer, x)
    direction = torch.linspace(-1, 1.3, y.numel(), dtype=y.dtype, device=y.device).view_as(y).cos()
    return [y, *torch.autograd.grad(y, [x, *layer.parameters()], direction)]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_equal_the_definition(shape, dtype):
    layer, x = layer_and_input(shape, dtype)
    found, expected = (results(evaluation, layer, x) for evaluation in (fused, plain))
    assert len(found) == 7
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert (a - b).abs().max() <= TOLERANCE[dtype] * b.abs().max().clamp_min(1e-3)


def test_far_inputs_reach_only_the_base_function():
    layer, _ = layer_and_input(SHAPES[1], torch.float64)
    x = torch.tensor([[50.0, -50.0, 7.0]], dtype=torch.float64, device=DEVICE)
    expected = (layer.numbers()[..., -1] * torch.nn.functional.silu(x)).sum(1)
    torch.testing.assert_close(fused(layer, x)[0], expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("parts", [1, 3, 1000])
def test_splitting_the_sums_changes_nothing(monkeypatch, parts):
    layer, x = layer_and_input((13, 66, 9, 8, 1, 5, 3), torch.float64)
    monkeypatch.setattr(form, "PROGRAMS", parts)
    for a, b in zip(results(fused, layer, x), results(plain, layer, x), strict=True):
        torch.testing.assert_close(a, b, atol=1e-11, rtol=1e-11)


def test_the_same_inputs_give_the_same_bits():
    layer, x = layer_and_input((13, 66, 9, 8, 1, 5, 3), torch.float32)
    for a, b in zip(results(fused, layer, x), results(fused, layer, x), strict=True):
        assert torch.equal(a, b)


def test_an_empty_batch_passes_forward_and_backward():
    layer, _ = layer_and_input(SHAPES[1], torch.float32)
    x = torch.zeros(0, 3, device=DEVICE, requires_grad=True)
    y = fused(layer, x)
    assert y.shape == (0, 2)
    y.sum().backward()
    assert x.grad.shape == (0, 3)
    assert not layer.prompts.grad.any()


def test_strided_inputs_and_gradients():
    layer, x = layer_and_input((3, 2, 8, 4, 1, 5, 3), torch.float64)
    strided = x.detach().t().contiguous().t().requires_grad_()
    assert not strided.is_contiguous()
    for points in (strided, x):
        y = fused(layer, points)
        y.sum().backward()  # its gradient is expanded, without strides
        assert torch.allclose(y, plain(layer, x), atol=1e-12)
    assert torch.allclose(strided.grad, x.grad, atol=1e-12)


def test_second_order_gradients_equal_those_of_the_definition():
    layer, x = layer_and_input(SHAPES[1], torch.float64)
    found = []
    for evaluation in (fused, plain):
        slope = torch.autograd.grad(evaluation(layer, x).sin().sum(), x, create_graph=True)[0]
        found.append([slope, *torch.autograd.grad(slope.square().sum(), [x, *layer.parameters()])])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


def test_frozen_parts_get_no_gradient():
    layer, x = layer_and_input(SHAPES[1], torch.float64)
    layer.meta_learner.requires_grad_(False)
    expected = results(plain, *layer_and_input(SHAPES[1], torch.float64))[2]
    y = fused(layer, x.detach())
    direction = torch.linspace(-1, 1.3, y.numel(), dtype=y.dtype, device=y.device).view_as(y).cos()
    y.backward(direction)
    torch.testing.assert_close(layer.prompts.grad, expected, atol=1e-12, rtol=1e-12)
    assert all(parameter.grad is None for parameter in layer.meta_learner.parameters())


def test_products_in_less_precision_keep_it():
    layer, x = layer_and_input(SHAPES[2], torch.float32)
    found = results(lambda layer, x: fused(layer, x, MIXED), layer, x)
    expected = results(plain, layer, x)
    assert found[0].dtype == MIXED
    assert all(gradient.dtype == torch.float32 for gradient in found[1:])
    for a, b in zip(found, expected, strict=True):
        assert ((a.float() - b).norm() / b.norm()).item() < 2e-2
        assert not torch.equal(a.float(), b)


def test_nothing_but_inputs_and_parameters_is_kept():
    layer, x = layer_and_input(SHAPES[2], torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        fused(layer, x)
    largest = sorted((tensor.numel() for tensor in kept), reverse=True)
    assert largest[:2] == [x.numel(), layer.prompts.numel()]
    assert largest[2] <= 32 * 9


def test_what_the_kernels_cannot_express_is_left_to_others():
    plain_shape = FullyConnected()

    def expressible(layer, shape=plain_shape):
        return form.expressible(layer.edges.source(), layer.basis, shape)

    assert expressible(MetaKANLinear(3, 2))
    assert expressible(MetaKANLinear(3, 2, hidden_dim=128, prompt_dim=8, grid_size=124))
    for options in (
        {"basis": "rbf"},
        {"meta_activation": "tanh"},
        {"hidden_dim": 129},
        {"prompt_dim": 9},
        {"grid_size": 125},
    ):
        assert not expressible(MetaKANLinear(3, 2, **options)), options
    assert not expressible(KAN([3, 2]).layers[0])
    image = MetaConvKAN((2,), in_channels=1).layers[0]
    assert not expressible(image, image.shape)


@pytest.mark.parametrize(
    ("mode", "expected"), [("auto", "fused"), ("tiled", "tiled"), ("materialized", "materialized")]
)
def test_auto_takes_it_where_it_is_available(monkeypatch, mode, expected):
    monkeypatch.setattr("metakan.engine.run.available", lambda *arguments: True)
    monkeypatch.setattr("metakan.engine.run.PLAIN_BYTES", 0)
    layer, x = layer_and_input(SHAPES[1], torch.float64)
    y, used = evaluate(x, layer.edges.source(), layer.basis, FullyConnected(), mode)
    assert used == expected
    torch.testing.assert_close(y, plain(layer, x), atol=1e-12, rtol=1e-12)
