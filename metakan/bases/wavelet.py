"""Mexican-hat wavelets with a scale and a translation an edge (WavKAN; Bozorgasl and Chen, 2024)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import checks
from .base import Basis

NEGLIGIBLE = 64.0
"""Distance from the translation, in units of the scale, from which the wavelet is 0 in every dtype."""
_NORM = 2 / (math.sqrt(3) * math.pi**0.25)


class Wavelet(Basis):
    """``w psi((t - translation) / scale)`` with the Mexican hat ``psi(u) = c (1 - u^2) exp(-u^2 / 2)``.

    An edge has the numbers (w, scale, translation), which enter non-linearly, so that this family has no features.

    Args:
        scale: "log" (default) reads the second number as log(scale): the scale starts at 1 and stays positive.
            "direct" divides by the number itself, as the released meta-learning code does; a generated scale starts
            near 0 there and the network does not train.
    """

    name = "wavelet"
    linear = False
    numbers = 3
    amplitude = (True, False, False)
    gains = (1.0, 0.25, 0.5)

    def __init__(self, scale: str = "log"):
        self.scale = checks.choice("scale", scale, ("log", "direct"))

    def edge_sum(self, x: Tensor, numbers: Tensor) -> Tensor:
        if x.dtype == torch.float16:  # its range is too narrow for what follows
            return self.edge_sum(x.float(), numbers.float()).to(x.dtype)
        weight, scale, translation = numbers.unbind(-1)
        most = 0.98 * math.log(torch.finfo(x.dtype).max)
        far = math.exp(0.9 * most)  # both factors of u stay finite, since 0 times infinity is no gradient
        shifted = x.clamp(-far, far).unsqueeze(-2) - translation.clamp(-far, far)
        if self.scale == "log":
            u = (shifted * torch.exp(-scale.clamp(-most, most))).clamp(-NEGLIGIBLE, NEGLIGIBLE)
        else:
            width = scale.abs()
            outside = (shifted.abs() >= NEGLIGIBLE * width) | (width < NEGLIGIBLE / torch.finfo(x.dtype).max)
            u = torch.where(outside, NEGLIGIBLE, shifted) / torch.where(outside, 1.0, scale)
        square = u * u
        hats = (1 - square) * torch.exp(-0.5 * square)
        return torch.einsum("...oi,oi->...o", hats, weight * _NORM)

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "scale": self.scale}
