"""Derivatives beyond the first by every form against the plain definition."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_walk import LAYOUTS, layer

from metakan import KAN, MetaConvKAN, MetaKAN, native
from metakan.bases import make_basis
from metakan.engine.factorised import Factorised
from metakan.engine.forms import Setting
from metakan.engine.materialized import materialized
from metakan.engine.shape import FullyConnected
from metakan.engine.small import Small
from metakan.engine.sources import Dense, Generated
from metakan.engine.tiled import Tiled
from metakan.engine.walk import Walk, walkable

FORMS = ("tiled", "walk", "small", "factorised")
BASES = ("bspline", "rbf", "legendre", "gram", "chebyshev")


def evaluations(form, x, tensors, basis):
    """Return the layer by a form and by the plain definition, as functions without arguments."""
    activation = "none" if form == "factorised" else "relu"
    source, shape = Generated(tensors[0], tuple(tensors[1:3]), tuple(tensors[3:]), activation), FullyConnected()
    setting = Setting(source, basis, shape, x.dtype)

    def evaluate():
        if form == "factorised":
            return Factorised(setting)(x, *Factorised.tensors(source))
        if form == "small":
            numbers = source.numbers()
            return Small(Setting(Dense(numbers), basis, shape, x.dtype))(x, numbers)
        return {"tiled": Tiled, "walk": Walk}[form](setting)(x, *tensors)

    if form == "walk" and not walkable(x, source, basis, shape):
        pytest.skip("the kernel of the walk is not compiled here")
    return evaluate, lambda: materialized(x, source.numbers(), basis, shape)


def residual(y, x, weights, directions=2):
    """Return slopes, second derivatives along some inputs, and the squared residual of a differential equation."""
    (slope,) = torch.autograd.grad((y * weights).sin().sum(), x, create_graph=True)
    curvatures = [
        torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0][:, i]
        for i in range(min(directions, x.shape[1]))
    ]
    total = sum(curvatures) + slope.sum(1)
    return [slope, *curvatures], total.square().sum()


def derivatives(y, x, tensors, weights):
    shown, loss = residual(y, x, weights)
    return [y, *shown, *torch.autograd.grad(loss, [x, *tensors])]


def assert_agree(first, second, tolerance):
    scale = max(1.0, *(float(b.detach().abs().max()) for b in second if b.numel()))
    for a, b in zip(first, second, strict=True):
        assert a.shape == b.shape
        assert not a.numel() or (a - b).abs().max() <= tolerance * scale


@settings(max_examples=60, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    inputs=st.integers(1, 12),
    outputs=st.integers(1, 60),
    batch=st.integers(0, 70),
    hidden=st.sampled_from([1, 8, 32, 128]),
    basis=st.sampled_from(BASES),
    order=st.sampled_from([2, 3, 5]),
    spread=st.sampled_from([1.0, 1e-3, 100.0]),
    seed=st.integers(0, 99),
)
def test_second_derivatives_and_their_gradients(form, inputs, outputs, batch, hidden, basis, order, spread, seed):
    family = make_basis(basis, 5, order if basis in ("bspline", "rbf") else 3, (-1.0, 1.0))
    tensors = layer(inputs, outputs, hidden, family.numbers, seed, spread)  # kinks coincide, prompts lie on some
    x = 1.5 * torch.randn(batch, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ours, theirs = evaluations(form, x.requires_grad_(), tensors, family)
    weights = torch.linspace(-1, 1, outputs, dtype=torch.float64) / max(1.0, spread * hidden)
    pair = [derivatives(evaluate(), x, tensors, weights) for evaluate in (ours, theirs)]
    assert_agree(*pair, 1e-10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("hidden", [8, 128])
def test_single_precision_is_as_close_to_the_truth_as_the_definition(form, hidden):
    family = make_basis("bspline", 5, 3, (-1.0, 1.0))
    tensors = layer(20, 60, hidden, family.numbers, 1, dtype=torch.float32)
    x = (1.5 * torch.randn(70, 20, generator=torch.Generator().manual_seed(0))).requires_grad_()
    weights = torch.linspace(-1, 1, 60) / hidden
    single = [derivatives(evaluate(), x, tensors, weights) for evaluate in evaluations(form, x, tensors, family)]
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    point = x.detach().double().requires_grad_()
    _, truth = evaluations(form, point, exact, family)
    for ours, theirs, true in zip(*single, derivatives(truth(), point, exact, weights.double()), strict=True):
        error, rounding = (float((found - true).norm() / true.norm()) for found in (ours, theirs))
        assert error <= max(1e-5, 2 * rounding)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", LAYOUTS)
def test_inputs_and_gradients_of_any_layout(form, kind):
    family = make_basis("bspline", 5, 3, (-1.0, 1.0))
    tensors = layer(6, 50, 8, family.numbers, 3)
    whole = torch.randn(9, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x, weights = LAYOUTS[kind](whole).detach().requires_grad_(), LAYOUTS[kind](torch.ones(9, 50, dtype=torch.float64))
    pair = [derivatives(evaluate(), x, tensors, weights / 8) for evaluate in evaluations(form, x, tensors, family)]
    assert_agree(*pair, 1e-10)


def network(kind):
    torch.manual_seed(4)
    options = {"dropout": 0.0, "head_dropout": 0.0, "in_channels": 2, "num_classes": 3}
    makers = {
        "generated, auto": lambda: MetaKAN([4, 60, 50, 1], hidden_dim=64),
        "generated, tiled": lambda: MetaKAN([4, 60, 50, 1], mode="tiled"),
        "dense, tiled": lambda: KAN([4, 20, 30, 1], mode="tiled"),
        "affine": lambda: MetaKAN([4, 20, 30, 1], meta_activation="none"),
        "several learners": lambda: MetaKAN([4, 60, 50, 1], num_clusters=3, hidden_dim=64),
        "convolution": lambda: MetaConvKAN((4, 3), strides=(1, 2), mode="tiled", **options),
    }
    model = makers[kind]().double()
    shape = (3, 2, 6, 6) if kind == "convolution" else (7, 4)
    return model, (1.2 * torch.randn(shape, dtype=torch.float64)).requires_grad_()


def by_definition(model):
    """A copy of a network whose layers generate and contract all numbers at once."""
    exact = copy.deepcopy(model)
    for part in exact.layers:
        part.mode = "materialized"
    return exact


KINDS = ("generated, auto", "generated, tiled", "dense, tiled", "affine", "several learners", "convolution")


@pytest.mark.parametrize("kind", KINDS)
def test_networks_solve_differential_equations_like_the_definition(kind):
    model, x = network(kind)
    exact = by_definition(model)
    pair = []
    for each in (model, exact):
        y = each(x).flatten(1)
        flat = residual(y, x, torch.ones_like(y)) if x.dim() == 2 else wave(y, x)
        parameters = [p for p in each.parameters() if p.requires_grad]
        pair.append([y, *flat[0], *torch.autograd.grad(flat[1], [x, *parameters], allow_unused=True)])
    used = [[part for part in parts if part is not None] for parts in pair]
    assert_agree(*used, 1e-10)
    assert exact.mode_used == "materialized"


def wave(y, x):
    (slope,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope.sin().sum(), x, create_graph=True)
    return [slope, second], (second + slope).square().sum()


@pytest.mark.parametrize("kind", ["generated, auto", "generated, tiled", "dense, tiled"])
def test_third_and_fourth_derivatives(kind):
    model, x = network(kind)
    exact = by_definition(model)
    pair = []
    for each in (model, exact):
        found = [each(x).sin().sum()]
        for _ in range(4):
            (slope,) = torch.autograd.grad(found[-1].sum(), x, create_graph=True)
            found.append(slope[:, :1])
        pair.append([*found, *torch.autograd.grad(found[3].sum(), list(each.parameters()))])
    for ours, theirs in zip(*pair, strict=True):
        assert (ours - theirs).abs().max() <= 1e-9 * max(1.0, float(theirs.detach().abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_parameters_are_differentiated_again(kind):
    model, x = network(kind)
    exact = by_definition(model)
    pair = []
    for each in (model, exact):
        wanted = [x, *(p for p in each.parameters() if p.requires_grad)]
        first = torch.autograd.grad(each(x).sin().sum(), wanted, create_graph=True)
        sharpness = sum(gradient.square().sum() for gradient in first)
        pair.append([*first, *torch.autograd.grad(sharpness, wanted, allow_unused=True)])
    assert_agree(*([part for part in parts if part is not None] for parts in pair), 1e-10)


def test_no_numbers_and_no_features_are_kept_for_higher_derivatives():
    """What autograd saves between the passes has the size of inputs, outputs and parameters."""
    torch.manual_seed(0)
    model, x = MetaKAN([6, 130, 120, 1], mode="tiled"), torch.rand(50, 6, requires_grad=True)
    sizes = set()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.add(t.numel()) or t, lambda t: t):
        y = model(x)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        torch.autograd.grad(slope[:, 0].sum(), x, create_graph=True)
    assert max(sizes) <= 130 * 120


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("dim", [0, 2])
def test_derivatives_of_features_mixed_and_projected(basis, dim, evaluation):
    family = make_basis(basis, 4, 3, (-1.0, 1.0))
    x = 1.6 * torch.randn(4, 5, 3, dtype=torch.float64)
    x[0, 0], x[0, 1] = 30, -30
    points, orders = x.clone().requires_grad_(), (0, 1, 2, 3)
    planes = [family.planes(points)]
    for _ in orders[1:]:
        rows = [torch.autograd.grad(plane.sum(), points, create_graph=True)[0] for plane in planes[-1]]
        planes.append(torch.stack(rows))
    factors = tuple(torch.randn_like(x) for _ in orders)
    expected = sum(factor * plane for factor, plane in zip(factors, planes, strict=True)).movedim(0, dim)
    own = family.derivatives(x, orders, dim)
    assert torch.allclose(own.mixed(factors), expected, rtol=1e-11, atol=1e-11)
    gradient = torch.randn_like(expected)
    for found, plane in zip(own.project(gradient), planes, strict=True):
        assert torch.allclose(found, (gradient * plane.movedim(0, dim)).sum(dim), rtol=1e-11, atol=1e-10)


def test_points_that_are_not_finite_stay_in_their_limits():
    family = make_basis("bspline", 4, 3, (-1.0, 1.0))
    x = torch.tensor([[-torch.inf, torch.inf, 0.5]])
    first, second = family.derivatives(x, (1, 2), 2).project(torch.ones(1, 3, family.numbers))
    assert first.tolist()[0][:2] == [0, 1]
    assert second.tolist()[0][:2] == [0, 0]
    with native.disabled():
        others = family.derivatives(x, (1, 2), 2).project(torch.ones(1, 3, family.numbers))
    assert torch.allclose(torch.stack([first, second]), torch.stack(others), atol=1e-5)
