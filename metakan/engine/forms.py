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
from torch._C._functorch import peek_interpreter_stack

from .. import native
from ..bases import Basis
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
    """One way to evaluate a layer; holds no tensors. ``tensors`` are the source's unless a form says otherwise."""

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
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        saved, needed = ctx.saved_tensors, _wanted(ctx)
        if gradient is None:
            return (None,) * len(ctx.needs_input_grad)
        (x, *tensors), kept = saved[: ctx.count], saved[ctx.count :]
        with torch.autocast(x.device.type, enabled=False):
            if torch.is_grad_enabled() or native.needs_operators(gradient, *saved):
                return (None, *_differentiable(ctx.form, (x, *tensors), gradient.to(x.dtype), needed))
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


def _wanted(ctx: Any) -> tuple[bool, ...]:
    """Return which inputs' gradients this pass asks for, the form excepted.

    `torch.autograd.grad` with respect to the points alone, as in a differential equation, needs none of the parameters,
    although they require gradients.
    """
    needed = ctx.needs_input_grad[1:]
    try:
        nodes = [node for node, _ in ctx.next_functions[-len(needed) :]]
    except AttributeError:  # in a transform of `torch.func` there are no nodes to ask
        return needed
    if len(nodes) != len(needed):
        return needed
    return tuple(need and (node is None or _executed(node)) for need, node in zip(needed, nodes, strict=True))


def _executed(node: Any) -> bool:
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:  # how torch says that this is a leaf whose gradient is asked for
        return True


def _differentiable(form: Form, inputs: tuple[Tensor, ...], gradient: Tensor, needed: tuple[bool, ...]):
    """Return the gradients of a form's inputs, recorded by autograd; None where they are not needed.

    They are taken at views: an input may depend on another, as a layer's input does on what all layers share, and its
    part of that gradient is not this layer's to give.
    """
    if peek_interpreter_stack() is not None:  # in a transform of `torch.func`, whose levels autograd does not know
        return _pulled_in_transform(form, inputs, gradient, needed)
    with torch.enable_grad():
        inputs = tuple(tensor.view_as(tensor) for tensor in inputs)
        y = form.plain(*inputs)
        wanted = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
        found = iter(torch.autograd.grad(y, wanted, gradient, create_graph=True, allow_unused=True))
    return tuple(next(found) if need else None for need in needed)


def _pulled_in_transform(form: Form, inputs: tuple[Tensor, ...], gradient: Tensor, needed: tuple[bool, ...]):
    def plain(*asked: Tensor) -> Tensor:
        own = iter(asked)
        return form.plain(*(next(own) if need else tensor for tensor, need in zip(inputs, needed, strict=True)))

    asked = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
    _, pull = torch.func.vjp(plain, *asked)
    found = iter(pull(gradient))
    return tuple(next(found) if need else None for need in needed)
