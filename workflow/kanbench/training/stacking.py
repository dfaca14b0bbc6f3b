"""Tensors of several runs as one tensor each, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

ROUNDING = 100
"""Steps of the dtype's resolution by which the gradients of a stacked step may differ from those of single ones."""


class Apart(Exception):
    """These runs cannot be trained together; the message is the reason."""


def stack(tensors: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return stacked copies by name, and make the tensors of every model views of them."""
    shapes = [{name: (tensor.shape, tensor.dtype) for name, tensor in each.items()} for each in tensors]
    if any(shape != shapes[0] for shape in shapes):
        raise Apart("the models of the runs differ in the shapes of their tensors")
    stacked = {}
    for name, tensor in tensors[0].items():
        joint = torch.stack([each[name].detach() for each in tensors])
        for index, each in enumerate(tensors):
            each[name].data = joint[index]
        stacked[name] = nn.Parameter(joint, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else joint
    return stacked


def stack_batches(batches: Sequence[Any]) -> Any:
    """Return the batches of several runs as one, each tensor with the runs in front."""
    if isinstance(batches[0], Tensor):
        return torch.stack(list(batches))
    parts = list(zip(*batches, strict=True))
    if not all(isinstance(part, Tensor) for each in parts for part in each):
        raise Apart("the batches hold more than tensors")
    return tuple(torch.stack(list(part)) for part in parts)


def same(batches: Sequence[Any], before: Sequence[Any]) -> bool:
    """Tell whether every run has been given the very tensors of its last step again."""
    if len(batches) != len(before):
        return False
    pairs = [
        zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
        for one, other in zip(batches, before, strict=True)
    ]
    return all(one is other for pair in pairs for one, other in pair)


def agree(found: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> bool:
    """Compare lists of tensors up to rounding, relative to the largest number of the list."""
    if [each is None for each in found] != [each is None for each in expected]:
        return False
    return deviation(*zip(*((a, b) for a, b in zip(found, expected, strict=True) if a is not None), strict=True)) <= 1.0


def deviation(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest difference as a share of `ROUNDING` roundings of the largest number of `expected`."""
    scale = max(float(each.detach().abs().max()) for each in expected if each.numel())
    limit = ROUNDING * torch.finfo(expected[0].dtype).eps * scale
    pairs = [(one, other) for one, other in zip(found, expected, strict=True) if one.numel()]
    differences = [float((one - other).detach().abs().max()) for one, other in pairs]
    return max(0.0 if each == 0.0 else each / limit if limit else math.inf for each in differences)
