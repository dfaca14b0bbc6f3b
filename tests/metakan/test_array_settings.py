"""Integers and arrays of NumPy (and of torch) are settings like Python's, everywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from metakan import (
    KAN,
    ConvKAN,
    KANConv2d,
    KANLinear,
    MetaConvKAN,
    MetaKAN,
    MetaKANConv2d,
    MetaKANLinear,
    MetaLearner,
    MixedLearner,
    assign_layers,
    conv_geometry,
    group_by_distribution,
    load_meta_learner,
    make_basis,
    published_channels,
    published_degree,
    regrid,
    save_meta_learner,
)
from metakan.bases import RBF, BSpline, Chebyshev, Gram

KINDS = {
    "int64": (np.int64, np.array, np.float64),
    "int32": (np.int32, lambda values: np.array(values, dtype=np.int32), np.float32),
    "uint8": (np.uint8, lambda values: np.array(values, dtype=np.uint8), np.float16),
    "torch": (torch.tensor, torch.tensor, torch.tensor),
    "list": (int, list, float),
}
GRID = {"grid_size": 4, "spline_order": 2}
CALLS = {
    "MetaKAN": lambda i, a, f: MetaKAN(
        a([3, 4, 5, 2]), grid_size=i(4), spline_order=i(2), prompt_dim=i(2), hidden_dim=i(5), num_clusters=i(2),
        clustering=a([0, 1, 0]), grid_range=(f(-0.5), f(2.0)),
    ),
    "MetaKAN, random": lambda i, a, f: MetaKAN(
        a([3, 4, 5, 2]), num_clusters=i(2), clustering="random", grouping_seed=i(3), grid_range=a([0, 2])
    ),
    "KAN": lambda i, a, f: KAN(a([3, 4]), grid_size=i(4), basis="rbf"),
    "KANLinear": lambda i, a, f: KANLinear(i(3), i(4), grid_size=i(4), basis="gram"),
    "MetaKANLinear": lambda i, a, f: MetaKANLinear(i(3), i(4), spline_order=i(4), basis="chebyshev", prompt_dim=i(2)),
    "KANConv2d": lambda i, a, f: KANConv2d(i(2), i(3), a([1, 3]), stride=i(2), padding=a([0, 1]), grid_size=i(4)),
    "MetaKANConv2d": lambda i, a, f: MetaKANConv2d(i(2), i(3), i(3), stride=a([1, 2]), hidden_dim=i(4)),
    "ConvKAN": lambda i, a, f: ConvKAN(a([3, 4]), in_channels=i(2), num_classes=i(3), strides=a([1, 2])),
    "MetaConvKAN": lambda i, a, f: MetaConvKAN(
        a([3, 4]), in_channels=i(2), num_clusters=i(2), kernel_size=i(3), padding=i(1), clustering=a([1, 0])
    ),
    "MetaLearner": lambda i, a, f: MetaLearner(i(1), i(4), i(3), gains=a([1, 2, 1])),
    "regrid": lambda i, a, f: regrid(MetaKAN([2, 1]).meta_learners[0], i(10), spline_order=i(3), grid_range=a([0, 1])),
}  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "list"])
@pytest.mark.parametrize("name", CALLS)
def test_modules_are_the_same(name, kind, tmp_path):
    models = []
    for make in (KINDS[kind], KINDS["list"]):
        torch.manual_seed(0)
        models.append(CALLS[name](*make))
    found, expected = models
    torch.testing.assert_close(found.state_dict(), expected.state_dict(), atol=0, rtol=0)
    assert repr(found) == repr(expected)
    for attribute in ("width", "channels", "clusters", "in_features", "prompt_dim"):
        value = getattr(found, attribute, None)
        assert json.dumps(value) == json.dumps(getattr(expected, attribute, None))
    if name.startswith("Meta"):
        save_meta_learner(found, tmp_path / "learners.pt")
        load_meta_learner(tmp_path / "learners.pt")


FUNCTIONS = {
    "assign_layers": lambda i, a, f: assign_layers(a([4, 8, 8, 2]), i(2), input_widths=a([1, 4, 8, 8])),
    "kmeans_in_out": lambda i, a, f: assign_layers(
        a([4, 8, 8, 2]), i(2), "kmeans_in_out", input_widths=a([1, 4, 8, 8])
    ),
    "explicit": lambda i, a, f: assign_layers(a([4, 8, 8]), i(2), a([1, 0, 1])),
    "random": lambda i, a, f: assign_layers(a([4, 8, 8, 4]), i(2), "random", seed=i(1)),
    "conv_geometry": lambda i, a, f: conv_geometry(a([4, 8]), i(1), a([1, 2])),
    "published_channels": lambda i, a, f: published_channels(i(8) if i is not torch.tensor else 8, f(0.5)),
    "published_degree": lambda i, a, f: published_degree("chebyshev", i(4)),
    "groups": lambda i, a, f: group_by_distribution([torch.arange(9.0).view(9, 1) * n for n in (1, 2, 30)], i(2)),
    "make_basis": lambda i, a, f: make_basis("bspline", i(4), i(2), a([0, 3])).describe(),
    "BSpline": lambda i, a, f: BSpline(i(4), i(2), (f(0.0), f(2.0))).describe(),
    "RBF": lambda i, a, f: RBF(i(4), i(2), (f(0.0), f(2.0))).describe(),
    "Gram": lambda i, a, f: Gram(i(4), i(9)).describe(),
    "Chebyshev": lambda i, a, f: Chebyshev(i(4)).describe(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_return_the_same_in_pythons_types(name, kind):
    found = FUNCTIONS[name](*KINDS[kind])
    assert json.dumps(found) == json.dumps(FUNCTIONS[name](*KINDS["list"]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: MetaKAN(np.array([3.0, 2.0])),
        lambda: MetaKAN(np.array([[3, 2]])),
        lambda: MetaKAN(np.array([True, True])),
        lambda: MetaKAN([3, 2], hidden_dim=np.float64(4)),
        lambda: MetaKAN([3, 2], hidden_dim=np.bool_(True)),
        lambda: MetaKAN([3, 2], hidden_dim=torch.tensor(True)),
        lambda: MetaKAN([3, 2], hidden_dim=np.array([4, 4])),
        lambda: KANConv2d(2, 2, np.array([3.0, 3.0])),
        lambda: assign_layers([3, 2], 1, np.array([0.0, 0.0])),
    ],
)
def test_what_is_no_integer_is_refused(call):
    with pytest.raises(TypeError, match="found .*, expected"):
        call()


def test_provenance_may_hold_numbers_and_arrays(tmp_path):
    learner = MetaLearner(1, 4, 9)
    provenance = {"seed": np.int64(3), "rates": np.array([0.5, 0.25]), "loss": torch.tensor(1.5), "f": np.float32(0.5)}
    save_meta_learner(learner, tmp_path / "learner.pt", provenance=provenance)
    found = load_meta_learner(tmp_path / "learner.pt").provenance
    assert found == {"seed": 3, "rates": [0.5, 0.25], "loss": 1.5, "f": 0.5}


GIVEN = {
    "network": lambda learner: MetaKAN([3, 2], meta_learners=learner),
    "layer": lambda learner: MetaKANLinear(3, 2, meta_learner=learner),
    "convolution": lambda learner: MetaKANConv2d(3, 2, meta_learner=learner),
    "images": lambda learner: MetaConvKAN((3, 2), meta_learners=[learner]),
    "exchange": lambda learner: MetaKAN([3, 2]).use_meta_learners(learner),
    "mixture": lambda learner: MixedLearner([MetaKAN([3, 2]).meta_learners[0], learner]),
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_meta_learner_of_another_dtype_or_device_is_refused_when_it_is_given(name):
    with pytest.raises(TypeError, match=r"found one in torch.float64, expected torch.float32"):
        GIVEN[name](MetaKAN([3, 2]).meta_learners[0].double())
    with pytest.raises(ValueError, match=r"found one on meta, expected it on cpu"):
        GIVEN[name](MetaKAN([3, 2]).meta_learners[0].to("meta"))
    GIVEN[name](MetaKAN([3, 2]).meta_learners[0])


def test_networks_take_meta_learners_of_their_own_dtype():
    learner = MetaKAN([3, 2]).meta_learners[0].double()
    network = MetaKAN([3, 2]).double()
    network.use_meta_learners(learner)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert MetaKAN([3, 2], meta_learners=learner)(torch.zeros(1, 3)).dtype == torch.float64
    finally:
        torch.set_default_dtype(before)
