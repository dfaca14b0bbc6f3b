"""Which tensors the CPU kernels serve: one answer for everything that asks.

Code on addresses sees neither what a subclass, a transform or a tracer adds to a tensor, nor the flags by which torch
puts off work (negation, conjugation, zeros without memory). Such tensors take torch's operators, or are resolved.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch._C._functorch import (
    get_unwrapped,
    is_functorch_wrapped_tensor,
    is_gradtrackingtensor,
    peek_interpreter_stack,
)
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch._subclasses.functional_tensor import FunctionalTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

try:
    from . import _kernels as kernels
except ImportError:  # installed without a compiler, or imported from the source tree
    kernels = None

TYPES = {torch.float32: "float", torch.float64: "double"}
_RECORDING = (FakeTensorMode, FunctionalTensorMode, ProxyTorchDispatchMode)
_active = kernels is not None


def active() -> bool:
    """Tell whether the kernels are there and in use."""
    return _active


@contextmanager
def disabled() -> Iterator[None]:
    """Use torch's operators instead, for comparisons."""
    global _active
    before, _active = _active, False
    try:
        yield
    finally:
        _active = before


def looked_up(*tensors: Tensor) -> bool:
    """Tell whether reading tables is quick for these tensors: on the CPU, in a dtype of the kernels."""
    return all(tensor.device.type == "cpu" and tensor.dtype in TYPES for tensor in tensors)


def traced() -> bool:
    """Tell whether operators are being recorded: by torch.jit, make_fx, torch.export or torch.compile."""
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return True
    return any(isinstance(mode, _RECORDING) for mode in _get_current_dispatch_mode_stack())


def needs_operators(*tensors: Tensor) -> bool:
    """Tell whether only torch's own operators will do: for a graph that others will read, or in some transforms.

    A graph of torch.jit, make_fx or torch.export must hold for other sizes than those it was recorded with, and
    forward mode, `torch.func.grad` and its kind follow operators alone; a tensor on "meta" has only a shape to show. A
    fake tensor stands for a real one instead, `torch.func.vmap` is taken member by member (see `metakan.engine.forms`),
    and a graph of torch.compile holds forms as operators (see `metakan.engine.recorded`), outside of transforms.
    """
    if torch.jit.is_tracing() or torch.compiler.is_exporting():
        return True
    if torch.compiler.is_dynamo_compiling():
        return transformed()
    if any(tensor.is_meta or differentiated(tensor) for tensor in tensors) or forward_ad._current_level >= 0:
        return True
    return any(isinstance(mode, ProxyTorchDispatchMode) for mode in _get_current_dispatch_mode_stack())


@torch.compiler.assume_constant_result
def transformed() -> bool:
    """Tell whether this is inside a transform of `torch.func`, or in forward mode."""
    return peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def differentiated(tensor: Tensor) -> bool:
    """Tell whether `torch.func.grad` or one of its kind follows the tensor, below any `vmap`."""
    while is_functorch_wrapped_tensor(tensor):
        if is_gradtrackingtensor(tensor):
            return True
        tensor = get_unwrapped(tensor)
    return False


def has_values(*tensors: Tensor) -> bool:
    """Tell whether these are plain tensors whose numbers can be read, now and for good.

    Not so for subclasses (fake tensors among them), the wrapped tensors of `torch.func`, tensors without memory (meta,
    sparse), and while operators are recorded.
    """
    plain = all(
        type(tensor) in (Tensor, torch.nn.Parameter)
        and not tensor.is_meta
        and tensor.layout == torch.strided
        and not is_functorch_wrapped_tensor(tensor)
        for tensor in tensors
    )
    return plain and not traced()


def serves(*tensors: Tensor) -> bool:
    """Tell whether the kernels can be used on these tensors; flags are left to `ready`."""
    if torch.compiler.is_dynamo_compiling():
        return False
    return _active and looked_up(*tensors) and has_values(*tensors)


def simulated(tensor: Tensor) -> bool:
    """Tell whether a tensor only stands for one, as in a simulation of memory."""
    return isinstance(tensor, FakeTensor)


def transparent(*tensors: Tensor) -> bool:
    """Tell whether these are plain tensors, or stand for some: fake, or in a transform of `torch.func`."""
    return all(type(tensor) in (Tensor, torch.nn.Parameter) or simulated(tensor) for tensor in tensors)


def ready(tensor: Tensor) -> Tensor:
    """Return the tensor with what torch put off done: its memory then holds its numbers."""
    if tensor._is_zerotensor():
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    return tensor.resolve_conj().resolve_neg()
