"""A state dict says what function its tensors stand for, and networks of another function refuse it."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
import torch
from safetensors.torch import load, save

from metakan import KAN, ConvKAN, KANConv2d, KANLinear, MetaConvKAN, MetaKAN, MetaKANConv2d, MetaKANLinear, MetaLearner
from metakan.bases import RBF, Wavelet
from metakan.definition import decoded, encoded


def linear(kind, **settings):
    return lambda: kind([3, 4, 2], **settings) if kind in (KAN, MetaKAN) else kind(3, 2, **settings)


def conv(kind, **settings):
    if kind in (ConvKAN, MetaConvKAN):
        return lambda: kind((4, 4), in_channels=4, **settings)
    return lambda: kind(4, 3, **settings)


PAIRS = {
    "grid range": (linear(MetaKAN), linear(MetaKAN, grid_range=(-2, 2)), "grid_range"),
    "grid range, dense": (linear(KAN), linear(KAN, grid_range=(-1, 3)), "grid_range"),
    "grid range, layer": (linear(KANLinear), linear(KANLinear, grid_range=(0, 1)), "grid_range"),
    "intervals and order": (linear(MetaKANLinear), linear(MetaKANLinear, grid_size=6, spline_order=2), "spline_order"),
    "grid range, rbf": (linear(KAN, basis="rbf"), linear(KAN, basis="rbf", grid_range=(-2, 2)), "grid_range"),
    "base": (linear(KAN, basis="rbf"), linear(KAN, basis=RBF(6, 3, (-1.0, 1.0), base=False)), "base"),
    "nodes": (linear(MetaKAN, basis="gram"), linear(MetaKAN, basis="gram", grid_size=9), "nodes"),
    "family": (linear(MetaKAN, basis="gram"), linear(MetaKAN, basis="legendre"), "legendre"),
    "wavelet's scale": (linear(KAN, basis="wavelet"), linear(KAN, basis=Wavelet("direct")), "direct"),
    "meta_activation": (linear(MetaKAN), linear(MetaKAN, meta_activation="tanh"), "activation='relu'"),
    "init": (linear(MetaKAN), linear(MetaKAN, init="released"), "init='scaled'"),
    "image grid range": (conv(ConvKAN), conv(ConvKAN, grid_range=(-2, 2)), "grid_range"),
    "prompt layout": (conv(MetaKANConv2d), conv(MetaKANConv2d, prompt_layout="released"), "prompt_layout"),
    "stride": (conv(KANConv2d), conv(KANConv2d, stride=2), "stride"),
    "kernel": (
        conv(KANConv2d, kernel_size=(1, 9), padding=4),
        conv(KANConv2d, kernel_size=(9, 1), padding=4),
        "kernel_size",
    ),
    "placement": (conv(MetaConvKAN), conv(MetaConvKAN, norm_placement="input"), "norm_placement"),
    "activation": (conv(ConvKAN, activation="silu"), conv(ConvKAN, activation="none"), "activation='silu'"),
    "normalisation": (conv(ConvKAN, norm="instance"), conv(ConvKAN, norm="batch"), "norm='instance'"),
}


def inputs(model):
    if isinstance(model, (KAN, MetaKAN, KANLinear, MetaKANLinear)):
        return torch.linspace(-1.5, 1.5, 15).view(5, 3)
    channels = model.in_channels if hasattr(model, "in_channels") else model.layers[0].in_channels
    return torch.linspace(-1.5, 1.5, 2 * channels * 81).view(2, channels, 9, 9)


def values(model):
    with torch.no_grad():
        return model.eval()(inputs(model))


@pytest.mark.parametrize("name", PAIRS)
def test_a_state_of_another_function_is_refused(name):
    make, other, named = PAIRS[name]
    torch.manual_seed(0)
    model, same, different = make(), make(), other()
    state = model.state_dict()
    for key, value in state.items():
        if key.endswith("running_var"):  # so that it matters where a norm stands
            value.fill_(4.0)
    same.load_state_dict(state)
    assert torch.equal(values(same), values(model))
    before = deepcopy(different.state_dict())
    with pytest.raises(RuntimeError, match=named):
        different.load_state_dict(state)
    with pytest.raises(RuntimeError, match="found .*, expected"):
        different.load_state_dict(state, strict=False)
    tensors = {key: value for key, value in state.items() if not key.endswith("_extra_state")}
    if name != "normalisation":  # batch normalisation has tensors of its own
        with pytest.warns(UserWarning, match="does not say what function"):
            different.load_state_dict(tensors, strict=False)  # what would have happened
        assert values(different).shape != values(model).shape or not torch.allclose(values(different), values(model))
    assert before.keys() == different.state_dict().keys()


def test_the_message_names_the_module_and_both_descriptions():
    model, other = MetaKANLinear(3, 2), MetaKANLinear(3, 2, grid_range=(-2, 2))
    before = other.prompts.detach().clone()
    with pytest.raises(
        RuntimeError, match=r"edges \(MetaEdges\): found basis=.*\[-1.0, 1.0\].* expected .*\[-2.0, 2.0\]"
    ):
        other.load_state_dict(model.state_dict())
    assert torch.equal(other.prompts, before)


@pytest.mark.parametrize(
    "make",
    [
        lambda: MetaKAN([3, 4, 5, 2], num_clusters=2, clustering=[0, 1, 0]),
        lambda: MetaConvKAN((4, 5, 4), in_channels=3, num_clusters=2, clustering=[0, 1, 0]),
    ],
)
def test_the_groups_of_layers_come_with_the_state(make):
    torch.manual_seed(0)
    model, other = make(), make()
    other.set_clusters([1, 0, 0])
    state = other.state_dict()
    model.load_state_dict(state)
    assert model.clusters == [1, 0, 0]
    assert torch.equal(values(model), values(other))
    state["_extra_state"] = encoded({**decoded(state["_extra_state"]), "clusters": [0, 0, 0]})
    with pytest.raises(RuntimeError, match="clustering: found"):
        model.load_state_dict(state)
    assert model.clusters == [1, 0, 0]


def test_a_state_that_does_not_say_it_is_taken_only_on_request():
    model, other = MetaKAN([3, 4, 2]), MetaKAN([3, 4, 2])
    old = {name: value for name, value in model.state_dict().items() if not name.endswith("_extra_state")}
    with (
        pytest.raises(RuntimeError, match=r"Missing key.*layers.0.edges._extra_state"),
        pytest.warns(match="strict=False"),
    ):
        other.load_state_dict(old)
    with pytest.warns(UserWarning, match=r"strict=False .*grid_range"):
        other.load_state_dict(old, strict=False)
    assert torch.equal(values(other), values(model))


@pytest.mark.parametrize("move", [torch.Tensor.half, torch.Tensor.bfloat16, torch.Tensor.float, torch.Tensor.clone])
def test_the_entry_survives_formats_and_dtypes(tmp_path, move):
    model, other = MetaKAN([3, 4, 2]), MetaKAN([3, 4, 2])
    stored = load(save({name: value.detach().clone() for name, value in model.state_dict().items()}))
    torch.save(stored, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    entries = {name: move(value) for name, value in state.items() if name.endswith("_extra_state")}
    assert len(entries) == 4
    other.load_state_dict({**state, **entries})
    assert torch.equal(values(other), values(model))


@pytest.mark.parametrize(
    "entry", [torch.empty(0), torch.tensor([255, 254]).byte(), encoded({}), torch.tensor([91, 93]).byte(), "text", 3]
)
def test_a_damaged_entry_is_refused(entry):
    model = MetaKANLinear(3, 2)
    state = {**model.state_dict(), "edges._extra_state": entry}
    with pytest.raises(
        RuntimeError, match=r"edges \(MetaEdges\): (what it stands for cannot be read|found basis=None)"
    ):
        model.load_state_dict(state)


def test_the_description_is_of_jsons_types_and_copies_keep_it():
    model = MetaConvKAN((4, 4), in_channels=2, num_clusters=2)
    for module in deepcopy(model).modules():
        if hasattr(module, "definition"):
            assert json.loads(json.dumps(module.definition())) == decoded(module.get_extra_state())


def test_layers_of_another_grid_do_not_share_a_meta_learner():
    learner = MetaKAN([3, 2], grid_range=(-2, 2)).meta_learners[0]
    with pytest.raises(ValueError, match=r"found one for the basis .*\[-2.0, 2.0\]"):
        MetaKANLinear(3, 2, meta_learner=learner)
    MetaKANLinear(3, 2, meta_learner=learner, grid_range=(-2, 2))
    MetaKANLinear(3, 2, meta_learner=MetaLearner(1, 4, 9))  # it does not say what its numbers are for
