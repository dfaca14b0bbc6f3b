"""Dense convolutional KANs (Bodner et al. 2024, bodner2024; Drokin 2024, drokin2024) through the package `metakan`.

Every kernel tap of every pair of channels is an edge function w · b(x) with its own trainable numbers w: eight B-spline
or RBF coefficients and a base weight, or the coefficients of polynomials. What surrounds the convolutions, and how it
differs from the released code, stands in `metakan.conv_network`.
"""

from __future__ import annotations

from torch import Tensor, nn

import metakan
from metakan import PUBLISHED_STAGES, ConvKAN, published_channels, published_degree
from metakan.bases import Gram


def build(problem, settings) -> nn.Module:
    """Return the network: images (batch, channels, height, width) -> outputs (batch, outputs).

    Raises:
        ValueError: if the inputs are no images.
    """
    if len(problem.input_shape) != 3:
        raise ValueError(f"inputs: found shape {problem.input_shape}, expected (channels, height, width)")
    basis, layers = settings["basis"], settings["layers"]
    order = settings["spline_order"]
    if basis in ("legendre", "gram", "chebyshev"):
        order = published_degree(basis, layers) if settings["degree"] == "published" else settings["degree"]
    stages = PUBLISHED_STAGES[basis if settings["stages"] == "published" else "bspline"]
    if basis == "gram" and settings["form"] == "released":
        basis = Gram(order, order + settings["grid_size"], form="released")
    return ConvKAN(
        published_channels(layers, settings["width_factor"]),
        in_channels=problem.input_shape[0],
        num_classes=problem.outputs,
        grid_size=settings["grid_size"],
        spline_order=order,
        basis=basis,
        grid_range=problem.grid_range,
        **stages,
        **{name: settings[name] for name in ("norm", "dropout", "head_dropout", "init", "mode")},
    )


def coefficients(model: nn.Module) -> list[Tensor]:
    """Return the numbers of each layer's edge functions, free of its width: (edges, n_b)."""
    return [metakan.unit_numbers(layer.numbers(), layer.basis) for layer in model.layers]


def describe(model: nn.Module) -> dict[str, str]:
    """Return how the engine evaluated the network."""
    return {"mode": model.mode_used}
