"""Families that are linear in their numbers, a tile of inputs at a time, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import native
from ..bases import Basis
from . import budget
from .generators import make_generator
from .materialized import materialized
from .shape import Convolution, FullyConnected
from .sources import Dense, Generated


@dataclass(frozen=True)
class Setting:
    """What a tiled evaluation needs beside its tensors. ``product_dtype`` is the dtype of products under autocast."""

    source: Dense | Generated
    basis: Basis
    shape: FullyConnected | Convolution
    product_dtype: torch.dtype

    def bare(self) -> Setting:
        """Return the setting without its tensors, so that only what autograd saves keeps them alive."""
        nothing = self.source.rebuild(*[tensor.new_empty(0) for tensor in self.source.tensors()])
        return Setting(nothing, self.basis, self.shape, self.product_dtype)


def input_tiles(x: Tensor, y: Tensor, setting: Setting) -> list[tuple[int, int]]:
    """Return ranges of inputs (or input channels) whose temporaries fit the budget."""
    count = setting.basis.numbers
    arrays = 2 if native.serves(x) else 4
    features = arrays * count * x.numel() // max(x.shape[1], 1) * x.element_size()
    return budget.input_tiles(x, y, setting.source, setting.shape, count, features)[0]


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, setting, *tensors):
        ctx.setting = setting.bare()
        ctx.save_for_backward(x, *tensors)
        basis, shape, dtype = setting.basis, setting.shape, setting.product_dtype
        generator = make_generator(setting.source)
        y = shape.new_output(x, setting.source.parameter.shape[0])
        for start, stop in input_tiles(x, y, setting):
            features = basis.at(x[:, start:stop], shape.feature_dim).features()
            numbers = generator.numbers(start * shape.taps, stop * shape.taps)
            shape.contract_into(y, features.to(dtype), numbers.to(dtype))
        return y.to(dtype)

    @staticmethod
    def backward(ctx, gradient):
        x, *tensors = ctx.saved_tensors
        source = ctx.setting.source.rebuild(*tensors)
        setting = Setting(source, ctx.setting.basis, ctx.setting.shape, ctx.setting.product_dtype)
        with torch.autocast(x.device.type, enabled=False):
            if torch.is_grad_enabled():
                return _differentiable_backward(x, setting, gradient.to(x.dtype), ctx.needs_input_grad)
            return _backward(x, setting, gradient, ctx.needs_input_grad)


def _backward(x: Tensor, setting: Setting, gradient: Tensor, needed: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
    basis, shape, dtype = setting.basis, setting.shape, setting.product_dtype
    generator = make_generator(setting.source)
    x_gradient = torch.empty_like(x) if needed[0] else None
    learning = any(needed[2:])
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
    return (x_gradient, None, *found)


def _differentiable_backward(
    x: Tensor, setting: Setting, gradient: Tensor, needed: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """Higher derivatives: the gradient of the plain form, recorded by autograd."""
    with torch.enable_grad():
        y = materialized(x, setting.source.numbers(), setting.basis, setting.shape)
        return gradients_of(y, (x, *setting.source.tensors()), gradient, needed)


def gradients_of(y: Tensor, inputs: tuple[Tensor, ...], gradient: Tensor, needed: tuple[bool, ...]):
    """Return differentiable gradients in a Function's order: x, its setting (None), then the other tensors."""
    wanted = [tensor for tensor, need in zip(inputs, (needed[0], *needed[2:]), strict=True) if need]
    found = iter(torch.autograd.grad(y, wanted, gradient, create_graph=True, allow_unused=True))
    first, *others = (next(found) if need else None for need in (needed[0], *needed[2:]))
    return (first, None, *others)


def tiled(x: Tensor, setting: Setting) -> Tensor:
    """Return the layer's output, keeping only ``x`` and the source's tensors for backward."""
    return _Tiled.apply(x, setting, *setting.source.tensors())
