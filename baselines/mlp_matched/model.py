"""A multilayer perceptron (Rumelhart et al. 1986, rumelhart1986) with as many parameters as a MetaKAN has.

Its hidden width is the one whose trainable parameters come nearest to those of the MetaKAN, or dense KAN, with the same
task and axes, which are counted on a model without storage. Depth, activation and initialisation are those of
`baselines/mlp`. The record states the width, the count and the target.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

import torch
from torch import Tensor, nn

from metakan import KAN, MetaKAN

ACTIVATIONS = {"silu": nn.SiLU, "gelu": nn.GELU, "relu": nn.ReLU, "tanh": nn.Tanh}


class MatchedMLP(nn.Module):
    """Maps (batch, …), flattened, to (batch, outputs) by the widths `width`; `target` is the count aimed at."""

    def __init__(self, width: list[int], activation: str, target: int):
        super().__init__()
        self.width, self.target = width, target
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(width):
            layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    target = target_parameters(problem.width(settings), settings)
    ends, depth = (problem.inputs, problem.outputs), settings["depth"]
    return MatchedMLP(matched_width(*ends, depth, target), settings["activation"], target)


def target_parameters(width: list[int], settings) -> int:
    """Return the trainable parameters of the network that is matched."""
    options = {name: settings[name] for name in ("grid_size", "spline_order")}
    with torch.device("meta"):
        if settings["match"] == "kan":
            reference: nn.Module = KAN(width, **options)
        else:
            clusters = settings["num_clusters"]
            options["num_clusters"] = len(width) - 1 if clusters == "per_layer" else clusters
            reference = MetaKAN(width, **options, **{name: settings[name] for name in ("prompt_dim", "hidden_dim")})
    return sum(parameter.numel() for parameter in reference.parameters())


def matched_width(inputs: int, outputs: int, depth: int, target: int) -> list[int]:
    """Return the widths of the MLP, all hidden ones equal, whose number of parameters is nearest to `target`."""

    def count(hidden: int) -> int:
        return sum(first * second + second for first, second in pairwise([inputs, *[hidden] * depth, outputs]))

    if not depth:
        return [inputs, outputs]
    above = 1 + bisect_left(range(1, target), target, key=count)  # the first that has as many parameters or more
    hidden = min((max(above - 1, 1), above), key=lambda candidate: abs(count(candidate) - target))
    return [inputs, *[hidden] * depth, outputs]


def describe(model: MatchedMLP) -> dict[str, object]:
    """Return the width and the count that were reached, and the count aimed at."""
    reached = sum(parameter.numel() for parameter in model.parameters())
    return {"width": model.width, "parameters": reached, "target_parameters": model.target}
