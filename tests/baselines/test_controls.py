"""The controls: counts that match MetaKAN's, and forward passes against loops over the edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kanbench.base import seeds
from kanbench.baselines import build, discovery
from kanbench.tasks.task import Problem

IMAGES = Problem("classification", inputs=784, outputs=10)
SMALL = Problem("function_fitting", inputs=3, outputs=2)


def made(name: str, problem: Problem, **overrides):
    """Return the module and a model of a method."""
    method = discovery.discover()[name.partition("-")[0]].methods[name]
    settings = discovery.resolve(method, problem.family, overrides)
    with seeds.seeded(0, "initialisation"):
        return build.load_model_module(method.baseline), build.build(method, settings, problem)


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


CASES = [
    (IMAGES, {"hidden_width": 32, "depth": 1, "hidden_dim": 32}),
    (IMAGES, {"hidden_width": 64, "depth": 2, "prompt_dim": 3, "num_clusters": "per_layer"}),
    (SMALL, {"hidden_width": 5, "depth": 3, "grid_size": 10, "hidden_dim": 16}),
    (SMALL, {"hidden_width": 1, "depth": 1, "hidden_dim": 1}),
]


@pytest.mark.parametrize(("problem", "axes"), CASES)
def test_the_mlp_is_within_one_hidden_unit_of_metakan(problem, axes):
    module, model = made("mlp_matched", problem, **axes)
    _, reference = made("metakan-relu", problem, **axes)
    target, facts = count(reference), module.describe(model)
    assert (facts["target_parameters"], facts["parameters"]) == (target, count(model))
    depth, hidden = axes["depth"], facts["width"][1]
    assert facts["width"] == [problem.inputs, *[hidden] * depth, problem.outputs]

    def parameters(size: int) -> int:
        return count(made("mlp", problem, hidden_width=size, depth=depth)[1])

    near = [parameters(size) for size in (hidden - 1, hidden + 1) if size]
    assert parameters(hidden) == count(model)
    assert all(abs(count(model) - target) <= abs(other - target) for other in near)


def test_the_mlp_may_match_the_dense_kan_instead():
    module, model = made("mlp_matched", IMAGES, match="kan")
    facts = module.describe(model)
    assert facts["target_parameters"] == 228_672  # 25408 edges with 9 numbers
    assert facts["width"] == [784, 288, 10]
    assert facts["parameters"] == 784 * 288 + 288 + 288 * 10 + 10


def test_the_mlp_computes_what_an_mlp_of_that_width_computes():
    _, model = made("mlp_matched", SMALL, hidden_width=5, depth=2)
    _, plain = made("mlp", SMALL, hidden_width=model.width[1], depth=2)
    plain.load_state_dict({name.removeprefix("layers."): value for name, value in model.state_dict().items()})
    x = torch.rand(7, 3)
    torch.testing.assert_close(model(x), plain(x), atol=0, rtol=0)


def test_without_hidden_layers_there_is_nothing_to_match():
    module, model = made("mlp_matched", SMALL, depth=0)
    assert module.describe(model)["width"] == [3, 2]


@pytest.mark.parametrize(("problem", "axes"), CASES)
def test_the_ranks_bring_the_low_rank_kan_nearest_to_metakan(problem, axes):
    module, model = made("low_rank_kan", problem, **axes)
    _, reference = made("metakan-relu", problem, **axes)
    facts = module.describe(model)
    assert (facts["target_parameters"], facts["parameters"]) == (count(reference), count(model))
    units = [sum(factor.shape[0] for factor in layer.parameters()) for layer in model.layers]
    assert abs(count(model) - count(reference)) <= max(max(units) / 2, sum(units) - count(reference))
    assert facts["ranks"] == [layer.output_factor.shape[1] for layer in model.layers]


def loop(model_layer, x: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return Σ_i Σ_b w_oib b_b(x_i), edge by edge, with the basis of the layer."""
    y = np.zeros((len(x), numbers.shape[0]))
    for o, i, b in np.ndindex(numbers.shape):
        y[:, o] += numbers[o, i, b] * model_layer.basis.planes(torch.tensor(x[:, i]))[b].numpy()
    return y


def test_the_low_rank_kan_equals_a_loop_over_its_edges_and_starts_like_a_dense_one():
    _, model = made("low_rank_kan", SMALL, hidden_width=4, depth=1)
    layer, x = model.double().layers[0], torch.rand(8, 3, dtype=torch.float64).numpy() * 3 - 1.5
    outer, inner, basis = (p.detach().numpy() for p in (layer.output_factor, layer.input_factor, layer.basis_factor))
    numbers = np.zeros((4, 3, 9))
    for o, i, b in np.ndindex(numbers.shape):
        numbers[o, i, b] = sum(outer[o, r] * inner[i, r] * basis[b, r] for r in range(outer.shape[1]))
    torch.testing.assert_close(layer(torch.tensor(x)), torch.tensor(loop(layer, x, numbers)), atol=1e-12, rtol=0)
    _, wide = made("low_rank_kan", IMAGES, hidden_width=256, depth=1)
    deviation = wide.layers[0].numbers().detach().flatten(0, 1).std(0)
    torch.testing.assert_close(deviation, torch.tensor(wide.layers[0].basis.scales(784)), rtol=0.3, atol=0)


def test_the_shared_function_equals_a_loop_over_its_edges():
    _, model = made("shared_kan", SMALL, hidden_width=4, depth=1)
    layer, x = model.double()[1], torch.rand(8, 3, dtype=torch.float64).numpy() * 3 - 1.5
    weight, coefficients = layer.linear.weight.detach().numpy(), layer.coefficients.detach().numpy()
    numbers = weight[:, :, None] * coefficients
    expected = loop(layer, x, numbers) + layer.linear.bias.detach().numpy()
    torch.testing.assert_close(layer(torch.tensor(x)), torch.tensor(expected), atol=1e-12, rtol=0)


def test_the_shared_function_is_a_part_of_the_affine_metakan():
    _, model = made("shared_kan", SMALL, hidden_width=4, depth=0)
    _, affine = made("metakan_released-affine", SMALL, depth=0, hidden_dim=1, prompt_dim=1)
    layer, other = model.double()[1], affine.double()
    with torch.no_grad():
        layer.linear.bias.zero_()
        other.layers[0].prompts.copy_(layer.linear.weight.reshape(-1, 1))
        first, _, second = other.meta_learner(0)
        first.weight.fill_(1)
        second.weight.copy_(layer.coefficients.unsqueeze(1))
    x = torch.rand(8, 3, dtype=torch.float64) * 3 - 1.5
    torch.testing.assert_close(model(x), affine(x), atol=1e-7, rtol=0)
