"""Forms with a hand-written backward as operators of torch, so that torch.compile records a layer whole.

A recorded graph holds tensors, numbers and strings: an operator finds the rest of its setting under a name. First
derivatives are operators as well; there are no second ones, as torch.compile has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..bases import Basis
from .forms import Form, Setting
from .shape import Convolution, FullyConnected
from .sources import Amplified, Dense, Generated

_FORMS: dict[str, Form] = {}
_PLAIN = torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()
"""What torch does with operators of eager code."""


def record(form: type[Form], setting: Setting, x: Tensor, tensors: tuple[Tensor, ...]) -> Tensor:
    """Return a form's output by an operator; ``tensors`` are those that the form is called with beside ``x``."""
    source = setting.source
    generated = source.shapes if isinstance(source, Amplified) else source
    activation = generated.activation if isinstance(generated, Generated) else None
    found = _name(form, type(source), activation, setting.basis, setting.shape, setting.product_dtype)
    return evaluate(found, x, list(tensors))


@torch.compiler.assume_constant_result
def _name(
    form: type[Form],
    source: type,
    activation: str | None,
    basis: Basis,
    shape: FullyConnected | Convolution,
    dtype: torch.dtype,
) -> str:
    """Return the name under which operators find a form, the same in every process."""
    family = f"{type(basis).__qualname__}{sorted(basis.describe().items())}"
    found = f"{form.__name__} of {source.__name__} {activation} on {family}, {shape}, {dtype}"
    if found not in _FORMS:
        empty = Generated(None, (None, None), (None, None), activation)
        made = {Dense: Dense(None), Generated: empty, Amplified: Amplified(None, empty)}[source]
        _FORMS[found] = form(Setting(made, basis, shape, dtype))
    return found


@contextmanager
def _eagerly(x: Tensor) -> Iterator[None]:
    """Run as eager code does: forms differentiate parts of themselves, which an operator's inside is cut off from."""
    with torch._C._ForceDispatchKeyGuard(*_PLAIN), torch.autocast(x.device.type, enabled=False), torch.no_grad():
        yield


@torch.library.custom_op("metakan::evaluate", mutates_args=())
def evaluate(name: str, x: Tensor, tensors: list[Tensor]) -> Tensor:
    """Return the output of the form of that name."""
    with _eagerly(x):
        return _FORMS[name].forward(x, *tensors)[0].contiguous()


@evaluate.register_fake
def _(name: str, x: Tensor, tensors: list[Tensor]) -> Tensor:
    setting = _FORMS[name].setting
    return setting.shape.new_output(x, tensors[0].shape[0]).to(setting.product_dtype)


@torch.library.custom_op("metakan::pull", mutates_args=())
def pull(name: str, gradient: Tensor, x: Tensor, tensors: list[Tensor], needed: list[bool]) -> list[Tensor]:
    """Return those gradients of ``x`` and ``tensors`` that are needed, from that of the output."""
    with _eagerly(x):
        found = _FORMS[name].backward(x, tuple(tensors), (), gradient, tuple(needed))
        return [part.contiguous() for part, need in zip(found, needed, strict=True) if need]


@pull.register_fake
def _(name: str, gradient: Tensor, x: Tensor, tensors: list[Tensor], needed: list[bool]) -> list[Tensor]:
    return [part.new_empty(part.shape) for part, need in zip([x, *tensors], needed, strict=True) if need]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.name, x, tensors = inputs
    ctx.save_for_backward(x, *tensors)


def _pull(ctx: Any, gradient: Tensor) -> tuple[None, Tensor | None, list[Tensor | None]]:
    x, *tensors = ctx.saved_tensors
    needed = [ctx.needs_input_grad[1], *ctx.needs_input_grad[2]]
    found = iter(pull(ctx.name, gradient, x, tensors, needed))
    own = [next(found) if need else None for need in needed]
    return None, own[0], own[1:]


def _refuse(ctx: Any, *gradients: Tensor) -> None:
    raise RuntimeError("a compiled layer has first derivatives only: for second ones leave it out of torch.compile")


evaluate.register_autograd(_pull, setup_context=_keep)
pull.register_autograd(_refuse)
