"""One affine map: the floor below which no nonlinear method may fall (Hastie et al. 2009, hastie2009)."""

from __future__ import annotations

from torch import nn


def build(problem, settings) -> nn.Module:
    """Return the map: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(problem.inputs, problem.outputs, bias=settings["bias"]))


def memory_terms(problem, settings, batch_size: int) -> dict:
    """Return the terms of the memory model, float32 (metakan/MEMORY.md)."""
    tensors = [problem.inputs * problem.outputs, problem.outputs][: 1 + bool(settings["bias"])]
    gradient = 4 * sum(tensors)
    layer = {"gradient": gradient, "saved": 0, "transient": gradient + 4 * batch_size * problem.outputs}
    return {"tensors": tensors, "buffers": 0, "layers": [layer]}
