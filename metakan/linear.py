"""Fully connected layers."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from . import checks
from .bases import Basis, make_basis
from .engine import Amplified
from .engine.shape import FullyConnected
from .layer import DenseEdges, EdgeLayer, GeneratedLayer
from .meta_learner import MetaLearner


class _Linear(EdgeLayer):
    """``y_o = sum_i phi_oi(x_i)`` for ``x (..., in_features)``, giving ``(..., out_features)``."""

    def __init__(self, in_features: int, out_features: int, mode: str):
        super().__init__(mode)
        self.in_features = checks.integer("in_features", in_features)
        self.out_features = checks.integer("out_features", out_features)

    def forward(self, x: Tensor) -> Tensor:
        checks.features(type(self).__name__, x, self.in_features, -1, self.edges.parameter)
        rows = x.reshape(-1, self.in_features) if x.dim() != 2 else x
        y = self._evaluate(rows, FullyConnected())
        return y.view(*x.shape[:-1], self.out_features) if x.dim() != 2 else y

    def edge_functions(self, t: Tensor) -> Tensor:
        """Return ``phi_oi(t)`` for points ``t (n,)`` as ``(out_features, in_features, n)``."""
        checks.points("edge_functions", t)
        numbers = self.numbers()
        return self._functions(numbers.flatten(0, 1), t).view(*numbers.shape[:2], -1)

    def _functions(self, numbers: Tensor, t: Tensor) -> Tensor:
        """Return the functions of ``numbers (edges, n_b)`` at ``t (n,)`` as ``(edges, n)``."""
        if self.basis.linear:
            return numbers @ self.basis.features(t, dim=0)
        return self.basis.edge_sum(t.unsqueeze(1), numbers.unsqueeze(1)).t()

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, basis={self.basis.name!r}"


class KANLinear(_Linear):
    """A dense KAN layer: every edge has its own ``n_b`` trainable numbers (Liu et al., 2024).

    Shape: ``(..., in_features)`` to ``(..., out_features)``.

    Args:
        in_features, out_features: widths.
        grid_size, spline_order, basis, grid_range: see `metakan.make_basis`.
        init: "scaled", or "released" where the basis has that start (gram, chebyshev); see `metakan.KAN`.
        mode: "tiled", "materialized" or "auto"; see `metakan.MetaKAN`.

    Raises:
        ValueError, TypeError: for a bad argument, or an input of another width or dtype.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        grid_size: int = 5,
        spline_order: int = 3,
        basis: str | Basis = "bspline",
        grid_range: tuple[float, float] = (-1, 1),
        init: str = "scaled",
        mode: str = "auto",
    ):
        super().__init__(in_features, out_features, mode)
        family = make_basis(basis, grid_size, spline_order, grid_range)
        self.edges = DenseEdges(self.out_features, self.in_features, family, init)


class MetaKANLinear(GeneratedLayer, _Linear):
    """A KAN layer whose edge numbers are generated from one prompt an edge by a meta-learner (Zhao et al., 2025).

    Shape: ``(..., in_features)`` to ``(..., out_features)``.

    Args:
        in_features, out_features: widths.
        meta_learner: the meta-learner to use, shared with other layers; by default the layer makes its own from
            ``prompt_dim``, ``hidden_dim``, ``meta_activation`` and ``init``.
        grid_size, spline_order, basis, grid_range: see `metakan.make_basis`.
        prompt_dim, hidden_dim, meta_activation, init: see `metakan.MetaLearner`; 1, 32, "relu" and "scaled" unless
            a ``meta_learner`` is given, with which they must then agree.
        separate, shapes: see `metakan.MetaKAN`; False and "random" by default.
        amplitude: give every edge a factor of its own beside its shape.
        remainder_rank: rank of a part that is added to the generated numbers; see `metakan.MetaKAN`.
        mode: "tiled", "materialized" or "auto"; see `metakan.MetaKAN`.
        register: False if the meta-learner is registered elsewhere, so that a state dict names it once.

    Raises:
        ValueError, TypeError: for a bad argument, or an input of another width or dtype.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        meta_learner: MetaLearner | None = None,
        grid_size: int = 5,
        spline_order: int = 3,
        basis: str | Basis = "bspline",
        prompt_dim: int | None = None,
        hidden_dim: int | None = None,
        meta_activation: str | None = None,
        grid_range: tuple[float, float] = (-1, 1),
        init: str | None = None,
        separate: bool | None = None,
        shapes: str | None = None,
        amplitude: bool = False,
        remainder_rank: int = 0,
        mode: str = "auto",
        register: bool = True,
    ):
        super().__init__(in_features, out_features, mode)
        family = make_basis(basis, grid_size, spline_order, grid_range)
        self._generate(
            self.out_features,
            self.in_features,
            family,
            meta_learner,
            register,
            amplitude,
            remainder_rank,
            prompt_dim=prompt_dim,
            hidden_dim=hidden_dim,
            meta_activation=meta_activation,
            init=init,
            separate=separate,
            shapes=shapes,
        )

    def functions_of(self, prompts: Tensor, t: Tensor) -> Tensor:
        """Return the functions that ``prompts (k, prompt_dim)`` stand for in this layer, at ``t (n,)``: ``(k, n)``.

        Where edges have amplitudes, these are the functions of amplitude 1. A remainder is no part of them.
        """
        checks.points("functions_of", t)
        source = self.edges.source()
        source = replace(source.shapes if isinstance(source, Amplified) else source, prompts=prompts)
        return self._functions(source.numbers(), t)

    def _dense(self) -> KANLinear:
        return KANLinear(self.in_features, self.out_features, basis=self.edges.family, mode=self.mode)
