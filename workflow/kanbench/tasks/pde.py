"""Poisson and Allen-Cahn problems in the unit ball of d dimensions, solved by minimising the residual.

Exact solution (the two-body benchmark of Hu et al. 2024, as MetaKAN uses it):

    u*(x) = (1 - |x|²) Σ_i c_i sin(g_i),   g_i = x_i + cos(x_{i+1}) + x_{i+1} cos(x_i),   i = 1 … d-1,   c_i ~ N(0, 1)

Poisson: Δu = f. Allen-Cahn: Δu + u - u³ = f. The factor 1 - |x|² of the network's output keeps the boundary condition
exactly. Points have a uniform direction and a uniform *radius*, as published, so they crowd around the origin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kanbench import seeds
from kanbench.task import SPLITS, Problem, Task, evaluating, fingerprint

DEFAULT_BATCH = 100
RESIDUAL_BATCH = 500


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


def laplacian(u: Tensor, x: Tensor, dimensions: Tensor | None = None) -> Tensor:
    """Return Δu, shape `(points, 1)`, of `u(x)` by automatic differentiation, ready to be differentiated again.

    Args:
        u: Values, shape `(points, 1)`, with a graph back to `x`.
        x: Points, shape `(points, d)`, that require a gradient.
        dimensions: Subset of dimensions; the sum over it is scaled by d over its size, an unbiased estimate.
    """
    (gradient,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    chosen = range(x.shape[1]) if dimensions is None else dimensions.tolist()
    total = torch.zeros_like(u)
    for i in chosen:
        (second,) = torch.autograd.grad(gradient[:, i].sum(), x, create_graph=True)
        total = total + second[:, i : i + 1]
    return total * (x.shape[1] / len(chosen))


class ResidualTask(Task):
    """Minimises the squared residual on points that are drawn afresh every step."""

    def __init__(self, info, settings: Mapping[str, Any], seed: int, dtype: torch.dtype, device: torch.device):
        self.metric, self.goal, self.selection = info.metric, info.goal, info.selection
        self.dimension, self.device, self.dtype = settings["dimension"], device, dtype
        self.reaction = info.constants["equation"] == "allen_cahn"
        self.sampled = settings["sampled_dimensions"] if settings["laplacian"] == "sampled" else None
        if self.sampled is not None and self.sampled > self.dimension:
            raise ValueError(f"sampled_dimensions is {self.sampled}; expected at most the dimension, {self.dimension}")
        self.problem = Problem(info.family, inputs=self.dimension, outputs=1)
        drawn = torch.randn(self.dimension - 1, generator=seeds.generator(seed, "coefficients"), dtype=torch.float64)
        self.coefficients = drawn.to(device, dtype)
        counts = {"validation": settings["validation_points"]}
        self.points = {
            split: sample_ball(
                counts.get(split, settings["test_points"]),
                self.dimension,
                seeds.generator(seed, f"points/{split}"),
                "cpu",
                torch.float64,
            ).to(device, dtype)
            for split in SPLITS
        }
        name = f"{info.name} in {self.dimension} dimensions"
        print_of = fingerprint(drawn, *(points.double() for points in self.points.values()))
        self.data = {"name": name, "fingerprint": print_of, "canonical": True}

    def batches(self, batch_size, generator) -> Iterator[tuple[Tensor, Tensor | None]]:
        count = DEFAULT_BATCH if batch_size is None else batch_size
        while True:
            points = sample_ball(count, self.dimension, generator, self.device, self.dtype)
            subset = None
            if self.sampled is not None:
                order = torch.randperm(self.dimension, generator=generator, device=self.device)
                subset = order[: self.sampled]
            yield points, subset

    def steps_per_epoch(self, batch_size) -> int:
        return 1

    def solution(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return the network's solution, zero on the boundary by construction."""
        return boundary_factor(x) * model(x.view_as(x))  # a view: torch's memory tracker refuses a leaf here

    def source(self, x: Tensor) -> Tensor:
        """Return the right-hand side f."""
        f = exact_laplacian(x, self.coefficients)
        if self.reaction:
            u = exact_solution(x, self.coefficients)
            f = f + u - u**3
        return f

    def residual(self, model: nn.Module, x: Tensor, dimensions: Tensor | None = None) -> Tensor:
        """Return left side minus right side of the equation, shape `(points, 1)`."""
        x = x.detach().requires_grad_(True)
        u = self.solution(model, x)
        left = laplacian(u, x, dimensions)
        if self.reaction:
            left = left + u - u**3
        return left - self.source(x.detach())

    def loss(self, model, batch):
        return self.residual(model, *batch).square().mean()

    def evaluate(self, model, split):
        x = self.points[split]
        with evaluating(model):
            with torch.no_grad():
                u = self.solution(model, x)
            metrics = _errors(u, exact_solution(x, self.coefficients))
            if split == "validation":
                metrics["residual"] = self._mean_residual(model, x)
        return metrics

    def _mean_residual(self, model: nn.Module, x: Tensor) -> float:
        """Return the mean squared residual with the exact Laplacian; no graph outlives its part."""
        with torch.enable_grad():
            total = sum(self.residual(model, part).detach().square().sum() for part in x.split(RESIDUAL_BATCH))
        return float(total) / len(x)

    def floors(self):
        """Return the test errors of the best constant, affine and diagonal quadratic multiple of the boundary factor."""
        train, test = self.points["train"].double(), self.points["test"].double()
        c = self.coefficients.double()
        found = {}
        for name, features in (("constant", []), ("affine", [1]), ("quadratic", [1, 2])):
            design = [torch.cat([torch.ones_like(x[:, :1]), *(x**p for p in features)], dim=1) for x in (train, test)]
            fit = boundary_factor(train) * design[0]
            weights = torch.linalg.lstsq(fit.cpu(), exact_solution(train, c).cpu(), driver="gelsd").solution.to(test)
            found[name] = _errors(boundary_factor(test) * (design[1] @ weights), exact_solution(test, c))
        return found


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
