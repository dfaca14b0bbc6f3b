"""SiLU(t) = t * sigmoid(t) with its limits: 0 at minus infinity, where the product is not a number."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .forward_mode import push


def silu_values(x: Tensor, derivative: int = 0) -> Tensor:
    r"""Return a derivative of SiLU, elementwise and unrecorded.

    With :math:`s` the logistic function, :math:`(t s)^{(n)} = n s^{(n-1)} + t s^{(n)}`, and the derivatives of s are
    polynomials in s. The argument is kept finite where it is multiplied by a number that has fallen to 0.
    """
    limits = torch.finfo(x.dtype)
    if derivative == 0:
        return nn.functional.silu(x.clamp(min=limits.min))
    if derivative == 1:
        return pull_silu(torch.ones_like(x), x)
    gate = torch.sigmoid(x)
    outer = _polynomial(_gate_coefficients(derivative - 1), gate).mul_(derivative)
    return outer.addcmul_(x.clamp(limits.min, limits.max), _polynomial(_gate_coefficients(derivative), gate))


def pull_silu(gradient: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of ``x`` from that of SiLU, elementwise and unrecorded."""
    limits = torch.finfo(x.dtype)
    return torch.ops.aten.silu_backward(gradient, x.clamp(limits.min, limits.max))


def gate_polynomials(derivative: int) -> tuple[list[int], list[int]]:
    """Return the coefficients, in powers 0, 1, ... of the logistic function, of f and g: the derivative is f + t g."""
    if derivative == 0:
        return [], [0, 1]
    alone = [derivative * c for c in _gate_coefficients(derivative - 1)]
    return [0, *alone], [0, *_gate_coefficients(derivative)]


def _gate_coefficients(derivative: int) -> list[int]:
    """Return the coefficients of a derivative of the logistic function in powers 1, 2, ... of itself."""
    coefficients = [1]
    for _ in range(derivative):  # (s^p)' = p s^p - p s^(p+1)
        raised = [power * value for power, value in enumerate(coefficients, start=1)]
        coefficients = [a - b for a, b in zip([*raised, 0], [0, *raised], strict=True)]
    return coefficients


def _polynomial(coefficients: list[int], gate: Tensor) -> Tensor:
    total = torch.full_like(gate, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total.mul_(gate).add_(coefficient)
    return total.mul_(gate)


class _SiLU(torch.autograd.Function):
    """A derivative of SiLU; keeps only ``x`` and differentiates to any order, backward and forward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, derivative):
        return silu_values(x, derivative)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.derivative = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * silu(ctx.saved_tensors[0], ctx.derivative + 1), None

    @staticmethod
    def jvp(ctx, tangent, _):
        return push(tangent, lambda x: silu(x, ctx.derivative + 1), *ctx.saved_tensors)


@torch.compiler.allow_in_graph  # one node for torch.compile, as the splines are
def silu(x: Tensor, derivative: int = 0) -> Tensor:
    """Return SiLU or a derivative of it, elementwise; differentiable to any order."""
    if torch.jit.is_tracing():  # a trace that is to be stored holds torch's operators only
        return silu_values(x, derivative)
    return _SiLU.apply(x, derivative)
