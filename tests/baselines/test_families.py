"""Edge functions other than B-splines: counts, forward passes against loops over the edges, dense against generated."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scipy.special import eval_chebyt, eval_legendre
from sklearn.datasets import load_digits
from torch import nn

from kanbench.base import seeds
from kanbench.baselines import build, discovery
from kanbench.measurement import measure
from kanbench.tasks.task import Problem

IMAGES = Problem("classification", inputs=784, outputs=10)
SMALL = Problem("classification", inputs=6, outputs=3)
COORDINATES = Problem("function_fitting", inputs=2, outputs=1)


def made(name: str, problem: Problem, seed: int = 0, **overrides):
    """Return the module and a model of a method in double precision, its constants as well."""
    method = discovery.discover()[name.partition("-")[0]].methods[name]
    settings = discovery.resolve(method, problem.family, overrides)
    with seeds.seeded(seed, "initialisation"):
        module, model = build.load_model_module(method.baseline), build.build(method, settings, problem).double()
    for part in model.modules():
        if hasattr(part, "centres"):  # of fast_kan, rounded to single precision when they were made
            part.centres.copy_(
                torch.linspace(part.centres[0], part.centres[-1], len(part.centres), dtype=torch.float64)
            )
    return module, model


def points(rows: int = 9) -> torch.Tensor:
    return 4 * torch.rand(rows, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 2


@pytest.mark.parametrize(
    ("name", "trainable", "groups"),
    [
        ("fast_kan", 230_346, {}),
        ("meta_fast_kan", 27_401, {"prompts": 25_408, "meta_learners": 361, "other": 1_632}),
        ("wav_kan", 76_308, {}),
        ("meta_wav_kan-described", 25_655, {"prompts": 25_408, "meta_learners": 163, "other": 84}),
        ("meta_wav_kan-released", 25_655, {"prompts": 25_408, "meta_learners": 163, "other": 84}),
        ("polynomial_kan-legendre", 127_040, {}),
        ("meta_polynomial_kan-legendre", 25_637, {"prompts": 25_408, "meta_learners": 229}),
    ],
)
def test_counts_on_images_are_those_that_receive_a_gradient_in_the_released_code(name, trainable, groups):
    axes = {"hidden_width": 32, "depth": 1, "grid_size": 5, "spline_order": 3, "prompt_dim": 1, "hidden_dim": 32}
    module, model = made(name, IMAGES, **axes)
    counts = measure.count_parameters(model, build.parameter_groups(module, model, {}))
    assert counts["trainable"] == trainable
    assert {key: counts["groups"][key] for key in groups} == groups


def test_fast_kan_with_its_fixed_centres_has_the_count_that_is_published():
    _, model = made("fast_kan", IMAGES, hidden_width=32, depth=1)
    assert sum(p.numel() for p in model.parameters()) + sum(b.numel() for b in model.buffers()) == 230_362


def test_fast_kan_equals_a_loop_over_its_edges():
    _, model = made("fast_kan", SMALL, hidden_width=4, depth=1)
    layer, x = model[1], points().numpy()
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 2)
        layer.norm.bias.uniform_(-1, 1)
    centre, spread = x.mean(1, keepdims=True), x.var(1, keepdims=True)
    scaled = (x - centre) / np.sqrt(spread + 1e-5) * layer.norm.weight.detach().numpy()
    scaled = scaled + layer.norm.bias.detach().numpy()
    radial, base = layer.radial_weight.detach().numpy().reshape(4, 6, 8), layer.base.weight.detach().numpy()
    expected = np.tile(layer.base.bias.detach().numpy(), (len(x), 1))
    for o, i in np.ndindex(4, 6):
        for c in range(8):
            expected[:, o] += radial[o, i, c] * np.exp(-(((scaled[:, i] - (-2 + 4 * c / 7)) / (4 / 7)) ** 2))
        expected[:, o] += base[o, i] * x[:, i] / (1 + np.exp(-x[:, i]))
    torch.testing.assert_close(layer(torch.tensor(x)), torch.tensor(expected), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["fast_kan", "meta_fast_kan"])
def test_coordinates_are_not_normalised_and_a_single_number_never_is(name):
    def kinds(model):
        return [type(m.norm) for m in model.modules() if hasattr(m, "norm")]

    _, plain = made(name, COORDINATES, hidden_width=4, depth=1)
    assert kinds(plain) == [nn.Identity, nn.LayerNorm]
    _, single = made(name, COORDINATES, hidden_width=1, depth=1, layer_norm="all")
    assert kinds(single) == [nn.LayerNorm, nn.Identity]


@pytest.mark.parametrize("mode", ["materialized", "tiled"])
def test_meta_fast_kan_equals_fast_kan_with_the_generated_weights(mode):
    _, meta = made("meta_fast_kan", SMALL, hidden_width=4, depth=1, mode=mode)
    _, dense = made("fast_kan", SMALL, hidden_width=4, depth=1)
    with torch.no_grad():
        for source, target in zip(meta.layers, list(dense)[1:], strict=True):
            numbers = source.edges.numbers()
            target.radial_weight.copy_(numbers[..., :-1].flatten(1))
            target.base.weight.copy_(numbers[..., -1])
            target.base.bias.zero_()
            target.norm.load_state_dict(source.norm.state_dict())
    x = points()
    torch.testing.assert_close(meta(x), dense(x), atol=1e-12, rtol=0)
    (meta(x) ** 2).sum().backward()
    generated = [layer.edges.numbers() for layer in meta.layers]
    (dense(x) ** 2).sum().backward()
    outer = [torch.cat([layer.radial_weight.grad.view(*layer.base.weight.shape, -1),
                        layer.base.weight.grad.unsqueeze(-1)], dim=-1) for layer in list(dense)[1:]]  # fmt: skip
    expected = torch.autograd.grad(generated, [layer.edges.prompts for layer in meta.layers], outer)
    for layer, gradient in zip(meta.layers, expected, strict=True):
        torch.testing.assert_close(layer.edges.prompts.grad, gradient, atol=1e-10, rtol=1e-10)


def hat(u):
    return 2 / (math.sqrt(3) * math.pi**0.25) * (1 - u**2) * np.exp(-(u**2) / 2)


def test_wav_kan_equals_a_loop_over_its_edges_and_normalises_every_layer():
    _, model = made("wav_kan", SMALL, hidden_width=4, depth=1)
    assert [type(layer).__name__ for layer in model] == ["Flatten", *["WavKANLayer", "BatchNorm"] * 2]
    layer, x = model[1], points().numpy()
    with torch.no_grad():
        layer.scale.uniform_(0.5, 2)
        layer.translation.uniform_(-1, 1)
    scale, shift, weight = (p.detach().numpy() for p in (layer.scale, layer.translation, layer.weight))
    expected = np.zeros((len(x), 4))
    for o, i in np.ndindex(4, 6):
        expected[:, o] += weight[o, i] * hat((x[:, i] - shift[o, i]) / scale[o, i])
    found = layer(torch.tensor(x))
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-12, rtol=0)
    normalised = model[2](found)
    torch.testing.assert_close(normalised.mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(normalised.var(0, correction=0), torch.ones(4, dtype=torch.float64), atol=1e-2, rtol=0)


@pytest.mark.parametrize(("variant", "scale"), [("described", torch.exp), ("released", lambda number: number)])
def test_meta_wav_kan_equals_wav_kan_with_the_generated_numbers(variant, scale):
    _, meta = made(f"meta_wav_kan-{variant}", SMALL, hidden_width=4, depth=1)
    _, dense = made("wav_kan", SMALL, hidden_width=4, depth=1)
    with torch.no_grad():
        for source, target in zip(meta.network.layers, list(dense)[1::2], strict=True):
            weight, number, translation = source.numbers().unbind(-1)
            target.weight.copy_(weight)
            target.scale.copy_(scale(number))
            target.translation.copy_(translation)
    x = points()
    first, second = meta.network.layers[0](x), dense[1](x)
    torch.testing.assert_close(first, second, atol=1e-10, rtol=1e-8)
    torch.testing.assert_close(meta(x), dense(x), atol=1e-6, rtol=1e-6)


def test_scales_start_around_one_as_described_and_around_zero_as_released():
    _, described = made("meta_wav_kan-described", IMAGES, hidden_width=32, depth=1)
    _, released = made("meta_wav_kan-released", IMAGES, hidden_width=32, depth=1)
    _, dense = made("wav_kan", IMAGES, hidden_width=32, depth=1)
    assert (dense[1].scale == 1).all()
    scales = described.network.layers[0].numbers()[..., 1].exp()
    assert scales.median().item() == pytest.approx(1, abs=0.05)
    assert scales.min() > 0.2
    assert scales.max() < 5
    prompts = released.network.layers[0].prompts
    assert prompts.std().item() == pytest.approx((2 / (784 + 32)) ** 0.5, rel=0.02)
    assert released.network.layers[0].numbers()[..., 1].abs().median() < 0.05


def accuracy_on_digits(name: str, steps: int = 40) -> float:
    """Return the training accuracy on 256 handwritten digits after some full-batch steps of Adam."""
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images[:256] / 8 - 1, dtype=torch.float64)
    y = torch.tensor(labels[:256])
    _, model = made(name, Problem("classification", inputs=64, outputs=10), hidden_width=16, depth=1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return (model(x).argmax(1) == y).double().mean().item()


def test_meta_wav_kan_trains_as_described():
    assert accuracy_on_digits("meta_wav_kan-described") > 0.9


def test_as_released_nearly_all_wavelets_vanish_at_the_inputs():
    alive = {}
    for variant in ("described", "released"):
        module, model = made(f"meta_wav_kan-{variant}", IMAGES, hidden_width=32, depth=1)
        layer = model.network.layers[0]
        values = module.edge_functions(model, 0)(torch.linspace(-1, 1, 101, dtype=torch.float64))
        hats = values / layer.numbers()[..., :1].detach()
        alive[variant] = (hats.abs() > 1e-3).double().mean().item()
    assert alive["described"] > 0.95
    assert alive["released"] < 0.2


@pytest.mark.parametrize("name", ["wav_kan", "meta_wav_kan-described"])
def test_a_batch_of_one_meets_the_running_statistics(name):
    _, model = made(name, SMALL, hidden_width=4, depth=1)
    model(points())
    other = copy.deepcopy(model)
    one = points()[:1]
    torch.testing.assert_close(model(one), other.eval()(one))


@pytest.mark.parametrize(("family", "polynomial"), [("legendre", eval_legendre), ("chebyshev", eval_chebyt)])
def test_polynomial_edge_functions_are_those_of_scipy(family, polynomial):
    module, model = made(f"polynomial_kan-{family}", SMALL, hidden_width=4, depth=1, degree=5)
    numbers, x = model[1].layers[0].numbers().detach().numpy(), points()
    argument = np.tanh(x.numpy())
    expected = np.zeros((len(x), 4))
    for o, i in np.ndindex(4, 6):
        for degree in range(6):
            expected[:, o] += numbers[o, i, degree] * polynomial(degree, argument[:, i])
        if family == "legendre":
            expected[:, o] += numbers[o, i, -1] * nn.functional.silu(x[:, i]).numpy()
    torch.testing.assert_close(model[1].layers[0](x), torch.tensor(expected), atol=1e-12, rtol=0)


@pytest.mark.parametrize("family", ["legendre", "gram", "chebyshev"])
def test_generated_polynomials_equal_dense_ones_with_the_same_numbers(family):
    _, meta = made(f"meta_polynomial_kan-{family}", SMALL, hidden_width=4, depth=1)
    _, dense = made(f"polynomial_kan-{family}", SMALL, hidden_width=4, depth=1)
    with torch.no_grad():
        for source, target in zip(meta[1].layers, dense[1].layers, strict=True):
            target.edges.weight.copy_(source.numbers())
    torch.testing.assert_close(meta(points()), dense(points()), atol=1e-12, rtol=0)


PLAIN_LAYERS = {
    "metakan-relu": lambda model: model[1].layers[0],
    "tiled_kan": lambda model: model[1].layers[0],
    "polynomial_kan-gram": lambda model: model[1].layers[0],
    "meta_polynomial_kan-gram": lambda model: model[1].layers[0],
    "wav_kan": lambda model: model[1],
    "meta_wav_kan-described": lambda model: model.network.layers[0],
    "metakan_released-shared": lambda model: lambda x: model.layers[0](x, model.meta_learner(0)),
    "shared_kan": lambda model: model[1],
    "low_rank_kan": lambda model: model.layers[0],
    "fast_kan": lambda model: model[1],
    "meta_fast_kan": lambda model: model.layers[0],
}


@pytest.mark.parametrize("name", PLAIN_LAYERS)
def test_edge_functions_add_up_to_the_layer(name):
    options = {"layer_norm": "none"} if "fast" in name else {}
    module, model = made(name, SMALL, hidden_width=4, depth=1, **options)
    for parameter_name, parameter in model.named_parameters():
        if parameter_name in ("1.base.bias", "1.linear.bias"):  # belongs to the output, not to an edge
            nn.init.zeros_(parameter)
    x = points()
    values = [module.edge_functions(model, 0)(x[:, i])[:, i] for i in range(6)]
    assert values[0].shape == (4, len(x))
    torch.testing.assert_close(PLAIN_LAYERS[name](model)(x), sum(values).T, atol=1e-10, rtol=0)
