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


def memory_terms(problem, settings, batch_size: int) -> dict:
    """Return the terms of the memory model, float32 (metakan/MEMORY.md)."""
    grid, order, width = settings["grid_size"], settings["spline_order"], problem.width(settings)
    pairs = list(zip(width[:-1], width[1:], strict=True))
    edges = [inputs * outputs for inputs, outputs in pairs]
    layers = [
        _layer_memory(*pair, settings, batch_size, before=edges[at - 1] if at else 0) for at, pair in enumerate(pairs)
    ]
    frozen = [6 * i * o + (grid + 1 + 2 * order) * i + 4 * o for i, o in pairs]  # masks, symbolic maps, grid, nodes
    return {
        "tensors": [count * each for count in edges for each in (grid + order, 1, 1)],
        "buffers": sum(frozen),
        "layers": layers,
    }


def _layer_memory(inputs: int, outputs: int, settings, batch: int, before: int) -> dict[str, int]:
    """Return the bytes of one layer; `before` counts the edges of the layer before it, 0 for the first.

    A value an edge and sample is what dominates: the spline's, kept for backward, and several copies.
    """
    grid, order, keeps = settings["grid_size"], settings["spline_order"], settings["save_act"]
    size, edges, numbers = batch * inputs, inputs * outputs, grid + order
    values = [grid + 2 * order - degree for degree in range(order + 1)]  # splines of each degree
    wide = batch * edges
    # The recursion keeps the splines of each degree twice, and both halves' factors, unless the batch is its input.
    chain = values[0] // 4 + 2 * sum(values[1:-1]) + numbers + 2 * sum(values[2:]) if before else 0
    plain = max(values[at] // (1 if at else 4) + 3 * values[at + 1] for at in range(order))
    recorded = 3 * wide if keeps else 0
    saved = size * (chain + numbers + 2) + wide + recorded
    held = 0 if keeps else 2 * batch * before  # copies of the layer before, held by the loop over the layers
    moments = [
        size * (chain + 2 * numbers if before else plain) + held,
        size * (chain + numbers + 2) + 5 * wide + held,
        size * (chain + numbers + 2) + recorded + 4 * wide,
        size * (chain + numbers + 2) + recorded + wide + 2 * edges * numbers,
        size * (chain + 3 * numbers) + recorded + edges * (numbers + 2),
    ]
    transient = max(*moments, saved) - saved
    gradient = edges * (numbers + 2)
    return {"gradient": 4 * gradient, "saved": 4 * saved, "transient": 4 * transient, "retained": 4 * recorded}
