"""kanditioned 1.0.4 (kanditioned2025): edge functions are straight between equally spaced values, and outside them.

    y_o = Σ_i φ_oi(x_i),    φ_oi(x) = (1 - s) · v_oi,c + s · v_oi,c+1    (s: the place of x in its interval c)

A layer reads two values an edge from a table. There is no base branch. Functions start as straight lines of random
slope.
"""

from __future__ import annotations

from importlib.metadata import version
from itertools import pairwise

from KANditioned import KANLayer
from torch import nn


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    options = {
        "init": "random_normal",
        "num_control_points": settings["control_points"],
        "spline_width": settings["spline_width"],
        "impl": settings["lookup"],
    }
    layers = [KANLayer(inputs, outputs, **options) for inputs, outputs in pairwise(problem.width(settings))]
    return nn.Sequential(nn.Flatten(), *layers)


def describe(model: nn.Module) -> dict[str, str]:
    """Return which package ran."""
    return {"implementation": f"kanditioned {version('kanditioned')}, upstream package"}
