"""What a family of univariate functions must provide."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from .. import checks
from .silu import silu


class Basis(ABC):
    """A family of edge functions.

    A *linear* family (``linear`` is True) evaluates an edge as ``w . b(t)`` with ``numbers`` weights an edge and
    features ``b(t)`` that do not depend on the edge. Otherwise the numbers enter non-linearly (`edge_sum`).

    Attributes:
        name: the name that `metakan.basis` accepts.
        numbers: how many numbers describe one edge (written n_b).
        amplitude: for each number, whether it scales the edge's output. Amplitudes start with a variance of
            1/fan-in, the others (a wavelet's shape) do not depend on the fan-in.
        gains: standard deviation of each number at initialisation, times sqrt(fan-in) for amplitudes.
        learned: how many trainable numbers the family itself has in a layer; 0 in all but one released form.
    """

    name: str
    numbers: int
    linear: bool = True
    amplitude: tuple[bool, ...]
    gains: tuple[float, ...]
    learned: int = 0

    def planes(self, x: Tensor) -> Tensor:
        """Return ``b(x)`` with the basis functions first, ``(n_b, *x.shape)``; differentiable to any order."""
        raise NotImplementedError(f"{type(self).__name__} is not linear in its numbers")

    def slopes(self, x: Tensor) -> Tensor:
        """Return the derivative of `planes`, elementwise in ``x`` and without a graph, ``(n_b, *x.shape)``."""
        return self.derivative(x, 1)

    def derivative(self, x: Tensor, order: int) -> Tensor:
        """Return a derivative of `planes`, elementwise in ``x`` and without a graph, ``(n_b, *x.shape)``."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            planes, ones = self.planes(leaf), torch.ones_like(x)
            for left in range(order, 0, -1):
                again = {"create_graph": True} if left > 1 else {"retain_graph": True}
                planes = torch.stack([torch.autograd.grad(plane, leaf, ones, **again)[0] for plane in planes.unbind(0)])
        return planes.detach()

    def features(self, x: Tensor, dim: int = -1) -> Tensor:
        """Return ``b(x)`` with the basis functions along a new dimension ``dim`` of size ``n_b``."""
        return self.planes(x).movedim(0, dim)

    def at(self, x: Tensor, dim: int) -> Evaluation:
        """Return the features of ``x`` along ``dim`` and the way back from their gradient, without a graph."""
        return Evaluation(self, x, dim)

    def derivatives(self, x: Tensor, orders: tuple[int, ...], dim: int) -> Derivatives:
        """Return some derivatives of the features of ``x``, each along ``dim``, without a graph."""
        return Derivatives(self, x, orders, dim)

    def edge_sum(self, x: Tensor, numbers: Tensor) -> Tensor:
        """Return ``y (batch, out)`` from ``x (batch, in)`` and ``numbers (out, in, n_b)``, for non-linear families."""
        raise NotImplementedError(f"{type(self).__name__} is linear in its numbers")

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Return all that defines the functions, of JSON's types: equal descriptions mean equal functions."""

    def bound(self, parameters: Tensor) -> Basis:
        """Return this family with its trainable numbers, ``(learned,)``, where it has some."""
        raise NotImplementedError(f"{type(self).__name__} has no trainable numbers of its own")

    def initial(self, edges: int) -> Tensor:
        """Return the trainable numbers that a layer with ``edges`` edges an output starts from, ``(learned,)``."""
        raise NotImplementedError(f"{type(self).__name__} has no trainable numbers of its own")

    def released(self, outputs: int, edges: int) -> list[tuple[str, float]]:
        """Return how the source of the family draws each number of a dense layer.

        That is "normal" or "uniform", with mean 0, and the standard deviation. ``edges`` counts the edges an output.

        Raises:
            ValueError: for a family whose layers here have no such start.
        """
        raise ValueError(f"init: found 'released' with the basis {self.name!r}, expected 'scaled'")

    def scales(self, fan_in: int) -> list[float]:
        """Return the standard deviation of each number at initialisation for a layer of this fan-in."""
        return [
            gain * fan_in**-0.5 if amplitude else gain
            for gain, amplitude in zip(self.gains, self.amplitude, strict=True)
        ]


class Evaluation:
    """A linear family at the points of one tile; nothing here is recorded by autograd."""

    def __init__(self, basis: Basis, x: Tensor, dim: int):
        self.basis, self.x, self.dim = basis, x, dim

    def features(self) -> Tensor:
        """Return ``b(x)`` with the basis functions along ``dim``."""
        return self.basis.features(self.x, self.dim)

    def pull(self, gradient: Tensor) -> Tensor:
        """Return the gradient of ``x`` from that of `features`, which is overwritten."""
        return gradient.mul_(self.basis.slopes(self.x).movedim(0, self.dim)).sum(self.dim)


class Derivatives:
    """Derivatives ``b^(n)(x)`` of a linear family's features at given points; nothing here is recorded by autograd."""

    def __init__(self, basis: Basis, x: Tensor, orders: tuple[int, ...], dim: int):
        self.basis, self.x, self.orders, self.dim = basis, x, orders, dim

    def mixed(self, factors: tuple[Tensor, ...]) -> Tensor:
        """Return the sum over the orders of ``factor * b^(order)(x)``, with the basis functions along ``dim``."""
        total = None
        for factor, order in zip(factors, self.orders, strict=True):
            part = self.basis.derivative(self.x, order) * factor
            total = part if total is None else total.add_(part)
        return total.movedim(0, self.dim)

    def project(self, gradient: Tensor) -> tuple[Tensor, ...]:
        """Return the sum over the basis functions of ``gradient * b^(order)(x)``, one for each order."""
        gradient = gradient.movedim(self.dim, 0)
        return tuple((self.basis.derivative(self.x, order) * gradient).sum(0) for order in self.orders)


class PolynomialBasis(Basis):
    """Polynomials up to ``degree`` in ``tanh(t)``, followed by SiLU(t) if ``base``.

    The squashing keeps the argument inside (-1, 1), where the polynomials are orthogonal, without statistics of the
    batch (some published codes rescale by the batch's minimum and maximum, which makes a sample's output depend on
    its neighbours).
    """

    def __init__(self, degree: int, base: bool = True):
        self.degree = degree = checks.integer("degree", degree)
        self.base = base = bool(base)
        self.numbers = degree + 1 + base
        self.amplitude = (True,) * self.numbers
        linear_gain = 0.1 if base else 1.0  # the functions start close to SiLU, or to a line without it
        self.gains = (0.1, linear_gain, *(0.1,) * (degree - 1)) + (1.0,) * base

    @abstractmethod
    def polynomials(self, u: Tensor) -> list[Tensor]:
        """Return P_0(u) ... P_degree(u)."""

    def planes(self, x: Tensor) -> Tensor:
        planes = self.polynomials(torch.tanh(x))
        if self.base:
            planes.append(silu(x))
        return torch.stack(planes)

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "degree": self.degree, "base": self.base}
