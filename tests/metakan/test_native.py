"""The compiled kernels against the operators of torch that they replace."""

from __future__ import annotations

import pytest
import torch

from metakan import KANConv2d, MetaConvKAN, MetaKAN, MetaKANConv2d, native
from metakan.bases import make_basis
from metakan.engine import piecewise
from metakan.engine.curve import Curve

pytestmark = pytest.mark.skipif(not native.active(), reason="the CPU kernels are not compiled here")


@pytest.fixture(params=[1, 2, 5])
def threads(request, monkeypatch):
    monkeypatch.setattr(native, "POINTS_A_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_curve_gives_the_numbers_of_its_meta_learner_and_their_gradients(threads, dtype):
    w1, b1, w2, b2 = draw(11, 1, seed=1), draw(11, seed=2), draw(6, 11, seed=3), draw(6, seed=4)
    w1[3], b1[4], w1[4] = 0, 0, w1[5]  # a unit that never changes, and one whose kink lies at zero
    whole = draw(7, 40)
    whole[2, 5], whole[3, 6] = 0, -b1[7] / w1[7, 0]  # prompts on kinks
    prompts = whole[:, 9:31].requires_grad_()  # its rows lie apart
    tensors = [tensor.requires_grad_() for tensor in (w1, b1, w2, b2)]
    numbers = torch.relu(prompts.unsqueeze(-1) @ w1.t() + b1) @ w2.t() + b2
    gradient = draw(*numbers.shape, seed=5)
    expected = torch.autograd.grad(numbers, [prompts, *tensors], gradient)

    curve = Curve(whole.to(dtype), *(tensor.to(dtype) for tensor in tensors))
    kernel = native.Curve(curve.table.unflatten(0, (2, -1)), curve.kinks, *(float(bound) for bound in curve.bounds))
    places = whole.detach().to(dtype)[:, 9:31]
    found, pulled = torch.empty(7, 22, 6, dtype=dtype), torch.zeros(7, 50, dtype=dtype)
    kernel.values(places, found)
    curve.sums = curve.sums.double()
    kernel.pull(places, gradient.to(dtype), pulled[:, 3:25], curve.sums)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    assert torch.allclose(found.double(), numbers, rtol=0, atol=tolerance)
    assert torch.allclose(pulled[:, 3:25].double(), expected[0], rtol=0, atol=tolerance)
    assert torch.cat([pulled[:, :3], pulled[:, 25:]], 1).eq(0).all()
    for ours, theirs in zip(curve.gradients(), expected[1:], strict=True):
        assert torch.allclose(ours.double(), theirs, rtol=tolerance, atol=tolerance * theirs.abs().max())


@pytest.mark.parametrize("bound", [torch.inf, -torch.inf, torch.nan])
def test_prompts_that_are_not_finite_stay_visible_and_harm_no_other(bound):
    prompts = torch.tensor([[0.25, bound, -0.5]], dtype=torch.float64)
    table = torch.tensor([[[1.0], [2.0]], [[0.0], [0.5]]], dtype=torch.float64)
    found = torch.empty(1, 3, 1, dtype=torch.float64)
    native.Curve(table, torch.tensor([0.0], dtype=torch.float64), -0.5, 0.25).values(prompts, found)
    assert found[0, ::2, 0].tolist() == [2 * 0.25 + 0.5, -0.5]
    assert not found[0, 1].isfinite().any()


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 5, 6), (6, 1), (1, 130)])
@pytest.mark.parametrize(("grid_size", "order"), [(5, 3), (4, 1), (9, 2), (2, 5), (150, 3)])
def test_features_and_their_pull_equal_the_planes(threads, shape, grid_size, order):
    basis = make_basis("bspline", grid_size, order, (-1.0, 1.0))
    whole = 1.5 * draw(shape[0], shape[1] + 3, *shape[2:])
    x = whole[:, 1:-2]  # its rows lie apart
    point = basis.at(x, 2)
    assert type(point).__name__ == "_NativeEvaluation"
    assert torch.allclose(point.features(), basis.features(x, 2), rtol=0, atol=1e-12)
    gradient = draw(*basis.features(x, 2).shape, seed=1)
    expected = (gradient * basis.slopes(x).movedim(0, 2)).sum(2)
    assert torch.allclose(point.pull(gradient.clone()), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("functions", [1, 2, 4])
@pytest.mark.parametrize("shape", [(5, 70), (3, 4, 5, 6), (2, 1), (9, 300)])
@pytest.mark.parametrize(("grid_size", "order"), [(5, 3), (4, 1), (3, 2), (70, 3)])
def test_reduced_functions_equal_their_features(threads, functions, shape, grid_size, order, monkeypatch):
    monkeypatch.setattr(piecewise, "KERNEL_POINTS", 400)  # the larger shapes are cut into blocks of rows
    basis = make_basis("bspline", grid_size, order, (-1.0, 1.0))
    coefficients, x = draw(functions, basis.numbers, seed=2).requires_grad_(), (1.5 * draw(*shape)).requires_grad_()
    values = torch.einsum("cn,n...->c...", coefficients, basis.planes(x))
    reduced, total = values[:-1], values[-1].sum(1, keepdim=True)
    gradients = draw(*reduced.shape, seed=3), draw(*total.shape, seed=4)
    expected = torch.autograd.grad((reduced, total), (x, coefficients), gradients)

    kernel = piecewise.make_functions(basis, coefficients.detach())
    assert isinstance(kernel, piecewise.KernelPieces)
    found, sums = kernel.reduced(x.detach())
    assert torch.allclose(found, reduced, rtol=0, atol=1e-11)
    assert torch.allclose(sums, total, rtol=0, atol=1e-11)
    pulled = kernel.pull_reduced(x.detach(), gradients[0].clone(), gradients[1], True)
    assert torch.allclose(pulled, expected[0], rtol=1e-10, atol=1e-10)
    assert torch.allclose(kernel.gradients(), expected[1], rtol=1e-10, atol=1e-10)
    assert kernel.pull_reduced(x.detach(), gradients[0], gradients[1], False) is None


def both_ways(model, x):
    results = []
    for way in (native.disabled, torch.no_grad):  # the second is only a context that changes nothing here
        with way(), torch.enable_grad():
            points = x.clone().requires_grad_()
            y = model(points)
            results.append([y, *torch.autograd.grad(y.square().sum(), [points, *model.parameters()])])
    return zip(*results, strict=True)


@pytest.mark.parametrize("activation", ["relu", "none", "tanh"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_networks_agree_with_and_without_kernels(activation, dtype, tolerance):
    torch.manual_seed(0)
    networks = [
        (MetaKAN([30, 20, 4], meta_activation=activation, mode="tiled"), 1.5 * draw(50, 30)),
        (MetaKANConv2d(3, 5, 3, padding=1, stride=2, meta_activation=activation, mode="tiled"), draw(4, 3, 9, 8)),
        (KANConv2d(3, 5, 3, mode="tiled"), draw(4, 3, 9, 8)),
    ]
    for model, x in networks:
        for theirs, ours in both_ways(model.to(dtype), x.to(dtype)):
            assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def test_results_do_not_change_from_run_to_run(threads):
    torch.manual_seed(0)
    model, x = MetaConvKAN((4, 8), mode="tiled").eval(), draw(4, 3, 12, 12, dtype=torch.float32)
    runs = [step(model, x) for _ in range(2)]
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))
    assert any(gradient.abs().max() > 0 for gradient in runs[0])


def step(model, x):
    return torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
