"""flashkan 0.2.0 (flashkan2026): cubic B-splines as truncated powers, and a base branch of SiLU.

The package's layers are used, since its network has no argument for the grid's range. They are cubic whatever order
they are asked for. The package compiles its basis on the first call; without `compiled` the same code runs uncompiled,
which also gives it second derivatives.
"""

from __future__ import annotations

from importlib.metadata import version
from itertools import pairwise

import torch
from flashkan import KANLayer
from torch import Tensor, nn


class FlashKAN(nn.Module):
    """A stack of the package's layers: inputs (batch, *input_shape) -> outputs (batch, outputs)."""

    def __init__(self, width, grid_size: int, grid_range, compiled: bool):
        super().__init__()
        self.compiled = compiled
        options = {"grid_size": grid_size, "grid_range": tuple(grid_range)}
        self.layers = nn.ModuleList(KANLayer(inputs, outputs, **options) for inputs, outputs in pairwise(width))

    def forward(self, x: Tensor) -> Tensor:
        if self.compiled:
            return self._through(x)
        with torch.compiler.set_stance("force_eager"):
            return self._through(x)

    def _through(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = layer(x)
        return x


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    return FlashKAN(problem.width(settings), settings["grid_size"], problem.grid_range, settings["compiled"])


def declines(problem, settings) -> str | None:
    """Return why a problem cannot be solved: compiled code of torch is differentiated once."""
    if problem.family == "pde" and settings["compiled"]:
        return "compiled: true gives no second derivatives"
    return None


def describe(model: nn.Module) -> dict[str, str]:
    """Return which package ran."""
    return {"implementation": f"flashkan {version('flashkan')}, upstream package"}
