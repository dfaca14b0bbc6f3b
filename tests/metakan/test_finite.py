"""Every basis, value and derivative, is finite wherever its limit is, over the whole range of every dtype."""

from __future__ import annotations

import math

import pytest
import torch

from metakan import BASES, KAN, MetaConvKAN, MetaKAN, make_basis
from metakan.bases import RBF, Wavelet
from metakan.bases.silu import silu, silu_values

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
FAMILIES = {name: make_basis(name, 5, 3, (-1, 1)) for name in BASES if name != "wavelet"}
FAMILIES["bspline, order 2"] = make_basis("bspline", 3, 2, (-1, 1))
FAMILIES["bspline, fine"] = make_basis("bspline", 60, 3, (-1e-2, 1e-2))
FAMILIES["rbf, fine"] = RBF(60, 3, (-1e-2, 1e-2), base=False)
FAMILIES["chebyshev, degree 7"] = make_basis("chebyshev", 5, 7, (-1, 1))


def points(dtype: torch.dtype) -> torch.Tensor:
    """Return points over the range of a dtype, both signs: zero, subnormals, powers of two, the largest, inf."""
    limits = torch.finfo(dtype)
    first, last = (math.log2(value) for value in (limits.smallest_normal * limits.eps, limits.max))
    powers = 2.0 ** torch.linspace(first, last - 1, 25, dtype=torch.float64)
    special = torch.tensor([0.0, limits.smallest_normal, 0.3, 1.0, 2.2, 17.0, 300.0, 0.5 * limits.max, limits.max])
    positive = torch.cat([powers, special.double(), torch.tensor([math.inf]).double()]).to(dtype)
    return torch.cat([positive, -positive])


def expected(basis, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values and slopes in float64; beyond 100 they are those at 100 but for SiLU, which is 0 or x there."""
    near = x.double().clamp(-100, 100)
    values, slopes = basis.planes(near), basis.slopes(near)
    if getattr(basis, "base", True):  # SiLU comes last
        values[-1] = torch.where(x.double().abs() <= 100, values[-1], x.double().clamp_min(0))
    return values, slopes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FAMILIES)
def test_values_and_slopes_are_those_of_double_precision_or_the_limit(name, dtype, evaluation):
    basis, x = FAMILIES[name], points(dtype)
    values, slopes = expected(basis, x)
    scale = torch.finfo(dtype).eps * 40
    if basis.numbers > 60:  # a tiny spacing amplifies the rounding of the argument
        scale *= 200
    found = basis.planes(x).double()
    assert torch.isfinite(found[:, torch.isfinite(x)]).all()
    torch.testing.assert_close(found, values, rtol=scale, atol=scale)
    greatest = slopes.abs().max()
    torch.testing.assert_close(basis.slopes(x).double() / greatest, slopes / greatest, rtol=scale, atol=scale)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(basis.planes(leaf).masked_fill(leaf.isinf(), 0).sum(), leaf)
    assert torch.isfinite(gradient).all()
    for plane in range(basis.numbers):
        (gradient,) = torch.autograd.grad(basis.planes(leaf)[plane].sum(), leaf)
        torch.testing.assert_close(gradient.double() / greatest, slopes[plane] / greatest, rtol=scale, atol=scale)
    point = basis.at(x.view(-1, 1), 2)
    torch.testing.assert_close(point.features()[:, 0].t().double(), values, rtol=scale, atol=scale)
    pulled = point.pull(torch.ones(len(x), 1, basis.numbers, dtype=dtype))[:, 0].double()
    torch.testing.assert_close(pulled / greatest, slopes.sum(0) / greatest, rtol=scale, atol=basis.numbers * scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["log", "direct"])
@pytest.mark.parametrize("scale", [0.4, -3.0, 9.0, -60.0, 300.0])
@pytest.mark.parametrize("translation", [0.25, -300.0, 60000.0])
def test_wavelets_and_all_their_gradients_are_finite(dtype, kind, scale, translation):
    x = points(dtype).unsqueeze(1).requires_grad_()
    numbers = torch.tensor([[[1.5, scale, translation]]], dtype=dtype)
    each = numbers.expand(len(x), 1, 1, 3).contiguous().requires_grad_()
    rows = torch.vmap(Wavelet(kind).edge_sum)(x.unsqueeze(1), each)[:, 0]
    gradients = torch.autograd.grad(rows.sum(), (x, each))
    assert torch.isfinite(rows).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    exact = each.detach().double()[:, 0, 0]
    width = exact[:, 1].exp() if kind == "log" else exact[:, 1]
    u = ((x.detach().double()[:, 0] - exact[:, 2]) / width).clamp(-1e3, 1e3)
    hats = 1.5 * 2 / (math.sqrt(3) * math.pi**0.25) * (1 - u * u) * torch.exp(-u * u / 2)
    # the argument is rounded in the dtype: as far as that moves it, the value may move
    slack = 40 * torch.finfo(dtype).eps * (1 + exact[:, 2].abs() / width.abs())
    right = (rows.detach().double()[:, 0] - hats).abs() <= slack
    wide = kind == "log" and scale == 300 and dtype is not torch.float64  # wider than the range: flat up to infinity
    assert (right | (wide & x.detach()[:, 0].isinf())).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_wavelets_survive_scales_and_translations_over_the_whole_range(dtype):
    """Every combination of special numbers; a scale of zero has no limit where the point is the translation."""
    numbers = torch.cartesian_prod(*[points(dtype)[::4]] * 3)
    numbers = numbers[torch.isfinite(numbers).all(dim=1)]
    for kind in ("log", "direct"):
        x = numbers[:, 2].clone().unsqueeze(1).requires_grad_()
        each = torch.stack([torch.ones(len(x), dtype=dtype), numbers[:, 0], numbers[:, 1]], dim=1)[:, None, None]
        each = each.contiguous().requires_grad_()
        rows = torch.vmap(Wavelet(kind).edge_sum)(x.unsqueeze(1), each)
        gradients = torch.autograd.grad(rows.sum(), (x, each))
        assert torch.isfinite(rows).all()
        assert not any(gradient.isnan().any() for gradient in gradients)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["materialized", "tiled"])
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("kind", [KAN, MetaKAN])
def test_networks_give_finite_values_and_gradients(kind, basis, mode, dtype):
    torch.manual_seed(0)
    model = kind([2, 3, 1], basis=basis, mode=mode).to(dtype)
    big = 300.0 if dtype is torch.float16 else 1e20
    x = torch.tensor([[big, -big], [0.0, 300.0], [-300.0, 17.0]], dtype=dtype, requires_grad=True)
    y = model(x)
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()
    for name, parameter in model.named_parameters():
        if big == 300.0 or "meta_learners" not in name and "weight" not in name:
            assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("mode", ["materialized", "tiled"])
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("activation", [None, "relu", "none"])
def test_minus_infinity_passes_through_every_form(activation, basis, mode, dtype, evaluation):
    torch.manual_seed(0)
    options = {} if activation is None else {"meta_activation": activation}
    model = (KAN if activation is None else MetaKAN)([2, 3], basis=basis, mode=mode, **options).to(dtype)
    x = torch.tensor([[-math.inf, 0.3], [0.1, -math.inf]], dtype=dtype, requires_grad=True)
    y = model(x)
    y.sum().backward()
    lowest = torch.nan_to_num(x.detach(), neginf=-1e4)
    torch.testing.assert_close(y, model(lowest), rtol=1e-4, atol=1e-4)
    assert all(torch.isfinite(tensor.grad).all() for tensor in (x, *model.parameters()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("basis", BASES)
def test_convolutions_give_finite_values_and_gradients(basis, dtype):
    torch.manual_seed(0)
    model = MetaConvKAN((2, 2), in_channels=1, basis=basis, norm="none", activation="none").to(dtype)
    x = torch.tensor([0.0, 17.0, -300.0, 300.0], dtype=dtype).view(1, 1, 2, 2).requires_grad_()
    y = model(x)
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_silu_and_its_derivatives_are_torchs():
    x = torch.linspace(-30, 30, 601, dtype=torch.float64, requires_grad=True)
    reference, found = torch.nn.functional.silu(x), silu(x)
    assert torch.equal(found, reference)
    for derivative in range(1, 5):
        reference, found = (torch.autograd.grad(y.sum(), x, create_graph=True)[0] for y in (reference, found))
        torch.testing.assert_close(found, reference, rtol=0, atol=1e-12)
        torch.testing.assert_close(silu_values(x.detach(), derivative), reference.detach(), rtol=0, atol=1e-12)
    ends = torch.tensor([math.inf, -math.inf])
    limits = [[math.inf, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    assert [silu_values(ends, derivative).tolist() for derivative in range(4)] == limits
    assert silu(torch.tensor([math.nan])).isnan().all()
