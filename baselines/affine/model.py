"""One affine map: the floor below which no nonlinear method may fall (Hastie et al. 2009, hastie2009)."""

from __future__ import annotations

from torch import nn


def build(problem, settings) -> nn.Module:
    """Return the map: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(problem.inputs, problem.outputs, bias=settings["bias"]))
