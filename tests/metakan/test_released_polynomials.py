"""Gram and Chebyshev layers as their sources have them: the form, the counts and the start."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from metakan import KAN, ConvKAN, KANConv2d, KANLinear, MetaConvKAN, MetaKAN, MetaKANConv2d
from metakan.bases import Chebyshev, Gram


def released(degree: int = 3) -> Gram:
    return Gram(degree, degree + 5, form="released")


def features(x: torch.Tensor, degree: int, b: torch.Tensor) -> list[torch.Tensor]:
    """Return SiLU(p_n(tanh x)) by the published recursion, with beta(n, m) of order n out of m."""
    u = torch.tanh(x)
    p = [torch.ones_like(u), u]
    for i in range(2, degree + 1):
        n, m = i - 1, i
        beta = (m + n) * (m - n) * n**2 / (m**2 / (4 * n**2 - 1)) * b[n]
        p.append(u * p[i - 1] - beta * p[i - 2])
    return [functional.silu(value) for value in p[: degree + 1]]


@pytest.mark.parametrize("degree", [2, 3, 6])
def test_a_convolution_is_that_of_the_source(degree):
    """Features of every degree, degree by degree, are convolved with polynomial weights; SiLU(x) with base weights."""
    torch.manual_seed(0)
    layer = KANConv2d(2, 3, basis=released(degree), stride=2).double()
    with torch.no_grad():
        layer.edges.recursion.normal_()
    x = torch.randn(4, 2, 7, 7, dtype=torch.float64, requires_grad=True)
    numbers = layer.numbers().view(3, 2, 3, 3, degree + 2)
    polynomials = torch.cat([numbers[..., n] for n in range(degree + 1)], dim=1)
    planes = torch.cat(features(x, degree, layer.edges.recursion), dim=1)
    expected = functional.conv2d(planes, polynomials, stride=2, padding=1)
    expected = expected + functional.conv2d(functional.silu(x), numbers[..., -1], stride=2, padding=1)
    found = layer(x)
    assert layer.mode_used == "materialized"
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    wanted = (x, layer.edges.weight, layer.edges.recursion)
    for ours, theirs in zip(*(torch.autograd.grad(y.sin().sum(), wanted) for y in (found, expected)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("mode", ["auto", "tiled", "materialized"])
@pytest.mark.parametrize("activation", ["relu", "none"])
def test_generated_layers_train_the_recursion_in_every_mode(activation, mode):
    torch.manual_seed(0)
    model = MetaKAN([3, 4, 2], basis=released(), meta_activation=activation, mode=mode).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    dense = model.materialize()
    torch.testing.assert_close(dense(x), model(x), rtol=0, atol=1e-12)
    model(x).square().sum().backward()
    for layer in model.layers:
        gradient = layer.edges.recursion.grad
        assert (gradient[1:-1] != 0).all()
        assert gradient[0] == gradient[-1] == 0
    again = MetaKAN([3, 4, 2], basis=released(), meta_activation=activation).double()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(x), model(x))
    with pytest.raises(RuntimeError, match="form"):
        MetaKAN([3, 4, 2], basis="gram", meta_activation=activation).double().load_state_dict(model.state_dict())


def test_the_published_counts():
    count = {"basis": released(), "in_channels": 3}
    assert sum(p.numel() for p in ConvKAN(**count, activation="silu").parameters()) == 1_943_226
    network = MetaConvKAN(**count, hidden_dim=64, activation="silu", num_clusters=4)
    assert sum(p.numel() for p in network.parameters()) == 387_936 + 1812 + 3546
    layer = MetaKANConv2d(3, 4, basis=released())
    assert layer.edges.recursion.shape == (4,)


def test_the_space_is_another_one():
    """The text of `metakan.conv_network`: polynomials up to the third degree miss SiLU(u^3) by 12 %."""
    u = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    powers = torch.stack([u**n for n in range(4)], dim=1)
    target = functional.silu(u**3)
    missed = target - powers @ torch.linalg.lstsq(powers, target.unsqueeze(1)).solution[:, 0]
    assert float(missed.norm() / target.norm()) == pytest.approx(0.12, abs=0.005)
    plane = released().planes(torch.atanh(u[1:-1]))[3]
    torch.testing.assert_close(plane, target[1:-1], rtol=0, atol=1e-12)


def test_the_start_is_that_of_the_sources():
    torch.manual_seed(0)
    gram = KANConv2d(16, 64, basis=released(), init="released").edges
    edges = 16 * 9
    for column in gram.weight[..., :-1].unbind(-1):
        bound = (3 / (64 * edges * 4)) ** 0.5
        assert column.abs().max() <= bound
        assert float(column.std()) == pytest.approx(bound / 3**0.5, rel=0.05)
    assert float(gram.weight[..., -1].abs().max()) == pytest.approx((3 / edges) ** 0.5, rel=0.02)
    recursions = torch.cat([KANLinear(2, 1, basis=released()).edges.recursion.detach() for _ in range(500)])
    assert float(recursions.std()) == pytest.approx(1 / (2 * 4), rel=0.1)
    chebyshev = KANLinear(40, 50, basis="chebyshev", spline_order=3, init="released").edges.weight
    assert float(chebyshev.std()) == pytest.approx(1 / (40 * 4), rel=0.05)
    assert float(chebyshev.detach().abs().max()) > 3 / (40 * 4), "normal, not uniform"


def test_networks_start_near_a_constant_as_released():
    torch.manual_seed(0)
    x = torch.randn(64, 30)
    spread = {
        init: KAN([30, 40, 10], basis="chebyshev", init=init)(x).std(dim=0).mean() for init in ("scaled", "released")
    }
    assert spread["released"] < 0.02 * spread["scaled"]


@pytest.mark.parametrize("basis", ["bspline", "rbf", "wavelet", "legendre", Chebyshev(3, base=True)])
def test_families_without_such_a_start_say_so(basis):
    with pytest.raises(ValueError, match="init: found 'released' with the basis"):
        KAN([3, 2], basis=basis, init="released")
