"""Higher derivatives of forms, in closed form: nothing but inputs of layers is kept, and no graph of operators.

A layer on a linear basis is ``y_o = sum_i f_oi(x_i)``. With ``f^(n)`` the n-th derivative of the edge functions, all
that its derivatives with respect to ``x`` consist of are

* push: ``sum_i v_i f_oi^(n)(x_i)``, the layer on features ``v b^(n)(x)`` in place of ``b(x)``, and
* pull: ``sum_o g_o f_oi^(n)(x_i)`` for each input, whose transpose that is.

The derivative of each is again made of both, so that two functions of autograd go round in a circle. What they do not
cover (gradients of parameters that are to be differentiated again, transforms) is the differentiable definition's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack

from .. import native
from .batched import memberwise

Function = Callable[..., tuple[Tensor, ...]]


class Closed(Protocol):
    """A form that knows push and pull, without a graph."""

    def plain(self, x: Tensor, *tensors: Tensor) -> Tensor: ...

    def push(self, x: Tensor, tensors: tuple[Tensor, ...], factors: dict[int, Tensor]) -> Tensor:
        """Return the layer on the sum of ``factor * b^(n)(x)``, given the factor of each n."""

    def pull(
        self,
        x: Tensor,
        tensors: tuple[Tensor, ...],
        gradient: Tensor,
        orders: tuple[int, ...],
        factors: dict[int, Tensor] | None = None,
        pushed: Tensor | None = None,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
        """Return the pull of the output's ``gradient`` for each n, and with ``factors`` the gradients that `push` gives
        to ``tensors``; what that returns is then added to ``pushed``.
        """


def wanted(ctx: Any) -> tuple[bool, ...]:
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


def differentiable(
    plain: Function, inputs: tuple[Tensor, ...], gradients: tuple[Tensor | None, ...], needed: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """Return the gradients of a function's inputs, recorded by autograd; None where they are not needed.

    They are taken at views: an input may depend on another, as a layer's input does on what all layers share, and its
    part of that gradient is not this layer's to give.
    """
    if peek_interpreter_stack() is not None:  # in a transform of `torch.func`, whose levels autograd does not know
        found = iter(_pulled_in_transform(plain, inputs, gradients, needed))
        return tuple(next(found) if need else None for need in needed)
    with torch.enable_grad():
        inputs = tuple(tensor.view_as(tensor) for tensor in inputs)
        pairs = [pair for pair in zip(plain(*inputs), gradients, strict=True) if pair[1] is not None]
        asked = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
        outputs, given = zip(*pairs, strict=True)
        found = iter(torch.autograd.grad(outputs, asked, given, create_graph=True, allow_unused=True))
    return tuple(next(found) if need else None for need in needed)


def _pulled_in_transform(plain, inputs, gradients, needed) -> tuple[Tensor, ...]:
    def chosen(*asked: Tensor) -> tuple[Tensor, ...]:
        own = iter(asked)
        outputs = plain(*(next(own) if need else tensor for tensor, need in zip(inputs, needed, strict=True)))
        return tuple(y for y, gradient in zip(outputs, gradients, strict=True) if gradient is not None)

    _, pull = torch.func.vjp(chosen, *(tensor for tensor, need in zip(inputs, needed, strict=True) if need))
    return pull(tuple(gradient for gradient in gradients if gradient is not None))


def in_circle(needed: tuple[bool, ...], parameters: int, *tensors: Tensor) -> bool:
    """Tell whether gradients that are to be differentiated again are those of push and pull."""
    learning = any(needed[len(needed) - parameters :])
    return not learning and peek_interpreter_stack() is None and not native.needs_operators(*tensors)


def slopes(form: Closed, x: Tensor, gradient: Tensor, *tensors: Tensor) -> Tensor:
    """Return the gradient of ``x``, to be differentiated again with respect to all but ``tensors``."""
    return _Pull.apply(form, x, gradient, *tensors)[0]


class _Pull(torch.autograd.Function):
    """``(x, g)`` to the pulls of g with the first and the second derivative of the edge functions.

    The second is there for the gradient of the first: what several directions ask of it is then added up by autograd.
    """

    @staticmethod
    def forward(form: Closed, x: Tensor, gradient: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        return form.pull(x, tensors, gradient, (1, 2))[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.form, *tensors = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output[1], *tensors)

    @staticmethod
    @memberwise
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        (second, x, gradient, *tensors), needed = ctx.saved_tensors, wanted(ctx)
        factors = {order: factor for order, factor in enumerate(given, start=1) if factor is not None}
        if not factors:
            return (None,) * len(ctx.needs_input_grad)
        again = torch.is_grad_enabled()
        everything = (x, gradient, *tensors, *factors.values())
        if not in_circle(needed if again else (), len(tensors) if again else 0, *everything) or (
            again and 2 in factors
        ):
            return (None, *differentiable(_pulled(ctx.form), (x, gradient, *tensors), given, needed))
        if again:
            found = given[0] * second if needed[0] else None
            pushed = _Push.apply(ctx.form, x, given[0], *tensors) if needed[1] else None
            return (None, found, pushed, *[None] * len(tensors))
        pushed, orders = torch.zeros_like(gradient) if needed[1] else None, (2, 3)[: 1 + (2 in factors)]
        pulled, parameters = ctx.form.pull(x, tuple(tensors), gradient, orders, factors, pushed)
        found = sum(factor * pulled[order - 1] for order, factor in factors.items())
        return (None, found, pushed, *parameters)


class _Push(torch.autograd.Function):
    """``(x, v)`` to the push of v with the first derivative of the edge functions."""

    @staticmethod
    def forward(form: Closed, x: Tensor, factor: Tensor, *tensors: Tensor) -> Tensor:
        return form.push(x, tensors, {1: factor})

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.form, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    @memberwise
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, factor, *tensors), needed = ctx.saved_tensors, wanted(ctx)
        again = torch.is_grad_enabled()
        asked = needed if again else (False,) * len(needed)
        if not in_circle(asked, len(tensors), x, factor, gradient, *tensors):
            return (None, *differentiable(_pushed(ctx.form), (x, factor, *tensors), (gradient,), needed))
        parameters: tuple[Tensor | None, ...] = (None,) * len(tensors)
        if again:
            first, second = _Pull.apply(ctx.form, x, gradient, *tensors)
        else:
            factors = {1: factor} if any(needed[2:]) else None
            (first, second), parameters = ctx.form.pull(x, tuple(tensors), gradient, (1, 2), factors)
        return (None, factor * second, first, *parameters)


def _pulled(form: Closed) -> Function:
    """Return what `_Pull` computes, by differentiable operations."""

    def both(x: Tensor, gradient: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        def first(point: Tensor) -> Tensor:
            return torch.func.vjp(lambda own: form.plain(own, *tensors), point)[1](gradient)[0]

        value, pull = torch.func.vjp(first, x)
        return value, pull(torch.ones_like(value))[0]  # an input meets itself only: the diagonal is all

    return both


def _pushed(form: Closed) -> Function:
    """Return what `_Push` computes, by differentiable operations."""

    def push(x: Tensor, factor: Tensor, *tensors: Tensor) -> tuple[Tensor]:
        y, pull = torch.func.vjp(lambda own: form.plain(own, *tensors), x)
        _, transposed = torch.func.vjp(lambda gradient: pull(gradient)[0], torch.zeros_like(y))
        return transposed(factor)

    return push
