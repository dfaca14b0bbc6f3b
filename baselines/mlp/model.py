"""A multilayer perceptron (Rumelhart et al. 1986, rumelhart1986) with torch's default initialisation."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

ACTIVATIONS = {"silu": nn.SiLU, "gelu": nn.GELU, "relu": nn.ReLU, "tanh": nn.Tanh}


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(problem.width(settings)):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[settings["activation"]]()]
    return nn.Sequential(*layers[:-1])
