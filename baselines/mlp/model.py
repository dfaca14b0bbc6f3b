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


def memory_terms(problem, settings, batch_size: int) -> dict:
    """Return the terms of the memory model, float32 (metakan/MEMORY.md).

    SiLU and GELU keep their argument and the next product its own; ReLU and tanh keep their value, which is the same.
    """
    pairs, kept = list(pairwise(problem.width(settings))), 2 if settings["activation"] in ("silu", "gelu") else 1
    counts, layers = [inputs * outputs + outputs for inputs, outputs in pairs], []
    for position, (inputs, outputs) in enumerate(pairs):
        argument = 4 * batch_size * inputs if position else 0  # the batch is there anyway
        layers.append(
            {
                "gradient": 4 * counts[position],
                "saved": kept * argument,
                "transient": 4 * counts[position] + argument + 4 * batch_size * outputs,
            }
        )
    tensors = [size for inputs, outputs in pairs for size in (inputs * outputs, outputs)]
    return {"tensors": tensors, "buffers": 0, "layers": layers}
