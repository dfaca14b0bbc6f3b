"""MetaKAN with the edge functions of FastKAN (Zhao et al. 2025, zhao2025; FastKAN: Li 2024, li2024).

    y_o = Σ_i Σ_c w_oic · exp(-((LN(x)_i - m_c) / h)²) + Σ_i v_oi · SiLU(x_i),    (w_oi, v_oi) = M(z_oi)

M is one meta-learner for all layers, LN a layer normalisation of the layer's input, the m_c are equally spaced over
[-2, 2]. As in the released code there is no bias. The engine of the package `metakan` evaluates both sums, each with
its own part of what M generates, so that neither the weights nor the basis are kept for backward.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from metakan import Basis, MetaLearner
from metakan.bases import RBF
from metakan.engine import evaluate
from metakan.engine.shape import FullyConnected
from metakan.layer import MetaEdges

NORMALISED_RANGE = (-2.0, 2.0)
"""Where the centres are if the input is normalised; otherwise they are on the grid range of the problem."""


class SiLU(Basis):
    """The base function alone."""

    name = "silu"
    numbers = 1
    amplitude = (True,)
    gains = (1.0,)

    def planes(self, x: Tensor) -> Tensor:
        return functional.silu(x).unsqueeze(0)

    def describe(self) -> dict[str, object]:
        return {"name": self.name}


class MetaFastKANLayer(nn.Module):
    """Maps (batch, inputs) to (batch, outputs); `edges` holds the prompts, the network the meta-learner."""

    def __init__(self, inputs: int, outputs: int, meta_learner: MetaLearner, grid, normalise: bool, mode: str):
        super().__init__()
        self.norm = nn.LayerNorm(inputs) if normalise else nn.Identity()
        self.edges = MetaEdges(outputs, inputs, RBF(*grid), meta_learner, register=False)
        self.radial, self.base = RBF(*grid, base=False), SiLU()
        self.mode, self.mode_used = mode, set()

    def forward(self, x: Tensor) -> Tensor:
        source, shape = self.edges.source(), FullyConnected()
        *kept, weight, bias = source.tensors()
        radial, base = (source.rebuild(*kept, weight[part], bias[part]) for part in (slice(-1), slice(-1, None)))
        first, one = evaluate(self.norm(x), radial, self.radial, shape, self.mode)
        second, other = evaluate(x, base, self.base, shape, self.mode)
        self.mode_used = {one, other}
        return first + second


class MetaFastKAN(nn.Module):
    """The layers and the meta-learner that they share."""

    def __init__(self, width, settings, grid_range):
        super().__init__()
        size = settings["grid_size"], settings["spline_order"]
        whole = RBF(*size, NORMALISED_RANGE)
        self.meta_learner = MetaLearner(
            settings["prompt_dim"],
            settings["hidden_dim"],
            whole.numbers,
            settings["meta_activation"],
            init=settings["init"],
            gains=whole.gains,
        )
        layers = []
        for at, (inputs, outputs) in enumerate(pairwise(width)):
            norm = normalised(inputs, at, settings)
            grid = (*size, NORMALISED_RANGE if norm else tuple(grid_range))
            layers.append(MetaFastKANLayer(inputs, outputs, self.meta_learner, grid, norm, settings["mode"]))
        self.layers = nn.ModuleList(layers)
        if settings["init"] == "released":
            for layer in layers:
                nn.init.xavier_normal_(layer.edges.prompts)  # over (outputs, inputs, prompt_dim): the released fans

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = layer(x)
        return x


def normalised(inputs: int, position: int, settings) -> bool:
    """Tell whether a layer normalises its input; a single number cannot be, it would always be 0."""
    wanted = {"all": True, "hidden": position > 0, "none": False}[settings["layer_norm"]]
    return wanted and inputs > 1


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    return MetaFastKAN(problem.width(settings), settings, problem.grid_range)


def parameter_groups(model: MetaFastKAN, settings) -> list[dict]:
    """Return prompts and the meta-learner apart, as the paper counts and trains them; the norms are the rest."""
    return [
        {"name": "prompts", "params": [layer.edges.prompts for layer in model.layers]},
        {"name": "meta_learners", "params": list(model.meta_learner.parameters())},
    ]


def prompts(model: MetaFastKAN) -> list[Tensor]:
    """Return the prompts of every layer, each (outputs, inputs, prompt_dim)."""
    return [layer.edges.prompts.detach() for layer in model.layers]


def edge_functions(model: MetaFastKAN, layer: int):
    """Return what an edge adds to its output, as a function of the layer's normalised input.

    Points (n,) -> values (outputs, inputs, n). The base function, which sees the input before the norm, is part of it
    only where there is no norm.
    """
    edges = model.layers[layer]

    @torch.no_grad()
    def values(points: Tensor) -> Tensor:
        numbers = edges.edges.numbers()
        if isinstance(edges.norm, nn.Identity):
            return numbers @ edges.edges.basis.features(points, dim=0)
        return numbers[..., :-1] @ edges.radial.features(points, dim=0)

    return values


def describe(model: MetaFastKAN) -> dict[str, str]:
    """Return how the engine evaluated the network."""
    return {"mode": "+".join(sorted(set().union(*(layer.mode_used for layer in model.layers))))}
