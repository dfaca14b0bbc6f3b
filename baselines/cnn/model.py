"""A plain convolutional network (LeCun et al. 1998, lecun1998) in the stages of the convolutional KANs.

Convolutions have no bias, since a normalisation follows. Where prompts have one number, a weight a kernel tap is as
many parameters as a prompt a kernel tap, so that the CNN of equal width has the parameters of a MetaConvKAN but for the
meta-learner; `dense` spends the nine numbers an edge of a ConvKAN on width instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from metakan import ConvNetwork, conv_geometry, published_channels

META_LEARNER = 2 * 64 + 65 * 9  # weights and biases of one with prompt_dim 1, hidden_dim 64 and nine numbers
NUMBERS = 9  # of a B-spline edge, grid_size 5 and spline_order 3
HALVINGS = 30


def build(problem, settings) -> nn.Module:
    """Return the network: images (batch, channels, height, width) -> outputs (batch, outputs).

    Raises:
        ValueError: if the inputs are no images.
    """
    if len(problem.input_shape) != 3:
        raise ValueError(f"inputs: found shape {problem.input_shape}, expected (channels, height, width)")
    channels = published_channels(settings["layers"], settings["width_factor"])
    if settings["size"] != "equal_width":
        channels = widened(channels, problem, settings)
    return network(channels, problem, settings)


def network(channels: Sequence[int], problem, settings) -> ConvNetwork:
    """Return a network with these output channels."""
    geometry = conv_geometry(channels, problem.input_shape[0])
    options = {name: settings[name] for name in ("norm", "activation", "dropout", "head_dropout")}
    return ConvNetwork([nn.Conv2d(**shape, bias=False) for shape in geometry], problem.outputs, **options)


def widened(channels: Sequence[int], problem, settings) -> list[int]:
    """Return wider channels whose network is the nearest to the wanted number of parameters.

    All channels grow by one factor, found by halving; the last layer then takes up what rounding left.
    """

    def count(candidate: Sequence[int]) -> int:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in network(candidate, problem, settings).parameters())

    weights = sum(
        9 * shape["in_channels"] * shape["out_channels"] for shape in conv_geometry(channels, problem.input_shape[0])
    )
    target = count(channels) + (META_LEARNER if settings["size"] == "meta" else (NUMBERS - 1) * weights)
    low, high = 1.0, float(NUMBERS)
    for _ in range(HALVINGS):
        factor = (low + high) / 2
        low, high = (low, factor) if count([round(factor * width) for width in channels]) > target else (factor, high)
    found = [round(low * width) for width in channels]
    each = count([*found[:-1], found[-1] + 1]) - count(found)
    return [*found[:-1], found[-1] + round((target - count(found)) / each)]
