"""Poisson and Allen-Cahn problems in the unit ball of d dimensions, solved by minimising the residual.

Exact solution (the two-body benchmark of Hu et al. 2024, as MetaKAN uses it):

    u*(x) = (1 - |x|²) Σ_i c_i sin(g_i),   g_i = x_i + cos(x_{i+1}) + x_{i+1} cos(x_i),   i = 1 … d-1,   c_i ~ N(0, 1)

Poisson: Δu = f. Allen-Cahn: Δu + u - u³ = f. The factor 1 - |x|² of the network's output keeps the boundary condition
exactly. Points have a uniform direction and a uniform *radius*, as published, so they crowd around the origin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kanbench.base import seeds
from kanbench.tasks.task import EVALUATION_BATCH, SPLITS, Problem, Task, evaluating, fingerprint

DEFAULT_BATCH = 100
"""Points a step where the spec gives no batch size, as published."""
RESIDUAL_BATCH = 500
"""Points that one second-derivative graph of an evaluation holds at most."""


def sample_ball(count: int, dimension: int, generator: torch.Generator, device, dtype) -> Tensor:
    """Return points, shape `(count, dimension)`: uniform direction, uniform radius in [0, 1]."""
    direction = torch.randn(count, dimension, generator=generator, device=device, dtype=dtype)
    radius = torch.rand(count, 1, generator=generator, device=device, dtype=dtype)
    return radius * direction / direction.norm(dim=1, keepdim=True)


def boundary_factor(x: Tensor) -> Tensor:
    """Return 1 - |x|², shape `(points, 1)`."""
    return 1.0 - x.square().sum(dim=1, keepdim=True)


def exact_solution(x: Tensor, coefficients: Tensor) -> Tensor:
    """Return u*, shape `(points, 1)`, at `x`, shape `(points, d)`, for `coefficients`, shape `(d - 1,)`."""
    a, b = x[:, :-1], x[:, 1:]
    return boundary_factor(x) * ((a + b.cos() + b * a.cos()).sin() @ coefficients)[:, None]


def exact_laplacian(x: Tensor, coefficients: Tensor) -> Tensor:
    """Return Δu* in closed form, shape `(points, 1)`.

    With u1 = 1 - |x|² and u2 = Σ c_i sin g_i:  Δu* = u1 Δu2 + 2 ∇u1·∇u2 - 2d u2.
    """
    a, b = x[:, :-1], x[:, 1:]
    g = a + b.cos() + b * a.cos()
    ga, gb = 1.0 - b * a.sin(), a.cos() - b.sin()  # dg_i/dx_i and dg_i/dx_{i+1}
    gaa, gbb = -b * a.cos(), -b.cos()
    sine, cosine = g.sin(), g.cos()
    u2 = sine @ coefficients
    laplacian = (cosine * (gaa + gbb) - sine * (ga.square() + gb.square())) @ coefficients
    slope = (cosine * (a * ga + b * gb)) @ coefficients  # x · ∇u2
    return (boundary_factor(x)[:, 0] * laplacian - 4.0 * slope - 2.0 * x.shape[1] * u2)[:, None]


def coefficients(dimension: int, seed: int, source: str) -> np.ndarray:
    """Return c, shape `(dimension - 1,)`: drawn for the seed, or the fixed ones of the released code (NumPy's legacy
    generator at 0), for which the trivial fits are known.
    """
    if source == "released":
        return np.random.RandomState(0).randn(dimension - 1)
    return seeds.numpy_generator(seed, "coefficients").standard_normal(dimension - 1)


def laplacian(u: Tensor, x: Tensor, directions: Tensor | None = None, *, differentiable: bool = True) -> Tensor:
    """Return Δu, shape `(points, 1)`, of `u(x)` by automatic differentiation.

    Args:
        u: Values, shape `(points, 1)`, with a graph back to `x`.
        x: Points, shape `(points, d)`, that require a gradient.
        directions: Unit vectors of the dimensions to sum over, shape `(dimensions, d)`; all by default. The sum is
            scaled by d over their number: an unbiased estimate where they are drawn without replacement.
        differentiable: Whether the result can be differentiated again, as a training loss is.
    """
    if directions is None:
        directions = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    (gradient,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    total = torch.zeros_like(u)
    for direction in directions:
        slope = (gradient @ direction).sum()
        (second,) = torch.autograd.grad(slope, x, create_graph=differentiable, retain_graph=True)
        total = total + (second @ direction)[:, None]
    return total * (x.shape[1] / len(directions))


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Switch off the gradients of a model's parameters, so that a graph reaches back to its inputs only."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


class ResidualTask(Task):
    """Minimises the squared residual on points that are drawn afresh every step.

    Selection is on the mean squared residual of fixed validation points, with the exact Laplacian: it needs no
    knowledge of the solution. Errors are relative to the exact solution on fixed points.
    """

    def __init__(self, info, settings: Mapping[str, Any], seed: int, dtype: torch.dtype, device: torch.device):
        self.metric, self.goal, self.selection = info.metric, info.goal, info.selection
        self.dimension, self.device, self.dtype = settings["dimension"], device, dtype
        self.reaction = info.constants["equation"] == "allen_cahn"
        self.sampled = settings["sampled_dimensions"] if settings["laplacian"] == "sampled" else None
        self.problem = Problem(info.family, inputs=self.dimension, outputs=1)
        drawn = torch.from_numpy(coefficients(self.dimension, seed, settings["coefficients"]))
        counts = {split: settings["validation_points" if split == "validation" else "test_points"] for split in SPLITS}
        points = {
            split: sample_ball(
                count, self.dimension, seeds.generator(seed, f"points/{split}"), torch.device("cpu"), torch.float64
            )
            for split, count in counts.items()
        }
        name = f"{info.name} in {self.dimension} dimensions"
        self.data = {"name": name, "fingerprint": fingerprint(drawn, *points.values()), "canonical": True}
        self.coefficients = drawn.to(device, dtype)
        self.points = {split: part.to(device, dtype) for split, part in points.items()}

    def batches(self, batch_size, generator) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield new points, shape `(batch, d)`, and the directions of the Laplacian; 100 points where none is given."""
        count = DEFAULT_BATCH if batch_size is None else batch_size
        axes = torch.eye(self.dimension, dtype=self.dtype, device=self.device)
        while True:
            points = sample_ball(count, self.dimension, generator, self.device, self.dtype)
            if self.sampled is None:
                yield points, None
            else:
                order = torch.randperm(self.dimension, generator=generator, device=self.device)
                yield points, axes[order[: self.sampled]]

    def held(self) -> list[Tensor]:
        return [self.coefficients, *self.points.values()]

    def steps_per_epoch(self, batch_size) -> int:
        return 1

    def resident_bytes(self) -> int:
        return sum(part.nbytes for part in (self.coefficients, *self.points.values()))

    def solution(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return the network's solution, zero on the boundary by construction."""
        return boundary_factor(x) * model(x.view_as(x))  # a view: torch's memory tracker refuses a leaf here

    def source(self, x: Tensor) -> Tensor:
        """Return the right-hand side f."""
        f = exact_laplacian(x, self.coefficients)
        return f + _reaction(exact_solution(x, self.coefficients)) if self.reaction else f

    def residual(
        self, model: nn.Module, x: Tensor, directions: Tensor | None = None, *, differentiable: bool = True
    ) -> Tensor:
        """Return left side minus right side of the equation, shape `(points, 1)`; works under `no_grad` too."""
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            u = self.solution(model, x)
            left = laplacian(u, x, directions, differentiable=differentiable)
            if self.reaction:
                left = left + _reaction(u)
            return left - self.source(x.detach())

    def loss(self, model, batch):
        return self.residual(model, *batch).square().mean()

    def evaluate(self, model, split):
        x = self.points[split]
        with evaluating(model):
            with torch.no_grad():
                u = torch.cat([self.solution(model, part) for part in x.split(EVALUATION_BATCH)])
                metrics = _errors(u, exact_solution(x, self.coefficients))
            if split == "validation":
                metrics["residual"] = self._mean_residual(model, x)
        return metrics

    def _mean_residual(self, model: nn.Module, x: Tensor) -> float:
        """Return the mean squared residual with the exact Laplacian; no graph outlives its part of the points."""
        total = 0.0
        with frozen(model):
            for part in x.split(RESIDUAL_BATCH):
                total += self.residual(model, part, differentiable=False).detach().double().square().sum().item()
        return total / len(x)

    def floors(self):
        """Return the test errors of the best constant, affine and diagonal quadratic multiple of the boundary factor.

        Least squares on as many points as the test split has, drawn apart by the same law.
        """
        train, test = self.points["train"].double().cpu(), self.points["test"].double().cpu()
        c = self.coefficients.double().cpu()
        found = {}
        for name, powers in (("constant", ()), ("affine", (1,)), ("quadratic", (1, 2))):
            design, unseen = (
                boundary_factor(x) * torch.cat([torch.ones_like(x[:, :1]), *(x**power for power in powers)], dim=1)
                for x in (train, test)
            )
            weights = torch.linalg.lstsq(design, exact_solution(train, c), driver="gelsd").solution
            found[name] = _errors(unseen @ weights, exact_solution(test, c))
        return found


def _reaction(u: Tensor) -> Tensor:
    """Return the reaction term of Allen-Cahn."""
    return u - u**3


def _errors(u: Tensor, exact: Tensor) -> dict[str, float]:
    """Return relative L2 and L1 errors."""
    error, exact = (u - exact).double(), exact.double()
    return {
        "relative_l2": (error.norm() / exact.norm()).item(),
        "relative_l1": (error.abs().sum() / exact.abs().sum()).item(),
    }


def load(info, settings, *, seed, dtype, device, data_root=None) -> ResidualTask:
    """Draw coefficients and fixed points for one seed."""
    return ResidualTask(info, settings, seed, dtype, device)
