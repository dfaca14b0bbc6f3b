"""Families that are linear in their numbers, a tile of inputs at a time, forward and backward."""

from __future__ import annotations

import torch
from torch import Tensor

from .closed import Closed, input_tiles
from .forms import Setting
from .generators import make_generator


class Tiled(Closed):
    """Keeps only ``x`` and the source's tensors for backward."""

    def forward(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor]:
        setting = self.setting.over(*tensors)
        basis, shape, dtype = setting.basis, setting.shape, setting.product_dtype
        generator = make_generator(setting.source)
        y = shape.new_output(x, setting.source.parameter.shape[0])
        for start, stop in input_tiles(x, y, setting):
            features = basis.at(x[:, start:stop], shape.feature_dim).features()
            numbers = generator.numbers(start * shape.taps, stop * shape.taps)
            shape.contract_into(y, features.to(dtype), numbers.to(dtype))
        return (y.to(dtype),)

    def backward(self, x, tensors, kept, gradient, needed):
        return _backward(x, self.setting.over(*tensors), gradient, needed)


def _backward(x: Tensor, setting: Setting, gradient: Tensor, needed: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
    basis, shape, dtype = setting.basis, setting.shape, setting.product_dtype
    generator = make_generator(setting.source)
    x_gradient = torch.empty_like(x) if needed[0] else None
    learning = any(needed[1:])
    for start, stop in input_tiles(x, gradient, setting):
        part = x[:, start:stop]
        point = basis.at(part, shape.feature_dim)
        edges = (start * shape.taps, stop * shape.taps)
        if learning:
            features = point.features().to(dtype)
            pulled = shape.numbers_gradient(gradient, features, edges[1] - edges[0], basis.numbers)
            del features
            generator.pull(*edges, pulled.to(x.dtype))
            del pulled
        if x_gradient is not None:
            numbers = generator.numbers(*edges).to(dtype)
            pulled = shape.features_gradient(gradient, numbers, part, basis.numbers).to(x.dtype)
            del numbers
            x_gradient[:, start:stop] = point.pull(pulled)
            del pulled
        del point
    found = generator.gradients() if learning else (None,) * len(setting.source.tensors())
    return (x_gradient, *found)
