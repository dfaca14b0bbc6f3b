"""pykan 0.2.8, the package of the KAN paper's authors (Liu et al. 2024, liu2024), with its side effects contained.

Its constructor rewrites the list of widths it is given, reseeds the global generators of torch, NumPy and `random`
with a fixed seed, and writes checkpoints; `to` takes no dtype. The symbolic branch, one Python call an edge, is off,
as in pykan's own speed mode; its affine maps would stay trainable without ever receiving a gradient and are frozen.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import torch
from kan import KAN
from torch import Tensor, nn


class ContainedKAN(nn.Module):
    """A `kan.KAN`, in `network`, that flattens its input and moves like any module."""

    def __init__(self, network: KAN):
        super().__init__()
        self.network = network
        for layer in network.symbolic_fun:
            layer.affine.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.flatten(1))

    def _apply(self, fn, recurse=True):
        """Move what pykan keeps outside the reach of `Module.to`, too: a plain index tensor and the device's name."""
        super()._apply(fn, recurse)
        self.network.input_id = fn(self.network.input_id)
        self.network.device = next(self.network.parameters()).device
        return self


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs).

    One draw from torch's global generator seeds pykan; beyond that draw every global generator is left as it was.
    """
    seed = int(torch.randint(2**31, ()))
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the constructor reseeds it
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            network = KAN(
                width=list(problem.width(settings)),
                grid=settings["grid_size"],
                k=settings["spline_order"],
                noise_scale=settings["noise_scale"],
                grid_range=list(problem.grid_range),
                save_act=settings["save_act"],
                symbolic_enabled=False,
                auto_save=False,
                seed=seed,
            )
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
    return ContainedKAN(network)


def to_pykan(model: ContainedKAN) -> KAN:
    """Return the `kan.KAN` itself."""
    return model.network


def edge_functions(model: ContainedKAN, layer: int) -> Callable[[Tensor], Tensor]:
    """Return the edge functions of a layer: points (n,) -> values (outputs, inputs, n)."""
    edges = model.network.act_fun[layer]

    def evaluate(points: Tensor) -> Tensor:
        with torch.no_grad():
            return edges(points.unsqueeze(1).expand(-1, edges.in_dim))[2].permute(1, 2, 0)

    return evaluate
