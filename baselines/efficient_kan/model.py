"""efficient-KAN (Blealtan 2024, efficientkan2024): a KAN whose layer is two matrix products.

The upstream package runs where it can be imported. Elsewhere `EfficientKAN` stands in for it: the same parameters
under the same names, the same initial distribution and the same forward pass, so that state dicts are exchangeable.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

UPSTREAM = "efficient_kan"
RELEASED_COEFFICIENTS, RELEASED_SCALES = 0.01, 0.1
"""Sizes of `initialise_as_released`: of a coefficient times the root of the numbers that a unit adds up, of a scale."""


def bspline_basis(x: Tensor, knots: Tensor, order: int) -> Tensor:
    """Return the B-splines of an order at `x`, by the recursion of Cox and de Boor.

    Args:
        x: Points, shape (batch, inputs).
        knots: Increasing knots of every input, shape (inputs, grid_size + 2·order + 1).
        order: Degree of the polynomials.

    Returns:
        Values, shape (batch, inputs, grid_size + order). Zero outside the knots; intervals are open on the right.
    """
    x = x.unsqueeze(-1)
    values = ((knots[:, :-1] <= x) & (x < knots[:, 1:])).to(x.dtype)
    for degree in range(1, order + 1):
        first, last = knots[:, : -degree - 1], knots[:, degree + 1 :]
        span = knots[:, degree:] - knots[:, :-degree]
        # one expression: a name for either half would keep it alive, and raise the peak above that of upstream
        values = (x - first) / span[:, :-1] * values[..., :-1] + (last - x) / span[:, 1:] * values[..., 1:]
    return values


class EfficientKANLayer(nn.Module):
    """Maps (batch, inputs) to (batch, outputs) by `base_weight`·SiLU(x) + (`spline_weight`·`spline_scaler`)·B(x)."""

    def __init__(self, inputs: int, outputs: int, grid_size: int, spline_order: int, noise_scale: float, grid_range):
        super().__init__()
        self.grid_size, self.spline_order = grid_size, spline_order
        low, high = grid_range
        knots = low + (high - low) / grid_size * torch.arange(-spline_order, grid_size + spline_order + 1)
        self.register_buffer("grid", knots.repeat(inputs, 1))
        self.base_weight = nn.Parameter(torch.empty(outputs, inputs))
        self.spline_weight = nn.Parameter(torch.empty(outputs, inputs, grid_size + spline_order))
        self.spline_scaler = nn.Parameter(torch.empty(outputs, inputs))
        self.reset_parameters(noise_scale)

    @torch.no_grad()
    def reset_parameters(self, noise_scale: float) -> None:
        """Draw new parameters; the splines start as least-squares fits to uniform noise at the grid points."""
        outputs, inputs = self.base_weight.shape
        nn.init.kaiming_uniform_(self.base_weight, a=math.sqrt(5))
        curves = noise_scale / self.grid_size * (torch.rand(self.grid_size + 1, inputs, outputs) - 0.5)
        points = self.grid.narrow(1, self.spline_order, self.grid_size + 1).T
        basis = bspline_basis(points, self.grid, self.spline_order)
        fit = torch.linalg.lstsq(basis.transpose(0, 1), curves.transpose(0, 1))
        self.spline_weight.copy_(fit.solution.permute(2, 0, 1))
        nn.init.kaiming_uniform_(self.spline_scaler, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        base = functional.linear(functional.silu(x), self.base_weight)
        basis = bspline_basis(x, self.grid, self.spline_order).flatten(1)
        weight = (self.spline_weight * self.spline_scaler.unsqueeze(-1)).flatten(1)
        return base + functional.linear(basis, weight)


class EfficientKAN(nn.Module):
    """A stack of `EfficientKANLayer`; `width` is [inputs, hidden, …, outputs]."""

    def __init__(self, width, *, grid_size=5, spline_order=3, noise_scale=0.1, grid_range=(-1.0, 1.0)):
        super().__init__()
        self.layers = nn.ModuleList(
            EfficientKANLayer(inputs, outputs, grid_size, spline_order, noise_scale, grid_range)
            for inputs, outputs in pairwise(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


@torch.no_grad()
def initialise_as_released(network: nn.Module) -> None:
    """Draw all parameters as the dense KAN of MetaKAN's released code does (zhao2025, `kan.py`).

    Base weights are uniform in ±1/√inputs. Coefficients are normal with a standard deviation of
    0.01 / √(inputs · (grid_size + spline_order)), their scales normal around 1 with one of 0.1: the splines start at
    almost nothing, and at the same size on every edge.

    Args:
        network: Has `layers` with `base_weight` and `spline_scaler`, shape (outputs, inputs), and `spline_weight`,
            shape (outputs, inputs, grid_size + spline_order): of upstream or of `EfficientKAN`.
    """
    for layer in network.layers:
        _, inputs, numbers = layer.spline_weight.shape
        layer.base_weight.uniform_(-(inputs**-0.5), inputs**-0.5)
        layer.spline_weight.normal_(0.0, RELEASED_COEFFICIENTS / math.sqrt(inputs * numbers))
        layer.spline_scaler.normal_(1.0, RELEASED_SCALES)


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    width, grid_range = problem.width(settings), list(problem.grid_range)
    options = {name: settings[name] for name in ("grid_size", "spline_order")}
    if find_spec(UPSTREAM):
        from efficient_kan import KAN

        network = KAN(width, scale_noise=settings["noise_scale"], grid_range=grid_range, **options)
    else:
        network = EfficientKAN(width, noise_scale=settings["noise_scale"], grid_range=grid_range, **options)
    if settings.get("initialisation") == "released":
        initialise_as_released(network)
    return nn.Sequential(nn.Flatten(), network)


def describe(model: nn.Module) -> dict[str, str]:
    """Return which implementation runs."""
    own = isinstance(model[1], EfficientKAN)
    return {"implementation": "own formulation of efficient-kan" if own else "efficient_kan, upstream package"}


def memory_terms(problem, settings, batch_size: int) -> dict:
    """Return the terms of the memory model, float32 (metakan/MEMORY.md)."""
    grid, order, pairs = settings["grid_size"], settings["spline_order"], list(pairwise(problem.width(settings)))
    numbers = grid + order
    layers = [_layer_memory(*pair, grid, order, batch_size, first=not at) for at, pair in enumerate(pairs)]
    edges = [inputs * outputs for inputs, outputs in pairs]
    return {
        "tensors": [count * each for count in edges for each in (1, numbers, 1)],
        "buffers": sum(inputs for inputs, _ in pairs) * (grid + 2 * order + 1),
        "layers": layers,
    }


def _layer_memory(inputs: int, outputs: int, grid: int, order: int, batch: int, first: bool) -> dict[str, int]:
    """Return the bytes of one layer; `moments` are what it holds at those that can be the highest, in elements."""
    size, edges, numbers = batch * inputs, inputs * outputs, grid + order
    values = [grid + 2 * order - degree for degree in range(order + 1)]  # splines of each degree
    weight = edges * numbers
    if first:  # nothing is differentiated with respect to the batch, so the recursion keeps nothing
        saved = size * (1 + numbers)
        moments = [size * (1 + values[0] + 3 * values[1]), saved + weight, size + 3 * weight]
    else:  # the recursion keeps the splines of each degree and, from the second on, the factors of both halves
        chain = sum(values[:-1]) + 2 * sum(values[2:]) + 2
        saved = size * (chain + numbers) + weight
        moments = [
            size * (chain + 3 * numbers),
            saved + weight + size * numbers,
            size * (chain + numbers) + 3 * weight,
            size * (chain + 2 * numbers + values[-2] + 1) + weight + edges,
        ]
    transient = max(*moments, saved) - saved + batch * outputs
    return {"gradient": 4 * edges * (numbers + 2), "saved": 4 * saved, "transient": 4 * transient}
