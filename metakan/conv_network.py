"""Convolutional networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

from torch import Tensor, nn

from . import checks
from .bases import Basis, make_basis
from .clustering import assign_layers
from .conv import KANConv2d, MetaKANConv2d
from .meta_learner import MetaLearner, meta_learners_for
from .network import _Network

# The geometries of the MetaKAN experiments, by number of layers.
PUBLISHED_STRIDES = {4: (1, 2, 2, 1), 8: (1, 2, 2, 1, 1, 2, 1, 1)}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "none": lambda channels: nn.Identity(),
}


class _ConvNetwork(_Network):
    """Convolution, normalisation and PReLU a layer; then the mean over positions, dropout and a linear head."""

    def _build(self, convolutions, num_classes: int, norm: str, dropout: float, head_dropout: float) -> None:
        checks.choice("norm", norm, list(NORMS))
        self.layers = nn.ModuleList(convolutions)
        self.norms = nn.ModuleList(NORMS[norm](layer.out_channels) for layer in self.layers)
        self.activations = nn.ModuleList(nn.PReLU() for _ in self.layers)
        self.dropouts = nn.ModuleList(nn.Dropout2d(dropout if depth else 0.0) for depth in range(len(self.layers)))
        self.head_dropout = nn.Dropout(head_dropout)
        self.head = nn.Linear(self.layers[-1].out_channels, checks.integer("num_classes", num_classes))

    def forward(self, x: Tensor) -> Tensor:
        stages = zip(self.layers, self.norms, self.activations, self.dropouts, strict=True)
        for layer, norm, activation, dropout in stages:
            x = dropout(activation(norm(layer(x))))
        return self.head(self.head_dropout(x.mean(dim=(2, 3))))


def _geometry(channels, in_channels, strides, kernel_size, padding) -> tuple[list[int], list[dict]]:
    outs = checks.widths("channels", channels, minimum_length=1)
    ins = [checks.integer("in_channels", in_channels), *outs[:-1]]
    if strides is not None and (isinstance(strides, (str, bytes)) or not isinstance(strides, Sequence)):
        raise TypeError(
            f"strides: found {strides!r} of type {type(strides).__name__}, expected a sequence, one a layer"
        )
    steps = list(strides) if strides is not None else list(PUBLISHED_STRIDES.get(len(outs), (1,) * len(outs)))
    if len(steps) != len(outs):
        raise ValueError(f"strides: found {len(steps)} entries, expected {len(outs)}, one a layer")
    return outs, [
        {"in_channels": a, "out_channels": b, "kernel_size": kernel_size, "stride": step, "padding": padding}
        for a, b, step in zip(ins, outs, steps, strict=True)
    ]


class ConvKAN(_ConvNetwork):
    """A dense convolutional KAN, evaluated by the same engine as `MetaConvKAN`; arguments as there.

    Shape: ``(batch, in_channels, height, width)`` to ``(batch, num_classes)``.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128, 256),
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        strides: Sequence[int] | None = None,
        kernel_size: int = 3,
        padding: int = 1,
        grid_size: int = 5,
        spline_order: int = 3,
        basis: str | Basis = "bspline",
        grid_range: tuple[float, float] = (-1, 1),
        norm: str = "batch",
        dropout: float = 0.25,
        head_dropout: float = 0.5,
        mode: str = "auto",
    ):
        super().__init__()
        self.channels, geometry = _geometry(channels, in_channels, strides, kernel_size, padding)
        self.basis = make_basis(basis, grid_size, spline_order, grid_range)
        layers = [KANConv2d(**shape, basis=self.basis, mode=mode) for shape in geometry]
        self._build(layers, num_classes, norm, dropout, head_dropout)


class MetaConvKAN(_ConvNetwork):
    """A convolutional KAN whose kernels are generated from prompts by shared meta-learners (MetaKAN, 2025).

    Each stage is convolution, normalisation, PReLU and, from the second on, channel dropout; then the mean over
    positions, dropout and a linear head, as in the published experiments.

    Shape: ``(batch, in_channels, height, width)`` to ``(batch, num_classes)``.

    Args:
        channels: output channels of each layer.
        in_channels, num_classes: channels of the image, and outputs.
        strides: one a layer; by default those of the published networks of 4 or 8 layers, 1 elsewhere.
        kernel_size, padding: as in `torch.nn.Conv2d`.
        grid_size, spline_order, basis, grid_range: see `metakan.make_basis`.
        prompt_dim, hidden_dim, meta_activation: see `metakan.MetaLearner`; 1, 32 and "relu" unless ``meta_learners``
            are given, with which they must then agree.
        num_clusters, clustering: see `metakan.assign_layers`; layers are grouped by their output channels.
        prompt_layout: "per_edge" or "released"; see `metakan.MetaKANConv2d`.
        norm: "batch", "instance" or "none".
        dropout, head_dropout: probabilities.
        mode, init, meta_learners: see `metakan.MetaKAN`.

    Raises:
        ValueError, TypeError: for a bad argument, or an input of another shape or dtype.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128, 256),
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        strides: Sequence[int] | None = None,
        kernel_size: int = 3,
        padding: int = 1,
        grid_size: int = 5,
        spline_order: int = 3,
        basis: str | Basis = "bspline",
        prompt_dim: int | None = None,
        hidden_dim: int | None = None,
        num_clusters: int = 1,
        clustering: str | Sequence[int] = "kmeans_width",
        meta_activation: str | None = None,
        grid_range: tuple[float, float] = (-1, 1),
        prompt_layout: str = "per_edge",
        norm: str = "batch",
        dropout: float = 0.25,
        head_dropout: float = 0.5,
        mode: str = "auto",
        init: str | None = None,
        meta_learners: MetaLearner | Sequence[MetaLearner] | None = None,
    ):
        super().__init__()
        self.channels, geometry = _geometry(channels, in_channels, strides, kernel_size, padding)
        family = make_basis(basis, grid_size, spline_order, grid_range)
        self.basis = family
        self.clusters = assign_layers(self.channels, checks.integer("num_clusters", num_clusters), clustering)
        settings = {
            "prompt_dim": prompt_dim, "hidden_dim": hidden_dim, "meta_activation": meta_activation, "init": init,
        }  # fmt: skip
        learners = meta_learners_for(family, max(self.clusters) + 1, meta_learners, settings)
        self.meta_learners = nn.ModuleList(learners)
        options = {"basis": family, "mode": mode, "prompt_layout": prompt_layout, "register": False}
        layers = [
            MetaKANConv2d(**shape, meta_learner=self.meta_learners[cluster], **options)
            for shape, cluster in zip(geometry, self.clusters, strict=True)
        ]
        self._build(layers, num_classes, norm, dropout, head_dropout)

    def materialize(self) -> ConvKAN:
        """Return a dense `ConvKAN` with the same values; normalisation and head are copied."""
        dense = ConvKAN((1,), num_classes=1, basis=self.basis)
        dense.channels = list(self.channels)
        dense.layers = nn.ModuleList(layer.materialize() for layer in self.layers)
        for name in ("norms", "activations", "dropouts", "head_dropout", "head"):
            setattr(dense, name, deepcopy(getattr(self, name)))
        return dense.train(self.training)
