"""Kolmogorov-Arnold networks with generated weights, at the training memory of an MLP.

Networks: `MetaKAN`, `MetaConvKAN` (weights generated from prompts by meta-learners), `KAN`, `ConvKAN` (dense weights).
Layers: `MetaKANLinear`, `MetaKANConv2d`, `KANLinear`, `KANConv2d`, and `MetaLearner`, which layers may share.
Convolutions in published stages: `ConvNetwork`, `published_channels`, `conv_geometry`, `PUBLISHED_STAGES`.
Bases: `make_basis` and the classes of `metakan.bases`.
Sharing: `assign_layers`; learned, `MixedLearner` and `annealed`; from data, `regroup_by_inputs`, `regroup_by_numbers`
and what they are made of, `layer_inputs`, `unit_numbers`, `group_by_distribution`.
Exchange: `to_efficient_kan`, `to_pykan`; meta-learners in files: `save_meta_learner`, `load_meta_learner`; on
another grid: `regrid`.

Example:
    >>> import torch
    >>> from metakan import MetaKAN
    >>> model = MetaKAN([784, 32, 10], hidden_dim=32)
    >>> sum(p.numel() for p in model.parameters())
    25769
    >>> optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    >>> x, labels = torch.rand(64, 784), torch.randint(10, (64,))
    >>> loss = torch.nn.functional.cross_entropy(model(x), labels)
    >>> loss.backward()
    >>> optimiser.step()
    >>> dense = model.materialize()  # a KAN with the same values
    >>> from metakan import to_efficient_kan
    >>> sorted(to_efficient_kan(model))[:4]  # the same function in the layout of another package
    ['layers.0.base_weight', 'layers.0.grid', 'layers.0.spline_scaler', 'layers.0.spline_weight']
"""

from __future__ import annotations

from .bases import BASES, Basis, make_basis
from .checkpoint import load_meta_learner, save_meta_learner
from .clustering import assign_layers
from .conv import KANConv2d, MetaKANConv2d
from .conv_network import (
    PUBLISHED_STAGES,
    ConvKAN,
    ConvNetwork,
    MetaConvKAN,
    conv_geometry,
    published_channels,
    published_degree,
)
from .grouping import group_by_distribution, layer_inputs, regroup_by_inputs, regroup_by_numbers, unit_numbers
from .interop import to_efficient_kan, to_pykan
from .linear import KANLinear, MetaKANLinear
from .meta_learner import MetaLearner
from .mixture import MixedLearner, annealed
from .network import KAN, MetaKAN
from .regrid import regrid

__all__ = [
    "BASES",
    "Basis",
    "ConvKAN",
    "ConvNetwork",
    "KAN",
    "KANConv2d",
    "KANLinear",
    "MetaConvKAN",
    "MetaKAN",
    "MetaKANConv2d",
    "MetaKANLinear",
    "MetaLearner",
    "MixedLearner",
    "PUBLISHED_STAGES",
    "annealed",
    "assign_layers",
    "conv_geometry",
    "group_by_distribution",
    "layer_inputs",
    "load_meta_learner",
    "make_basis",
    "published_channels",
    "published_degree",
    "regrid",
    "regroup_by_inputs",
    "regroup_by_numbers",
    "save_meta_learner",
    "to_efficient_kan",
    "to_pykan",
    "unit_numbers",
]
