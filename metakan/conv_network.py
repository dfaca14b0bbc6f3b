"""Convolutional networks: a stack of stages, the mean over positions, dropout and a linear head.

The dense and the generated form of a network have the same stages, so that a pair of them differs in nothing but where
the numbers of the edge functions come from. `PUBLISHED_STAGES` holds what surrounds a convolution in the source of each
family (torch-conv-kan, Drokin, 2024, which the MetaKAN experiments build on) and `published_degree` the polynomials'
degree.

Where our layers differ from the released ones, in both forms alike:

* The base branch is SiLU of the input. The released B-spline layers use GELU, and the released dense Legendre layer
  none, although its generated counterpart has SiLU.
* The RBF layer normalises its input for all features; the released one leaves its base branch unnormalised.
* Polynomials are evaluated at tanh(x). The released Legendre layers rescale by the least and greatest value of the
  batch, so that an output depends on the rest of the batch.
* Gram polynomials are orthonormal, with a fixed recursion. The released layers, dense and generated, apply SiLU to each
  polynomial and scale the recursion by trainable numbers (degree + 1 a layer). Their features span another space:
  polynomials up to the third degree miss SiLU(u^3) by 12 % (root mean square over -1 < u < 1).
  `metakan.bases.Gram` has the released form as well (``form="released"``).
* Dense Gram and Chebyshev layers start larger, at the size that keeps a signal's; ``init="released"`` draws their
  numbers as the sources do.
* Grids are no parameters. The released RBF counts contain eight frozen centres a layer.
* A pair shares its normalisation. The released pairs differ: B-spline in 4 layers has instance normalisation dense and
  batch normalisation generated, Legendre the other way round, and Gram and Chebyshev use groups in one form only.
* Channel dropout acts from the second layer on everywhere; in the released generated Chebyshev network of 8 layers it
  also acts on the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

from torch import Tensor, nn

from . import checks
from .bases import Basis, make_basis
from .conv import KANConv2d, MetaKANConv2d
from .definition import Defined
from .meta_learner import MetaLearner
from .network import _Network
from .sharing import SharedLearners, grouped_learners

# The geometries of the MetaKAN experiments by number of layers: output channels and strides. The network of 16 layers
# is ours: each layer of the 8 is followed by one of the same width.
PUBLISHED_CHANNELS: dict[int, tuple[int, ...]] = {
    4: (32, 64, 128, 256),
    8: (16, 32, 64, 128, 256, 256, 512, 512),
}
PUBLISHED_CHANNELS[16] = tuple(width for width in PUBLISHED_CHANNELS[8] for _ in range(2))
PUBLISHED_STRIDES: dict[int, tuple[int, ...]] = {4: (1, 2, 2, 1), 8: (1, 2, 2, 1, 1, 2, 1, 1)}
PUBLISHED_STRIDES[16] = tuple(step for stride in PUBLISHED_STRIDES[8] for step in (stride, 1))
PUBLISHED_STAGES: dict[str, dict[str, str]] = {
    "bspline": {"norm_placement": "output", "activation": "prelu"},
    "rbf": {"norm_placement": "input", "activation": "none"},
    "wavelet": {"norm_placement": "output", "activation": "none"},
    "legendre": {"norm_placement": "output", "activation": "silu"},
    "gram": {"norm_placement": "output", "activation": "silu"},
    "chebyshev": {"norm_placement": "output", "activation": "none"},
}
"""By basis, where a stage of the published networks has its normalisation, and which activation."""
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "none": lambda channels: nn.Identity(),
}
PLACEMENTS = ("output", "input")
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "prelu": nn.PReLU,
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "none": nn.Identity,
}


def published_channels(layers: int, width_factor: float = 1.0) -> list[int]:
    """Return the output channels of a published network, each multiplied by ``width_factor`` and rounded.

    Raises:
        ValueError: if no network of this many layers was published (16 is ours), or a factor is not positive.
    """
    if layers not in PUBLISHED_CHANNELS:
        raise ValueError(f"layers: found {layers!r}, expected one of {', '.join(map(str, PUBLISHED_CHANNELS))}")
    if not width_factor > 0:
        raise ValueError(f"width_factor: found {width_factor}, expected a positive number")
    return [max(1, round(float(width_factor) * channels)) for channels in PUBLISHED_CHANNELS[layers]]


def published_degree(basis: str, layers: int) -> int:
    """Return the degree of a polynomial basis: 6 for Chebyshev in 4 layers, 3 elsewhere."""
    return 6 if basis == "chebyshev" and layers == 4 else 3


class ConvNetwork(Defined, _Network):
    """Stages around given convolutions; then the mean over positions, dropout and a linear head.

    A stage with ``norm_placement="output"`` is convolution, normalisation, activation, channel dropout; with "input" it
    is channel dropout, normalisation, convolution, activation. The first stage has no channel dropout.

    Shape: ``(batch, in_channels, height, width)`` to ``(batch, num_classes)``.

    Args:
        convolutions: modules with ``in_channels`` and ``out_channels``: `KANConv2d`, `MetaKANConv2d`, or
            `torch.nn.Conv2d` for a plain network in the same stages.
        num_classes: number of outputs.
        norm: "batch", "instance" or "none".
        norm_placement: "output" or "input".
        activation: "prelu", "silu", "relu" or "none".
        dropout, head_dropout: probabilities of dropping a channel between stages, and a feature before the head.

    Raises:
        ValueError, TypeError: for a bad argument.
    """

    def __init__(
        self,
        convolutions: Sequence[nn.Module],
        num_classes: int,
        *,
        norm: str = "batch",
        norm_placement: str = "output",
        activation: str = "prelu",
        dropout: float = 0.25,
        head_dropout: float = 0.5,
    ):
        super().__init__()
        self.norm = checks.choice("norm", norm, list(NORMS))
        self.activation = checks.choice("activation", activation, list(ACTIVATIONS))
        self.norm_placement = checks.choice("norm_placement", norm_placement, PLACEMENTS)
        self.layers = nn.ModuleList(convolutions)
        before = norm_placement == "input"
        self.norms = nn.ModuleList(
            NORMS[norm](layer.in_channels if before else layer.out_channels) for layer in self.layers
        )
        self.activations = nn.ModuleList(ACTIVATIONS[activation]() for _ in self.layers)
        self.dropouts = nn.ModuleList(nn.Dropout2d(dropout if depth else 0.0) for depth in range(len(self.layers)))
        self.head_dropout = nn.Dropout(head_dropout)
        self.head = nn.Linear(self.layers[-1].out_channels, checks.integer("num_classes", num_classes))

    def definition(self) -> dict[str, object]:
        stages = {name: getattr(self, name) for name in ("norm", "norm_placement", "activation")}
        return {**super().definition(), **stages}

    def forward(self, x: Tensor) -> Tensor:
        stages = zip(self.layers, self.norms, self.activations, self.dropouts, strict=True)
        for layer, norm, activation, dropout in stages:
            if self.norm_placement == "input":
                x = activation(layer(norm(dropout(x))))
            else:
                x = dropout(activation(norm(layer(x))))
        return self.head(self.head_dropout(x.mean(dim=(2, 3))))


def conv_geometry(
    channels: Sequence[int],
    in_channels: int,
    strides: Sequence[int] | None = None,
    kernel_size: int = 3,
    padding: int = 1,
) -> list[dict]:
    """Return the arguments of each convolution; strides default to those of the published network of this depth.

    Raises:
        ValueError, TypeError: for widths below one, or strides that are not one a layer.
    """
    outs = checks.widths("channels", channels, minimum_length=1)
    ins = [checks.integer("in_channels", in_channels), *outs[:-1]]
    steps = PUBLISHED_STRIDES.get(len(outs), (1,) * len(outs)) if strides is None else checks.entries(strides)
    if steps is None:
        raise TypeError(
            f"strides: found {strides!r} of type {type(strides).__name__}, expected a sequence, one a layer"
        )
    if len(steps) != len(outs):
        raise ValueError(f"strides: found {len(steps)} entries, expected {len(outs)}, one a layer")
    return [
        {"in_channels": a, "out_channels": b, "kernel_size": kernel_size, "stride": step, "padding": padding}
        for a, b, step in zip(ins, outs, steps, strict=True)
    ]


class ConvKAN(ConvNetwork):
    """A dense convolutional KAN, evaluated by the same engine as `MetaConvKAN`.

    Arguments as there, ``init`` as in `metakan.KAN`.

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
        norm_placement: str = "output",
        activation: str = "prelu",
        dropout: float = 0.25,
        head_dropout: float = 0.5,
        init: str = "scaled",
        mode: str = "auto",
    ):
        geometry = conv_geometry(channels, in_channels, strides, kernel_size, padding)
        family = make_basis(basis, grid_size, spline_order, grid_range)
        super().__init__(
            [KANConv2d(**shape, basis=family, init=init, mode=mode) for shape in geometry],
            num_classes,
            norm=norm,
            norm_placement=norm_placement,
            activation=activation,
            dropout=dropout,
            head_dropout=head_dropout,
        )
        self.channels, self.basis = [shape["out_channels"] for shape in geometry], family


class MetaConvKAN(SharedLearners, ConvNetwork):
    """A convolutional KAN whose kernels are generated from prompts by shared meta-learners (Zhao et al., 2025).

    The defaults are the published B-spline network of 4 layers; see `ConvNetwork` for the stages and the module's
    docstring for what differs from the released code.

    Shape: ``(batch, in_channels, height, width)`` to ``(batch, num_classes)``.

    Args:
        channels: output channels of each layer.
        in_channels, num_classes: channels of the image, and outputs.
        strides: one a layer; by default those of the published networks of 4 or 8 layers, 1 elsewhere.
        kernel_size, padding: as in `torch.nn.Conv2d`.
        grid_size, spline_order, basis, grid_range: see `metakan.make_basis`.
        prompt_dim, hidden_dim, meta_activation: see `metakan.MetaLearner`; 1, 32 and "relu" unless ``meta_learners``
            are given, with which they must then agree.
        num_clusters, clustering, grouping_seed: see `metakan.assign_layers` and `metakan.MetaKAN`; the widths are
            channels.
        prompt_layout: "per_edge" or "released"; see `metakan.MetaKANConv2d`.
        norm, norm_placement, activation, dropout, head_dropout: see `ConvNetwork`; `PUBLISHED_STAGES` has the
            placement and activation that belong to a basis.
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
        grouping_seed: int = 0,
        meta_activation: str | None = None,
        grid_range: tuple[float, float] = (-1, 1),
        prompt_layout: str = "per_edge",
        norm: str = "batch",
        norm_placement: str = "output",
        activation: str = "prelu",
        dropout: float = 0.25,
        head_dropout: float = 0.5,
        mode: str = "auto",
        init: str | None = None,
        meta_learners: MetaLearner | Sequence[MetaLearner] | None = None,
    ):
        geometry = conv_geometry(channels, in_channels, strides, kernel_size, padding)
        family = make_basis(basis, grid_size, spline_order, grid_range)
        clusters, learners = grouped_learners(
            family,
            tuple([shape[side] for shape in geometry] for side in ("in_channels", "out_channels")),
            num_clusters,
            clustering,
            grouping_seed,
            meta_learners,
            prompt_dim=prompt_dim,
            hidden_dim=hidden_dim,
            meta_activation=meta_activation,
            init=init,
        )
        options = {"basis": family, "mode": mode, "prompt_layout": prompt_layout, "register": False}
        super().__init__(
            [
                MetaKANConv2d(**shape, meta_learner=learners[cluster], **options)
                for shape, cluster in zip(geometry, clusters, strict=True)
            ],
            num_classes,
            norm=norm,
            norm_placement=norm_placement,
            activation=activation,
            dropout=dropout,
            head_dropout=head_dropout,
        )
        self.channels, self.basis = [shape["out_channels"] for shape in geometry], family
        self.meta_learners = nn.ModuleList(learners)
        self._share(clusters, learned=isinstance(clustering, str) and clustering == "learned")

    def materialize(self) -> ConvKAN:
        """Return a dense `ConvKAN` with the same values; normalisation and head are copied."""
        dense = ConvKAN((1,), num_classes=1, basis=self.basis)
        dense.channels = list(self.channels)
        dense.norm, dense.norm_placement, dense.activation = self.norm, self.norm_placement, self.activation
        dense.layers = nn.ModuleList(layer.materialize() for layer in self.layers)
        for name in ("norms", "activations", "dropouts", "head_dropout", "head"):
            setattr(dense, name, deepcopy(getattr(self, name)))
        return dense.train(self.training)
