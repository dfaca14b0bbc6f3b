"""Gradients that come in batches, as torch gives them to a hand-written backward: taken member by member.

That is `torch.autograd.grad` with ``is_grads_batched``, the vectorised Jacobians of `torch.autograd.functional`, and
`torch.func.vmap` around a gradient of what was evaluated outside. The kernels do not see such a batch, and a form
needs no more memory for its members one after another than for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack

from .. import native

Gradients = tuple[Tensor | None, ...]


def memberwise(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Let the ``backward`` of a function of autograd meet plain gradients only."""

    @wraps(backward)
    def each(ctx: Any, *gradients: Tensor | None) -> Gradients:
        batched = next((gradient for gradient in gradients if gradient is not None and _batched(gradient)), None)
        if batched is None:
            return backward(ctx, *gradients)
        level = _Legacy(batched) if _functorch.is_legacy_batchedtensor(batched) else _Functorch(batched)
        given = [None if gradient is None else level.members(gradient) for gradient in gradients]
        with level.left():
            own = [[part if part is None else part[index] for part in given] for index in range(level.size)]
            found = list(zip(*(each(ctx, *parts) for parts in own), strict=True))
            stacked = [None if parts[0] is None else torch.stack(parts) for parts in found]
        return tuple(None if parts is None else level.batch(parts) for parts in stacked)

    return each


def _batched(gradient: Tensor) -> bool:
    if _functorch.is_legacy_batchedtensor(gradient):
        return True
    return _functorch.is_batchedtensor(gradient) and not native.differentiated(gradient)


class _Functorch:
    """A level of `torch.func.vmap`."""

    def __init__(self, batched: Tensor):
        self.level = _functorch.maybe_get_level(batched)
        self.size = _functorch.get_unwrapped(batched).shape[_functorch.maybe_get_bdim(batched)]

    @contextmanager
    def left(self) -> Iterator[None]:
        """Leave the level and those inside of it, in which torch forbids to ask tensors for gradients."""
        with ExitStack() as stack:
            while (top := _functorch.peek_interpreter_stack()) is not None and top.level() >= self.level:
                stack.enter_context(temporarily_pop_interpreter_stack())
            yield

    def members(self, gradient: Tensor) -> Tensor:
        """Return the members of a gradient along a first dimension."""
        return _functorch._remove_batch_dim(gradient, self.level, self.size, 0)

    def batch(self, members: Tensor) -> Tensor:
        """Return members along a first dimension as torch's batch of them."""
        return _functorch._add_batch_dim(members, 0, self.level)


class _Legacy:
    """A level of the batches that autograd itself makes; the innermost that the gradient has."""

    def __init__(self, batched: Tensor):
        innermost = torch._C._vmapmode_increment_nesting() - 1
        torch._C._vmapmode_decrement_nesting()
        for self.level in range(innermost, 0, -1):
            self.size = torch._remove_batch_dim(batched, self.level, 0, 0).shape[0]
            if self.size:  # else the size that was given: the gradient has no such level
                break

    def left(self) -> AbstractContextManager[None]:
        """Stay where autograd's own batches are made; plain tensors are plain there."""
        return nullcontext()

    def members(self, gradient: Tensor) -> Tensor:
        """Return the members of a gradient along a first dimension."""
        return torch._remove_batch_dim(gradient, self.level, self.size, 0)

    def batch(self, members: Tensor) -> Tensor:
        """Return members along a first dimension as torch's batch of them."""
        return torch._add_batch_dim(members, 0, self.level)
