"""Push and pull of layers (see `higher`): the contraction of a tile of inputs with other features in their place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import native
from . import budget
from .forms import Form, Setting
from .generators import make_generator
from .sources import Amplified, Dense, Generated


def input_tiles(x: Tensor, y: Tensor, setting: Setting) -> list[tuple[int, int]]:
    """Return ranges of inputs (or input channels) whose temporaries fit the budget."""
    count = setting.basis.numbers
    arrays = 2 if native.serves(x) else 4
    features = arrays * count * x.numel() // max(x.shape[1], 1) * x.element_size()
    return budget.input_tiles(x, y, setting.source, setting.shape, count, features)[0]


class Closed(Form):
    """A form on a linear basis whose higher derivatives keep inputs of layers only; numbers exist for a tile.

    Those that take no more than `budget.PLAIN_BYTES` live as long as the graph does.
    """

    closed = True

    def __init__(self, setting: Setting):
        super().__init__(setting)
        self._found: dict[tuple[tuple[int, int], ...], dict[str, Any]] = {}

    def _held(self, tensors: tuple[Tensor, ...]) -> dict[str, Any] | None:
        """Return what earlier calls for the same tensors found; None for tensors without values."""
        if not native.has_values(*tensors):
            return None
        return self._found.setdefault(tuple((tensor.data_ptr(), tensor._version) for tensor in tensors), {})

    def push(self, x: Tensor, tensors: tuple[Tensor, ...], factors: dict[int, Tensor]) -> Tensor:
        setting = self.setting.over(*tensors)
        shape, numbers = setting.shape, _Numbers(setting.source, self._held(tensors))
        y = shape.new_output(x, setting.source.parameter.shape[0])
        for start, stop in input_tiles(x, y, setting):
            features = mixed_features(setting, x, start, stop, factors)
            shape.contract_into(y, features, numbers(start * shape.taps, stop * shape.taps))
        return y

    def pull(self, x, tensors, gradient, orders, factors=None, pushed=None):
        setting = self.setting.over(*tensors)
        basis, shape, numbers = setting.basis, setting.shape, _Numbers(setting.source, self._held(tensors))
        found = tuple(torch.empty_like(x) for _ in orders)
        for start, stop in input_tiles(x, gradient, setting):
            part = x[:, start:stop]
            edges = (start * shape.taps, stop * shape.taps)
            if factors is not None:
                features = mixed_features(setting, x, start, stop, factors)
                if pushed is not None:
                    shape.contract_into(pushed, features, numbers(*edges))
                pulled = shape.numbers_gradient(gradient, features, edges[1] - edges[0], basis.numbers)
                del features
                numbers.generator.pull(*edges, pulled)
                del pulled
            pulled = shape.features_gradient(gradient, numbers(*edges), part, basis.numbers)
            points = basis.derivatives(part, orders, shape.feature_dim)
            for to, own in zip(found, points.project(pulled), strict=True):
                to[:, start:stop] = own
            del pulled
        return found, numbers.generator.gradients() if factors is not None else (None,) * len(tensors)


class _Numbers:
    """Numbers of ranges of edges; those of a small layer are made once for all calls that share ``held``."""

    def __init__(self, source: Dense | Generated | Amplified, held: dict[str, Any] | None):
        self.generator, self.held = make_generator(source, held), held
        outputs, self.edges = source.parameter.shape[:2]
        self.each = outputs * source.parameter.element_size()

    def __call__(self, start: int, stop: int) -> Tensor:
        if self.held is None or (start, stop) != (0, self.edges):
            return self.generator.numbers(start, stop)
        if "numbers" not in self.held:
            numbers = self.generator.numbers(start, stop)
            if self.each * self.edges * numbers.shape[-1] > budget.PLAIN_BYTES:
                return numbers
            self.held["numbers"] = numbers
        return self.held["numbers"]


def mixed_features(setting: Setting, x: Tensor, start: int, stop: int, factors: dict[int, Tensor]) -> Tensor:
    """Return the sum of ``factor * b^(n)(x)`` for a range of inputs, in the layout of the layer's features."""
    points = setting.basis.derivatives(x[:, start:stop], tuple(factors), setting.shape.feature_dim)
    return points.mixed(tuple(factor[:, start:stop] for factor in factors.values()))
