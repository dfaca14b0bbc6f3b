"""A meta-learner without activation, in its exact factorised form at the cost of an MLP layer.

The generated numbers are affine in the prompt, ``w_oi = U z_oi + v`` with ``U = W2 W1`` and ``v = W2 b1 + b2``, so that
``y_o = sum_e sum_i Z_oie (b(x_i) . U_e) + sum_i b(x_i) . v``: a linear layer on ``prompt_dim`` learned functions that
all edges share, plus an offset that all outputs share. No edge number is ever formed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..bases import Basis
from .forms import Form
from .piecewise import KernelPieces, Pieces, Planes, blocks, make_functions
from .shape import Convolution, FullyConnected
from .sources import Dense, Generated


def factorisable(source: Dense | Generated, basis: Basis, shape: FullyConnected | Convolution) -> bool:
    """Tell whether the factorised form applies."""
    affine = isinstance(source, Generated) and source.activation == "none" and basis.linear
    return affine and (isinstance(shape, FullyConnected) or shape.prompt_layout == "per_edge")


def _coefficients(source: Generated) -> Tensor:
    """Return the shared functions' coefficients, U and then v, ``(prompt_dim + 1, n_b)``."""
    (w1, b1), (w2, b2) = source.hidden, source.output
    return torch.cat([(w2 @ w1).t(), (w2 @ b1 + b2).unsqueeze(0)])


def _shared(x: Tensor, coefficients: Tensor, basis: Basis) -> tuple[Tensor, Tensor]:
    """Return the functions of the prompts at ``x``, ``(prompt_dim, *x.shape)``, and the offset.

    The offset is ``x.shape``, or already summed over inputs, ``(batch, 1, ...)``.
    """
    functions = make_functions(basis, coefficients, x)
    if isinstance(functions, KernelPieces):
        return functions.reduced(x)
    flat = x.reshape(-1)
    shared = x.new_empty(len(coefficients) - 1, flat.numel())
    offset = torch.empty_like(flat)
    for start, stop in blocks(functions, flat.numel()):
        values = functions.values(flat[start:stop])
        shared[:, start:stop] = values[:-1]
        offset[start:stop] = values[-1]
    return shared.view(len(shared), *x.shape), offset.view_as(x)


def _shared_backward(
    x: Tensor, functions: Planes | Pieces, gradient: Tensor, wants_x: bool
) -> tuple[Tensor | None, Tensor]:
    """Return the gradients of ``x`` and of the coefficients from that of the functions, offset last."""
    flat, gradient = x.reshape(-1), gradient.flatten(1)
    x_gradient = torch.empty_like(flat) if wants_x else None
    for start, stop in blocks(functions, flat.numel()):
        found = functions.pull(flat[start:stop], gradient[:, start:stop], wants_x)
        if wants_x:
            x_gradient[start:stop] = found
    return (x_gradient.view_as(x) if wants_x else None), functions.gradients()


def _merge(shared: Tensor) -> Tensor:
    """Turn ``(prompt_dim, batch, in, ...)`` into ``(batch, in * prompt_dim, ...)``, prompts' numbers innermost."""
    return shared[0] if len(shared) == 1 else shared.movedim(0, 2).flatten(1, 2)


def _split(merged: Tensor, prompt_dim: int) -> Tensor:
    return merged.unflatten(1, (-1, prompt_dim)).movedim(2, 0)


def _mix(shared: Tensor, offset: Tensor, prompts: Tensor, shape: FullyConnected | Convolution) -> Tensor:
    """Return the output of the shared functions ``(prompt_dim, *x.shape)`` and offsets, differentiably."""
    if isinstance(shape, FullyConnected):
        return nn.functional.linear(_merge(shared), prompts.flatten(1)).add_(offset.sum(1, keepdim=True))
    ones = prompts.new_ones(1, 1, *shape.kernel_size)
    every = nn.functional.conv2d(offset.sum(1, keepdim=True), ones.to(offset), None, shape.stride, shape.padding)
    return shape.contract(shared.movedim(0, 2), prompts).add_(every)


class Factorised(Form):
    """Its tensors are the prompts and the few coefficients of the shared functions."""

    def forward(self, x: Tensor, prompts: Tensor, coefficients: Tensor) -> tuple[Tensor, ...]:
        setting, dtype = self.setting, self.setting.product_dtype
        shared, offset = (part.to(dtype) for part in _shared(x, coefficients, setting.basis))
        # One function is as large as the input, as the value of an MLP's activation is; more are evaluated again.
        kept = [shared] if len(shared) == 1 else []
        return _mix(shared, offset, prompts.to(dtype), setting.shape), *kept

    def backward(self, x, tensors, kept, gradient, needed):
        return _backward(self.setting, needed[0], x, *tensors, gradient, kept)

    def plain(self, x: Tensor, prompts: Tensor, coefficients: Tensor) -> Tensor:
        shared = torch.einsum("cj,j...->c...", coefficients, self.setting.basis.planes(x))
        return _mix(shared[:-1], shared[-1], prompts, self.setting.shape)

    @staticmethod
    def tensors(source: Generated) -> tuple[Tensor, Tensor]:
        """Return what the form is to be called with beside ``x``."""
        return source.prompts, _coefficients(source)


def _backward(setting, wants_x, x, prompts, coefficients, gradient, kept):
    shape, dtype, size = setting.shape, setting.product_dtype, prompts.shape[2]
    merged = _merge(kept[0] if kept else _shared(x, coefficients, setting.basis)[0].to(dtype))
    if isinstance(shape, FullyConnected):
        prompts_gradient = (gradient.t() @ merged).view_as(prompts).to(prompts.dtype)
        pulled = gradient @ prompts.flatten(1).to(dtype)
        offset = gradient.sum(1, keepdim=True)
    else:
        kernel = shape.kernel(prompts).to(dtype)
        pulled, kernel_gradient = shape.kernel_gradients(gradient, merged, kernel, (True, True))
        prompts_gradient = shape.numbers(kernel_gradient, prompts.shape[1], size).to(prompts.dtype)
        ones = gradient.new_ones(1, 1, *shape.kernel_size)
        single = gradient.new_empty(1).expand(x.shape[0], 1, *x.shape[2:])
        offset = shape.kernel_gradients(gradient.sum(1, keepdim=True), single, ones, (True, False))[0]
    del merged
    functions = make_functions(setting.basis, coefficients, x)
    if isinstance(functions, KernelPieces):
        x_gradient = functions.pull_reduced(x, _split(pulled, size).to(x.dtype), offset.to(x.dtype), wants_x)
        return x_gradient, prompts_gradient, functions.gradients()
    both = x.new_empty(size + 1, *x.shape)
    both[:-1] = _split(pulled, size)
    both[-1] = offset
    del pulled
    x_gradient, coefficient_gradient = _shared_backward(x, functions, both, wants_x)
    return x_gradient, prompts_gradient, coefficient_gradient
