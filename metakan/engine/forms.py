"""What forms with a hand-written backward share: one function of autograd around them.

A form is a pair of plain functions of tensors. Around it, higher derivatives come from a differentiable definition of
the same layer, and `torch.func.vmap` takes the members of a batch one after another, so that a form needs no more
memory there than elsewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .. import native
from ..bases import Basis
from . import higher
from .batched import memberwise
from .materialized import materialized
from .shape import Convolution, FullyConnected
from .sources import Dense, Generated


@dataclass(frozen=True)
class Setting:
    """What an evaluation needs beside its tensors. ``product_dtype`` is the dtype of products under autocast."""

    source: Dense | Generated
    basis: Basis
    shape: FullyConnected | Convolution
    product_dtype: torch.dtype

    def over(self, *tensors: Tensor | None) -> Setting:
        """Return the same setting over other tensors of the source."""
        return replace(self, source=self.source.rebuild(*tensors))

    def bare(self) -> Setting:
        """Return the setting without its tensors, so that only what autograd saves keeps them alive."""
        return self.over(*[None] * len(self.source.tensors()))


class Form(ABC):
    """One way to evaluate a layer; holds no tensors. ``tensors`` are the source's unless a form says otherwise.

    A form that is ``closed`` also knows push and pull (see `higher`), on a linear basis.
    """

    closed = False

    def __init__(self, setting: Setting):
        self.setting = setting.bare()

    @abstractmethod
    def forward(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the output, and what backward should find beside ``x`` and ``tensors``."""

    @abstractmethod
    def backward(
        self,
        x: Tensor,
        tensors: tuple[Tensor, ...],
        kept: tuple[Tensor, ...],
        gradient: Tensor,
        needed: tuple[bool, ...],
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of ``x`` and of ``tensors``, those that are ``needed`` at least."""

    def plain(self, x: Tensor, *tensors: Tensor) -> Tensor:
        """Return the output by differentiable operations, for higher derivatives."""
        setting = self.setting.over(*tensors)
        return materialized(x, setting.source.numbers(), setting.basis, setting.shape)

    def __call__(self, x: Tensor, *tensors: Tensor) -> Tensor:
        return _Evaluation.apply(self, x, *tensors)[0]


class _Evaluation(torch.autograd.Function):
    @staticmethod
    def forward(form: Form, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        return form.forward(x, *tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.form, *tensors = inputs
        ctx.count = len(tensors)
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *output[1:])

    @staticmethod
    @memberwise
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        saved, needed = ctx.saved_tensors, higher.wanted(ctx)
        if gradient is None:
            return (None,) * len(ctx.needs_input_grad)
        (x, *tensors), kept = saved[: ctx.count], saved[ctx.count :]
        with torch.autocast(x.device.type, enabled=False):
            again, gradient_x = torch.is_grad_enabled(), gradient.to(x.dtype)
            if again and ctx.form.closed and higher.in_circle(needed, len(tensors), gradient, *saved):
                return (None, higher.slopes(ctx.form, x, gradient_x, *tensors), *[None] * len(tensors))
            if again or native.needs_operators(gradient, *saved):
                plain = lambda *inputs: (ctx.form.plain(*inputs),)
                return (None, *higher.differentiable(plain, (x, *tensors), (gradient_x,), needed))
            return (None, *ctx.form.backward(x, tuple(tensors), kept, gradient, needed))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], form: Form, *tensors: Tensor) -> tuple[Any, ...]:
        members = []
        for index in range(info.batch_size):
            pairs = zip(tensors, in_dims[1:], strict=True)
            own = [tensor if dim is None else tensor.select(dim, index) for tensor, dim in pairs]
            members.append(_Evaluation.apply(form, *own))
        outputs = tuple(torch.stack(parts) for parts in zip(*members, strict=True))
        return outputs, (0,) * len(outputs)
