"""Convolutional layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from . import checks
from .bases import Basis, make_basis
from .definition import Defined
from .engine.shape import Convolution
from .layer import DenseEdges, EdgeLayer, GeneratedLayer
from .meta_learner import MetaLearner

PROMPT_LAYOUTS = ("per_edge", "released")


def _pair(name: str, value: int | Sequence[int], minimum: int) -> tuple[int, int]:
    pair = checks.entries(value) or (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name}: found {value!r}, expected an integer or two")
    return tuple(checks.integer(name, entry, minimum) for entry in pair)


class _Conv2d(Defined, EdgeLayer):
    """A convolution whose kernel taps are edge functions: ``(batch, in_channels, h, w)`` to ``(batch, out, h', w')``.

    With padding, the padded *features* are zero, as in published convolutional KANs.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride, padding, prompt_layout, mode):
        super().__init__(mode)
        self.in_channels = checks.integer("in_channels", in_channels)
        self.out_channels = checks.integer("out_channels", out_channels)
        self.shape = Convolution(
            _pair("kernel_size", kernel_size, 1),
            _pair("stride", stride, 1),
            _pair("padding", padding, 0),
            checks.choice("prompt_layout", prompt_layout, PROMPT_LAYOUTS),
        )

    def forward(self, x: Tensor) -> Tensor:
        checks.features(type(self).__name__, x, self.in_channels, -3, self.edges.parameter)
        if x.dim() != 4:
            raise ValueError(
                f"{type(self).__name__}: found an input of shape {tuple(x.shape)}, "
                f"expected (batch, {self.in_channels}, height, width)"
            )
        if min(self.shape.output_size(x)) < 1:
            raise ValueError(
                f"{type(self).__name__}: found an image of {tuple(x.shape[2:])}, expected at least the "
                f"kernel size {self.shape.kernel_size} with padding {self.shape.padding}"
            )
        return self._evaluate(x, self.shape)

    def definition(self) -> dict[str, object]:
        return {name: getattr(self.shape, name) for name in ("kernel_size", "stride", "padding", "prompt_layout")}

    def extra_repr(self) -> str:
        shape = self.shape
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={shape.kernel_size}, stride={shape.stride}, "
            f"padding={shape.padding}, basis={self.basis.name!r}"
        )


class KANConv2d(_Conv2d):
    """A dense convolutional KAN layer (Bodner et al., 2024; Drokin, 2024).

    Shape: ``(batch, in_channels, height, width)`` to ``(batch, out_channels, height', width')``.

    Args:
        in_channels, out_channels, kernel_size, stride, padding: as in `torch.nn.Conv2d`.
        grid_size, spline_order, basis, grid_range: see `metakan.make_basis`.
        init: "scaled", or "released" where the basis has that start (gram, chebyshev); see `metakan.KAN`.
        mode: "tiled", "materialized" or "auto".

    Raises:
        ValueError, TypeError: for a bad argument, or an input of another shape or dtype.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 1,
        grid_size: int = 5,
        spline_order: int = 3,
        basis: str | Basis = "bspline",
        grid_range: tuple[float, float] = (-1, 1),
        prompt_layout: str = "per_edge",
        init: str = "scaled",
        mode: str = "auto",
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, prompt_layout, mode)
        family = make_basis(basis, grid_size, spline_order, grid_range)
        self.edges = DenseEdges(self.out_channels, self.in_channels * self.shape.taps, family, init)


class MetaKANConv2d(GeneratedLayer, _Conv2d):
    """A convolutional KAN layer with generated edge numbers: one prompt a kernel tap, input and output channel.

    Shape: ``(batch, in_channels, height, width)`` to ``(batch, out_channels, height', width')``.

    Args:
        in_channels, out_channels, kernel_size, stride, padding: as in `torch.nn.Conv2d`.
        meta_learner: the meta-learner to use, shared with other layers; by default the layer makes its own.
        grid_size, spline_order, basis, grid_range: see `metakan.make_basis`.
        prompt_dim, hidden_dim, meta_activation, init: see `metakan.MetaLearner`; 1, 32, "relu" and "scaled" unless
            a ``meta_learner`` is given, with which they must then agree.
        prompt_layout: "per_edge": a prompt gives the numbers of one tap's edge function. "released": the generated
            numbers of an input and output channel are read in a flat order, as in the released code, so that with
            a 3x3 kernel and nine numbers one prompt gives the 3x3 kernel of one basis function.
        mode: "tiled", "materialized" or "auto".
        register: False if the meta-learner is registered elsewhere, so that a state dict names it once.

    Raises:
        ValueError, TypeError: for a bad argument, or an input of another shape or dtype.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 1,
        meta_learner: MetaLearner | None = None,
        grid_size: int = 5,
        spline_order: int = 3,
        basis: str | Basis = "bspline",
        prompt_dim: int | None = None,
        hidden_dim: int | None = None,
        meta_activation: str | None = None,
        grid_range: tuple[float, float] = (-1, 1),
        prompt_layout: str = "per_edge",
        init: str | None = None,
        mode: str = "auto",
        register: bool = True,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, prompt_layout, mode)
        family = make_basis(basis, grid_size, spline_order, grid_range)
        if prompt_layout == "released" and not family.linear:
            raise ValueError(f"prompt_layout: found 'released' with basis {family.name!r}, expected 'per_edge'")
        self._generate(
            self.out_channels,
            self.in_channels * self.shape.taps,
            family,
            meta_learner,
            register,
            prompt_dim=prompt_dim,
            hidden_dim=hidden_dim,
            meta_activation=meta_activation,
            init=init,
        )

    def _dense(self) -> KANConv2d:
        shape = self.shape
        return KANConv2d(
            self.in_channels,
            self.out_channels,
            shape.kernel_size,
            stride=shape.stride,
            padding=shape.padding,
            basis=self.edges.family,
            prompt_layout=shape.prompt_layout,
            mode=self.mode,
        )
