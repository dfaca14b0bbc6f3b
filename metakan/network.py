"""Fully connected networks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from . import checks
from .bases import Basis, make_basis
from .linear import KANLinear, MetaKANLinear
from .meta_learner import MetaLearner
from .sharing import SharedLearners, grouped_learners


class _Network(nn.Module):
    """A stack of layers; ``(..., width[0])`` to ``(..., width[-1])``."""

    layers: nn.ModuleList

    @property
    def mode_used(self) -> str | None:
        """How the last forward evaluated the layers, e.g. "tiled" or "materialized+tiled"; None before it."""
        used = {layer.mode_used for layer in self.layers} - {None}
        return "+".join(sorted(used)) if used else None

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class KAN(_Network):
    """A dense Kolmogorov-Arnold network, evaluated by the same engine as `MetaKAN` (Liu et al., 2024).

    Shape: ``(..., width[0])`` to ``(..., width[-1])``.

    Args:
        width: widths of the layers, inputs and outputs included.
        grid_size, spline_order, basis, grid_range: see `metakan.make_basis`.
        init: "scaled" draws the numbers so that a signal keeps its size whatever the fan-in. "released" draws them as
            the source of the family does, for gram and chebyshev: those starts are much smaller, a network starts near
            a constant, and its first steps are slower.
        mode: see `MetaKAN`.

    Raises:
        ValueError, TypeError: for a bad argument, or an input of another width or dtype.
    """

    def __init__(
        self,
        width: Sequence[int],
        *,
        grid_size: int = 5,
        spline_order: int = 3,
        basis: str | Basis = "bspline",
        grid_range: tuple[float, float] = (-1, 1),
        init: str = "scaled",
        mode: str = "auto",
    ):
        super().__init__()
        self.width = checks.widths("width", width)
        family = make_basis(basis, grid_size, spline_order, grid_range)
        self.basis = family
        self.layers = nn.ModuleList(
            KANLinear(ins, outs, basis=family, init=init, mode=mode)
            for ins, outs in zip(self.width[:-1], self.width[1:], strict=True)
        )


class MetaKAN(SharedLearners, _Network):
    """A Kolmogorov-Arnold network whose edge numbers are generated from prompts by shared meta-learners.

    An edge function is ``phi_oi(t) = w_oi . b(t)`` with ``w_oi = s * M_c(z_oi / s)``: z the edge's prompt, M_c the
    meta-learner of the layer's cluster and s the constant fan-in**-0.5 (1 with ``init="released"``). See "Improving
    Memory Efficiency for Training KANs via Meta Learning" (Zhao et al., 2025). ``amplitude``, ``separate``,
    ``shapes``, ``remainder_rank`` and ``hidden_dim=0`` are not the paper's.

    Shape: ``(..., width[0])`` to ``(..., width[-1])``.

    Args:
        width: widths of the layers, inputs and outputs included.
        grid_size, spline_order, basis, grid_range: see `metakan.make_basis`.
        prompt_dim, hidden_dim, meta_activation: see `metakan.MetaLearner`; 1, 32 and "relu" unless ``meta_learners``
            are given, with which they must then agree.
        num_clusters: number of meta-learners; 1 shares one, ``len(width) - 1`` gives each layer its own.
        clustering, grouping_seed: see `metakan.assign_layers`; with "learned", each layer mixes the meta-learners by
            weights of its own (`metakan.MixedLearner`).
        amplitude: give every edge a factor of its own beside its shape, ``w_oi = a_oi M_c(z_oi)``.
        remainder_rank: add a part of this rank to the generated numbers of every layer, ``w_oi = ... + sum_r U_or
            V_ri``, trained beside them; 0 for none. A layer gets ``rank (out + in n_b)`` further parameters, and as
            many more outputs to evaluate.
        separate: let each hidden unit read one number of the prompt, so that a meta-learner is a sum of curves.
        shapes: what the meta-learners start from: "random", or distinct functions, "polynomials", "sines" or "bumps"
            (`metakan.shapes`).
        mode: "tiled" generates basis and numbers tile by tile and recomputes them in backward, keeping nothing larger
            than the layer's inputs; "materialized" is the plain definition in differentiable operations; "auto"
            chooses by the bytes that the plain form would keep, and takes the fused kernels of `metakan.engine.fused`
            where a GPU and Triton are there. ``mode_used`` says what ran.
        init: "scaled" (the default) or "released"; see `metakan.MetaLearner.reset_parameters`.
        meta_learners: the meta-learners to use, one a cluster, e.g. from `metakan.load_meta_learner`; they are used,
            not copied, and stay trainable unless they were frozen. By default new ones are made.

    Raises:
        ValueError, TypeError: for a bad argument, or an input of another width or dtype.
    """

    def __init__(
        self,
        width: Sequence[int],
        *,
        grid_size: int = 5,
        spline_order: int = 3,
        basis: str | Basis = "bspline",
        prompt_dim: int | None = None,
        hidden_dim: int | None = None,
        num_clusters: int = 1,
        clustering: str | Sequence[int] = "kmeans_width",
        grouping_seed: int = 0,
        meta_activation: str | None = None,
        grid_range: tuple[float, float] = (-1, 1),
        mode: str = "auto",
        init: str | None = None,
        amplitude: bool = False,
        remainder_rank: int = 0,
        separate: bool | None = None,
        shapes: str | None = None,
        meta_learners: MetaLearner | Sequence[MetaLearner] | None = None,
    ):
        super().__init__()
        self.width = checks.widths("width", width)
        family = make_basis(basis, grid_size, spline_order, grid_range)
        self.basis = family
        ins, outs = self.width[:-1], self.width[1:]
        clusters, learners = grouped_learners(
            family,
            (ins, outs),
            num_clusters,
            clustering,
            grouping_seed,
            meta_learners,
            prompt_dim=prompt_dim,
            hidden_dim=hidden_dim,
            meta_activation=meta_activation,
            init=init,
            separate=separate,
            shapes=shapes,
        )
        self.meta_learners = nn.ModuleList(learners)
        self.layers = nn.ModuleList(
            MetaKANLinear(
                a,
                b,
                meta_learner=learners[cluster],
                basis=family,
                amplitude=amplitude,
                remainder_rank=remainder_rank,
                mode=mode,
                register=False,
            )
            for a, b, cluster in zip(ins, outs, clusters, strict=True)
        )
        self._share(clusters, learned=isinstance(clustering, str) and clustering == "learned")

    def materialize(self) -> KAN:
        """Return a dense `KAN` with the same values, on the same device and in the same dtype."""
        dense = KAN(self.width, basis=self.basis)
        dense.layers = nn.ModuleList(layer.materialize() for layer in self.layers)
        return dense.train(self.training)
