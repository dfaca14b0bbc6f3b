"""One affine map: the floor below which no nonlinear method may fall (Hastie et al. 2009, hastie2009)."""

from __future__ import annotations

from torch import nn


def build(problem, settings) -> nn.Module:
    """Return the map: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(problem.inputs, problem.outputs, bias=settings["bias"]))


def memory_terms(problem, settings, batch_size: int) -> dict:
    """Return the terms of the memory model, float32 (metakan/MEMORY.md)."""
    largest = problem.inputs * problem.outputs
    trainable = largest + problem.outputs * bool(settings["bias"])
    layer = {"gradient": 4 * trainable, "saved": 0, "transient": 4 * (trainable + batch_size * problem.outputs)}
    return {"trainable": trainable, "largest": largest, "buffers": 0, "layers": [layer]}
