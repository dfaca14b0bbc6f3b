"""How far the edge functions of one network are from those of another of the same widths."""

from __future__ import annotations

import torch
from torch import Tensor

from .network import KAN, MetaKAN


@torch.no_grad()
def feature_moments(network: KAN, x: Tensor) -> list[Tensor]:
    """Return the second moments of what each layer's edges see of inputs ``x (batch, in)``: ``(in, n_b, n_b)`` each.

    Raises:
        ValueError: for a basis whose edge functions are not linear in their numbers.
    """
    if not network.basis.linear:
        raise ValueError(f"basis: found {network.basis.name!r}, expected one whose edge functions are linear")
    found = []
    for layer in network.layers:
        features = layer.basis.features(x)
        found.append(torch.einsum("nia,nib->iab", features, features) / len(x))
        x = layer(x)
    return found


def misfit(model: KAN | MetaKAN, target: KAN, moments: list[Tensor]) -> Tensor:
    """Return the mean square of the edge functions' differences over that of the target's functions; mean over layers.

    Differentiable in the parameters of ``model``; those of the target get no gradient.

    Args:
        moments: `feature_moments` of the target at the inputs that count.
    """
    total = moments[0].new_zeros(())
    for own, other, moment in zip(model.layers, target.layers, moments, strict=True):
        wanted = other.numbers().detach()
        left, whole = (torch.einsum("oia,iab,oib->", each, moment, each) for each in (own.numbers() - wanted, wanted))
        total = total + left / whole
    return total / len(moments)
