"""Tangents of functions with a hand-written derivative, which stay right when forward mode is nested."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.autograd import forward_ad


def push(tangent: Tensor, slope: Callable[..., Tensor], *saved: Tensor) -> Tensor:
    """Return ``tangent * slope(*saved)`` in the ``jvp`` of a `torch.autograd.Function`.

    Torch calls it with forward mode switched off, for all levels of `torch.func.jvp` and not only for the one that
    asks: an outer level would take the result for a constant and lose second derivatives without a word. Here it stays
    on, and what was saved is stripped of the tangent of the level that asks, since a tangent has none there.
    """
    with forward_ad._set_fwd_grad_enabled(True):
        return tangent * slope(*(forward_ad.unpack_dual(tensor, level=0).primal for tensor in saved))
