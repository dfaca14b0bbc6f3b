"""The plain definition in differentiable operations; keeps all features and numbers for backward."""

from __future__ import annotations

from torch import Tensor

from ..bases import Basis
from .shape import Convolution, FullyConnected


def materialized(x: Tensor, numbers: Tensor, basis: Basis, shape: FullyConnected | Convolution) -> Tensor:
    """Return the layer's output for ``x`` and ``numbers (out, edges, n_b)``."""
    if basis.linear:
        return shape.contract(basis.features(x, dim=shape.feature_dim), numbers)
    if isinstance(shape, FullyConnected):
        return basis.edge_sum(x, numbers)
    rows, (batch, height, width) = shape.patches(x)
    flat = basis.edge_sum(rows, numbers)
    return flat.view(batch, height, width, -1).permute(0, 3, 1, 2)
