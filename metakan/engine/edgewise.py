"""Families that are not linear in their numbers (wavelets), a tile of inputs and samples at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import budget
from .forms import Form, Setting
from .generators import make_generator
from .materialized import materialized
from .shape import Convolution


def _ranges(x: Tensor, y: Tensor, setting: Setting) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return ranges of inputs and of samples; one tile evaluates every edge for every sample in it."""
    source, shape = setting.source, setting.shape
    outputs = source.parameter.shape[0]
    positions = math.prod(shape.output_size(x)) if isinstance(shape, Convolution) else 1
    # About eight arrays of (samples, outputs, inputs) live at once in the backward of a tile.
    sample = 8 * x.element_size() * positions * outputs * shape.taps
    points = sample * min(x.shape[0], 32)
    inputs, available = budget.input_tiles(x, y, source, shape, setting.basis.numbers, points)
    width = inputs[0][1] if inputs else 1
    return inputs, budget.tiles(x.shape[0], sample * width, available)


class Edgewise(Form):
    """Keeps only ``x`` and the source's tensors for backward."""

    def forward(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor]:
        setting = self.setting.over(*tensors)
        shape, generator = setting.shape, make_generator(setting.source)
        y = shape.new_output(x, setting.source.parameter.shape[0])
        inputs, samples = _ranges(x, y, setting)
        for start, stop in inputs:
            numbers = generator.numbers(start * shape.taps, stop * shape.taps)
            for first, last in samples:
                y[first:last] += materialized(x[first:last, start:stop], numbers, setting.basis, shape)
        return (y,)

    def backward(self, x, tensors, kept, gradient, needed):
        return _backward(x, self.setting.over(*tensors), gradient)


def _backward(x: Tensor, setting: Setting, gradient: Tensor) -> tuple[Tensor | None, ...]:
    shape = setting.shape
    generator = make_generator(setting.source)
    x_gradient = torch.zeros_like(x)
    inputs, samples = _ranges(x, gradient, setting)
    for start, stop in inputs:
        edges = (start * shape.taps, stop * shape.taps)
        numbers = generator.numbers(*edges).detach().requires_grad_()
        total = torch.zeros_like(numbers)
        for first, last in samples:
            with torch.enable_grad():
                part = x[first:last, start:stop].detach().requires_grad_()
                y = materialized(part, numbers, setting.basis, shape)
                found, numbers_gradient = torch.autograd.grad(y, (part, numbers), gradient[first:last])
            x_gradient[first:last, start:stop] = found
            total += numbers_gradient
        generator.pull(*edges, total)
    return (x_gradient, *generator.gradients())
