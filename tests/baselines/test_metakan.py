"""The MetaKAN baselines: counts of either sharing, groups, and the released formulation against the package."""

from __future__ import annotations

import pytest
import torch

from kanbench.base import seeds
from kanbench.baselines import build, discovery
from kanbench.measurement import measure
from kanbench.tasks.task import Problem

IMAGES = Problem("classification", inputs=784, outputs=10)
SMALL = Problem("function_fitting", inputs=3, outputs=2)


def made(name: str, problem: Problem, **overrides):
    """Return the module and a model of a method."""
    method = discovery.discover()[name.partition("-")[0]].methods[name]
    settings = discovery.resolve(method, problem.family, overrides)
    with seeds.seeded(0, "initialisation"):
        return build.load_model_module(method.baseline), build.build(method, settings, problem)


@pytest.mark.parametrize(
    ("name", "clusters", "expected"),
    [
        ("metakan-relu", {"num_clusters": 1}, (25_408, 361)),
        ("metakan-linear", {"num_clusters": "per_layer"}, (25_408, 2 * 361)),
        ("metakan_released-relu", {}, (25_408, 2 * 361)),
        ("metakan_released-affine", {}, (25_408, 2 * 361)),
        ("metakan_released-shared", {}, (25_408, 361)),
    ],
)
def test_prompts_and_meta_learners_are_counted_apart(name, clusters, expected):
    module, model = made(name, IMAGES, hidden_width=32, depth=1, hidden_dim=32, **clusters)
    groups = build.parameter_groups(module, model, {})
    counts = measure.count_parameters(model, groups)
    assert counts["groups"] == dict(zip(("prompts", "meta_learners"), expected, strict=True))
    assert counts["trainable"] == counts["total"] == sum(expected)
    assert [prompts.shape for prompts in module.prompts(model)] == [(32, 784, 1), (10, 32, 1)]


def test_a_palette_is_two_weights_an_edge_and_two_functions_a_layer():
    module, model = made("metakan-palette", IMAGES, hidden_width=32, depth=1)
    counts = measure.count_parameters(model, build.parameter_groups(module, model, {}))
    assert counts["groups"] == {"prompts": 2 * 25_408, "meta_learners": 2 * 2 * 9}
    _, dense = made("tiled_kan", IMAGES, hidden_width=32, depth=1)
    assert 3 * counts["trainable"] <= sum(parameter.numel() for parameter in dense.parameters())


def test_the_edges_of_a_palette_are_mixtures_of_its_functions():
    module, model = made("metakan-palette", SMALL, hidden_width=4, depth=1)
    points = torch.linspace(-1, 1, 50)
    values = module.edge_functions(model, 0)(points).flatten(0, 1)
    functions = module.along_prompts(model, 0, torch.eye(2), points)
    prompts = module.prompts(model)[0].flatten(0, 1)
    torch.testing.assert_close(values, prompts @ functions)


def test_settings_that_are_not_the_papers_rename_no_run_that_leaves_them_alone():
    method = discovery.discover()["metakan"].methods["metakan-relu"]
    ours = {"amplitude", "separate", "shapes", "remainder_rank"}
    assert not ours & discovery.resolve(method, "pde", {}).keys()
    assert ours & discovery.resolve(method, "pde", {"amplitude": True}).keys() == {"amplitude"}


@pytest.mark.parametrize(
    ("ours", "clusters", "released"),
    [
        ("metakan-relu", "per_layer", "metakan_released-relu"),
        ("metakan-linear", "per_layer", "metakan_released-affine"),
        ("metakan-relu", 1, "metakan_released-shared"),
    ],
)
def test_the_released_formulation_computes_what_the_package_computes(ours, clusters, released):
    axes = {"hidden_width": 4, "depth": 1, "hidden_dim": 8, "prompt_dim": 2}
    module, theirs = made(released, SMALL, **axes)
    _, model = made(ours, SMALL, num_clusters=clusters, init="released", **axes)
    theirs, model = theirs.double(), model.double()
    with torch.no_grad():
        for layer, source in zip(model[1].layers, theirs.layers, strict=True):
            layer.prompts.copy_(source.prompts.view_as(layer.prompts))
        for learner, source in zip(model[1].meta_learners, theirs.meta_learners, strict=True):
            learner.hidden.load_state_dict(source[0].state_dict())
            learner.output.load_state_dict(source[2].state_dict())
    x = 3 * torch.rand(50, 3, dtype=torch.float64) - 1.5
    torch.testing.assert_close(model(x), theirs(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("metakan_released-relu", (2 / (1 + 784 * 32)) ** 0.5),
        ("metakan_released-shared", (2 / (784 + 32)) ** 0.5),
    ],
)
def test_the_released_initialisation_is_xavier_normal_with_zero_biases(name, deviation):
    _, model = made(name, IMAGES, hidden_width=32, depth=1, hidden_dim=64)
    hidden, _, output = model.meta_learner(0)
    assert model.layers[0].prompts.std().item() == pytest.approx(deviation, rel=0.02)
    assert output.weight.std().item() == pytest.approx((2 / (64 + 9)) ** 0.5, rel=0.15)
    assert not hidden.bias.any()
    assert not output.bias.any()


def test_no_tensor_of_the_released_form_has_two_names_where_layers_share():
    _, model = made("metakan_released-shared", SMALL, hidden_width=4, depth=2)
    state = model.state_dict()
    assert len({tensor.data_ptr() for tensor in state.values()}) == len(state), "safetensors refuses such a state"


def test_generated_weights_and_hidden_values_are_kept_for_backward():
    _, model = made("metakan_released-relu", IMAGES, hidden_width=32, depth=1, hidden_dim=32)
    x = torch.rand(1, 784, requires_grad=True)
    saved = measure.saved_for_backward(model, lambda: model(x).sum(), [x])
    assert saved >= 4 * 25_408 * (9 + 32), "n_b generated numbers and hidden_dim hidden values a prompt"


@pytest.mark.parametrize("name", ["metakan-relu", "tiled_kan"])
def test_the_record_says_which_mode_ran(name):
    module, model = made(name, SMALL, mode="materialized", hidden_width=4, depth=1)
    model(torch.rand(2, 3))
    assert module.describe(model)["mode"] == "materialized"
