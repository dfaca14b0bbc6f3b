"""Uniform B-splines plus SiLU (Liu et al., 2024), in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import checks, native
from .base import Basis, Derivatives, Evaluation
from .forward_mode import push
from .local import LocalSplines
from .silu import pull_silu, silu, silu_values


def cardinal_spline(u: Tensor, order: int, derivative: int = 0) -> Tensor:
    r"""Return a derivative of the centred cardinal B-spline of degree ``order``, elementwise.

    With :math:`(a)_+ = \max(a, 0)` and the spline's symmetry, only half of the truncated powers are needed:
    :math:`\beta_k(u) = \frac{1}{k!} \sum_{j \le k/2} (-1)^j \binom{k+1}{j} (\frac{k+1}{2} - |u| - j)_+^k`
    (Schoenberg, 1946). The n-th derivative lowers the power and is odd in u for odd n.
    """
    power = order - derivative
    if power < 0:
        return torch.zeros_like(u)
    distance = u.abs()
    total = None
    for j in range((order + 1) // 2 + (order % 2 == 0)):
        edge = (order + 1) / 2 - j
        factor = (-1) ** j * math.comb(order + 1, j) / math.factorial(power)
        term = _truncated_power(distance, edge, power, factor)
        total = term if total is None else total.add_(term)
    return total.mul_(-u.sign()) if derivative % 2 else total


def _truncated_power(distance: Tensor, edge: float, power: int, factor: float) -> Tensor:
    if power == 0:
        return (distance < edge).to(distance.dtype).mul_(factor)
    step = (edge - distance).relu_()  # clamp_ has no batching rule, and vmap would go sample by sample
    if power == 1:
        return step.mul_(factor)
    if torch.jit.is_tracing():  # a trace is differentiated operator by operator, which must not find its values gone
        return step.pow(power) * factor
    result = step * step
    for _ in range(power - 2):
        result.mul_(step)
    return result.mul_(factor)


class _SplinePlanes(torch.autograd.Function):
    """The splines of ``x``, or a derivative of them, first; keeps only ``x`` and differentiates to any order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, centres, spacing, order, derivative):
        u = (x.unsqueeze(0) - centres.view(-1, *[1] * x.dim())).mul_(1 / spacing)
        values = cardinal_spline(u, order, derivative)
        return values.mul_(spacing**-derivative) if derivative else values

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, centres, ctx.spacing, ctx.order, ctx.derivative = inputs
        ctx.save_for_backward(x, centres)
        ctx.save_for_forward(x, centres)

    @staticmethod
    def backward(ctx, gradient):
        x, centres = ctx.saved_tensors
        slopes = _spline_planes(x, centres, ctx.spacing, ctx.order, ctx.derivative + 1)
        return (gradient * slopes).sum(0), None, None, None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        def slope(x: Tensor, centres: Tensor) -> Tensor:
            return _spline_planes(x, centres, ctx.spacing, ctx.order, ctx.derivative + 1)

        return push(tangent, slope, *ctx.saved_tensors)


@torch.compiler.allow_in_graph  # one node for torch.compile: traced into, its gradient is wrong in torch 2.11
def _spline_planes(x: Tensor, centres: Tensor, spacing: float, order: int, derivative: int) -> Tensor:
    if torch.jit.is_tracing():  # a trace that is to be stored holds torch's operators only
        return _SplinePlanes.forward(x, centres, spacing, order, derivative)
    return _SplinePlanes.apply(x, centres, spacing, order, derivative)


class _LocalEvaluation(Evaluation):
    """The splines that each point meets, scattered among zeros; their gradient is gathered from the same places.

    Places outside the grid point at SiLU, which is written last and pulled first.
    """

    def __init__(self, basis: BSpline, x: Tensor, dim: int):
        super().__init__(basis, x, dim)
        cell, self.powers = basis.local.locate(x)
        self.met = basis.local.met(cell)

    def features(self) -> Tensor:
        features = self.x.new_zeros(*self.x.shape, self.basis.numbers)
        features.scatter_(-1, self.met, self.basis.local.values(self.powers).movedim(0, -1).contiguous())
        features[..., -1] = silu_values(self.x)
        return features.movedim(-1, self.dim)

    def pull(self, gradient: Tensor) -> Tensor:
        gradient = gradient.movedim(self.dim, -1)
        result = pull_silu(gradient[..., -1].contiguous(), self.x)
        gradient[..., -1] = 0
        met = gradient.gather(-1, self.met)
        for place, slopes in enumerate(self.basis.local.values(self.powers, 1)):
            result.addcmul_(slopes, met[..., place])
        return result


class _NativeEvaluation(Evaluation):
    """The same by a kernel. Features lie along the dimension after the second, as layers want them."""

    def features(self) -> Tensor:
        return self.basis.local.kernel(self.x, 0).features(self.x)

    def pull(self, gradient: Tensor) -> Tensor:
        return self.basis.local.kernel(self.x, 1).pull(self.x, gradient.contiguous())


class _NativeDerivatives(Derivatives):
    """The same by a kernel."""

    def mixed(self, factors: tuple[Tensor, ...]) -> Tensor:
        kernel = self.basis.local.derivatives(self.x, self.orders)
        stacked = torch.stack(factors) if len(factors) > 1 else factors[0].contiguous()
        return kernel.mixed(self.x, stacked, self.dim)

    def project(self, gradient: Tensor) -> tuple[Tensor, ...]:
        kernel = self.basis.local.derivatives(self.x, self.orders)
        return kernel.project(self.x, gradient.contiguous(), self.dim).unbind(0)


class BSpline(Basis):
    """``[B_1(t) ... B_{G+k}(t), SiLU(t)]`` on uniform knots.

    The knots divide ``grid_range`` into ``grid_size`` (G) intervals and are extended by ``spline_order`` (k)
    intervals on either side, so that the splines sum to one inside ``grid_range`` and vanish outside the extended
    knots. The values equal `scipy.interpolate.BSpline.design_matrix`.
    """

    name = "bspline"

    def __init__(self, grid_size: int, spline_order: int, grid_range: tuple[float, float]):
        self.grid_size = grid_size = checks.integer("grid_size", grid_size)
        self.spline_order = spline_order = checks.integer("spline_order", spline_order)
        self.grid_range = grid_range = checks.interval("grid_range", grid_range)
        self.count = grid_size + spline_order
        self.spacing = (grid_range[1] - grid_range[0]) / grid_size
        self.numbers = self.count + 1
        self.amplitude = (True,) * self.numbers
        self.gains = (0.1,) * self.count + (1.0,)  # the functions start close to SiLU
        first = grid_range[0] + self.spacing * (1 - spline_order) / 2
        self.local = LocalSplines(self.count, spline_order, grid_range[0] - spline_order * self.spacing, self.spacing)
        self._centres = [first + self.spacing * index for index in range(self.count)]

    def centres(self, like: Tensor) -> Tensor:
        """Return the centres of the splines, (G+k,), in the dtype and on the device of ``like``."""
        return torch.tensor(self._centres, dtype=like.dtype, device=like.device)

    def planes(self, x: Tensor) -> Tensor:
        splines = _spline_planes(x, self.centres(x), self.spacing, self.spline_order, 0)
        return torch.cat([splines, silu(x).unsqueeze(0)])

    def slopes(self, x: Tensor) -> Tensor:
        return self.derivative(x, 1)

    def derivative(self, x: Tensor, order: int) -> Tensor:
        with torch.no_grad():
            splines = _spline_planes(x, self.centres(x), self.spacing, self.spline_order, order)
            return torch.cat([splines, silu_values(x, order).unsqueeze(0)])

    def derivatives(self, x: Tensor, orders: tuple[int, ...], dim: int) -> Derivatives:
        if native.DERIVES and native.serves(x) and self.spline_order <= native.MOST_ORDER:
            return _NativeDerivatives(self, x.contiguous(), orders, dim)
        return super().derivatives(x, orders, dim)

    def at(self, x: Tensor, dim: int) -> Evaluation:
        """Evaluate by local support where scattering is quick and in a fixed order."""
        if dim == 2 and native.serves(x) and self.spline_order <= native.MOST_ORDER:
            return _NativeEvaluation(self, x if x[:1].is_contiguous() else x.contiguous(), dim)
        if native.looked_up(x):
            return _LocalEvaluation(self, x, dim)
        return super().at(x, dim)

    def describe(self) -> dict[str, object]:
        return {
            "name": self.name,
            "grid_size": self.grid_size,
            "spline_order": self.spline_order,
            "grid_range": list(self.grid_range),
        }
