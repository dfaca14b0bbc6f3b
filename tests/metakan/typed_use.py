"""How the public interface is used, for `mypy`, which checks it strictly: nothing is untyped, or of another type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

import torch
from torch import Tensor, nn

from metakan import (
    KAN,
    Basis,
    ConvKAN,
    KANConv2d,
    KANLinear,
    MetaConvKAN,
    MetaKAN,
    MetaKANConv2d,
    MetaKANLinear,
    MetaLearner,
    assign_layers,
    load_meta_learner,
    make_basis,
    published_channels,
    regrid,
    save_meta_learner,
    to_efficient_kan,
)


def networks(width: Sequence[int]) -> list[nn.Module]:
    """Networks and layers take widths, sizes and names, and nothing needs a cast."""
    meta = MetaKAN(width, grid_size=5, spline_order=3, basis="bspline", prompt_dim=1, hidden_dim=32, num_clusters=1)
    dense = assert_type(meta.materialize(), KAN)
    layers: list[nn.Module] = [MetaKANLinear(3, 4, grid_size=5), KANLinear(3, 4, grid_size=5)]
    layers += [MetaKANConv2d(1, 2, 3, grid_size=5), KANConv2d(1, 2, 3, grid_size=5)]
    return [meta, dense, KAN(width, grid_range=(-1.0, 1.0)), *layers]


def exchange(model: MetaKAN, path: str) -> dict[str, Tensor]:
    """What goes to other packages and files."""
    save_meta_learner(model, path, provenance={"task": "x1 * x2", "seed": 0})
    rule = assert_type(load_meta_learner(path), MetaLearner | list[MetaLearner])
    other = MetaKAN([6, 8, 1], meta_learners=rule)
    state = assert_type(to_efficient_kan(other), dict[str, Tensor] | nn.Module)
    assert isinstance(state, dict)
    return state


def bases(name: str) -> Basis:
    """Bases by name."""
    return make_basis(name, 5, 3, (-1.0, 1.0))


def groups(width: Sequence[int]) -> list[int]:
    """Which layers share a meta-learner."""
    return list(assign_layers(width, 2, "kmeans_width"))


def convolutions() -> list[nn.Module]:
    """Networks of the published stages."""
    channels = published_channels(4)
    return [MetaConvKAN(channels, hidden_dim=8), ConvKAN(channels)]


def finer(learner: MetaLearner) -> MetaLearner:
    """The same functions on another grid."""
    return regrid(learner, 10)


def values(model: MetaKAN, x: Tensor) -> Tensor:
    """A network is a module from tensors to tensors."""
    y: Tensor = model(x)
    return torch.relu(y)
