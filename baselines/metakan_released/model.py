"""MetaKAN as its authors released it (Zhao et al. 2025, zhao2025), in our own formulation.

    y_o = Σ_i M(z_oi) · [B_1(x_i) … B_{G+k}(x_i), SiLU(x_i)]

A meta-learner M, a two-layer perceptron, turns the prompt z of an edge into its B-spline coefficients and its base
weight. Prompts and weights start Xavier-normal, biases at zero. All weights of a layer are generated before they are
used, so autograd keeps them and the meta-learner's hidden values: this is the memory that `baselines/metakan` avoids.

The released code exists in three forms. `affine`, for fully connected images: no activation in the meta-learners, one
a layer. `relu`, for PDEs, and what the logs of the image runs were made with: a ReLU in them. `shared`, for function
fitting: one meta-learner with a ReLU for all layers, and prompts that start much larger, with the standard deviation
√(2 / (prompt_dim (in + out))) instead of √(2 / (prompt_dim + in·out)).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class ReleasedMetaLayer(nn.Module):
    """Maps (batch, inputs) to (batch, outputs) with the weights that a meta-learner generates.

    `prompts` holds z_oi, shape (outputs·inputs, prompt_dim).
    """

    def __init__(self, inputs: int, outputs: int, settings, grid_range):
        super().__init__()
        self.inputs, self.outputs, self.order = inputs, outputs, settings["spline_order"]
        low, high = grid_range
        step = (high - low) / settings["grid_size"]
        positions = torch.arange(-self.order, settings["grid_size"] + self.order + 1)
        self.register_buffer("knots", low + step * positions)
        self.prompts = nn.Parameter(torch.empty(outputs * inputs, settings["prompt_dim"]))
        if settings["prompt_fans"] == "edges":
            nn.init.xavier_normal_(self.prompts)
        else:
            nn.init.xavier_normal_(self.prompts.view(outputs, inputs, -1))

    def features(self, x: Tensor) -> Tensor:
        """Return B-splines by the recursion of Cox and de Boor, then SiLU: x's shape and grid_size + order + 1."""
        t, points = self.knots, x.unsqueeze(-1)
        values = ((t[:-1] <= points) & (points < t[1:])).to(x.dtype)
        for degree in range(1, self.order + 1):
            span = t[degree:] - t[:-degree]
            first, last = t[: -degree - 1], t[degree + 1 :]
            values = (points - first) / span[:-1] * values[..., :-1] + (last - points) / span[1:] * values[..., 1:]
        return torch.cat([values, functional.silu(points)], dim=-1)

    def forward(self, x: Tensor, meta_learner: nn.Module) -> Tensor:
        weights = meta_learner(self.prompts).reshape(self.outputs, -1)
        return functional.linear(self.features(x).flatten(1), weights)


class ReleasedMetaKAN(nn.Module):
    """The layers, and their meta-learners: one each, or one for all."""

    def __init__(self, width, settings, grid_range):
        super().__init__()
        self.layers = nn.ModuleList(
            ReleasedMetaLayer(inputs, outputs, settings, grid_range) for inputs, outputs in pairwise(width)
        )
        count = len(self.layers) if settings["sharing"] == "per_layer" else 1
        self.meta_learners = nn.ModuleList(_meta_learner(settings) for _ in range(count))

    def meta_learner(self, layer: int) -> nn.Module:
        """Return the meta-learner of a layer."""
        return self.meta_learners[layer if len(self.meta_learners) > 1 else 0]

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for position, layer in enumerate(self.layers):
            x = layer(x, self.meta_learner(position))
        return x


def _meta_learner(settings) -> nn.Sequential:
    numbers = settings["grid_size"] + settings["spline_order"] + 1
    learner = nn.Sequential(
        nn.Linear(settings["prompt_dim"], settings["hidden_dim"]),
        nn.ReLU() if settings["meta_activation"] == "relu" else nn.Identity(),
        nn.Linear(settings["hidden_dim"], numbers),
    )
    for linear in (learner[0], learner[2]):
        nn.init.xavier_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
    return learner


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    return ReleasedMetaKAN(problem.width(settings), settings, problem.grid_range)


def parameter_groups(model: ReleasedMetaKAN, settings) -> list[dict]:
    """Return prompts and meta-learners apart, as the paper counts and trains them."""
    return [
        {"name": "prompts", "params": [layer.prompts for layer in model.layers]},
        {"name": "meta_learners", "params": list(model.meta_learners.parameters())},
    ]


def prompts(model: ReleasedMetaKAN) -> list[Tensor]:
    """Return the prompts of every layer, each (outputs, inputs, prompt_dim)."""
    return [layer.prompts.detach().view(layer.outputs, layer.inputs, -1) for layer in model.layers]


def edge_functions(model: ReleasedMetaKAN, layer: int) -> Callable[[Tensor], Tensor]:
    """Return the edge functions of a layer: points (n,) -> values (outputs, inputs, n)."""
    edges, learner = model.layers[layer], model.meta_learner(layer)

    @torch.no_grad()
    def evaluate(points: Tensor) -> Tensor:
        return learner(edges.prompts).view(edges.outputs, edges.inputs, -1) @ edges.features(points).T

    return evaluate


def describe(model: nn.Module) -> dict[str, str]:
    """Return which implementation runs."""
    return {"implementation": "own formulation of the released MetaKAN"}


def memory_terms(problem, settings, batch_size: int) -> dict:
    """Return the terms of the memory model, float32 (metakan/MEMORY.md)."""
    pairs, prompt, hidden = list(pairwise(problem.width(settings))), settings["prompt_dim"], settings["hidden_dim"]
    grid, order = settings["grid_size"], settings["spline_order"]
    learner = [prompt * hidden, hidden, hidden * (grid + order + 1), grid + order + 1]
    layers = [_layer_memory(*pair, settings, batch_size, first=not at) for at, pair in enumerate(pairs)]
    edges = [inputs * outputs for inputs, outputs in pairs]
    owners = layers if settings["sharing"] == "per_layer" else layers[-1:]  # a shared one gets its gradient there first
    for layer in owners:
        layer["gradient"] += 4 * sum(learner)
    return {
        "tensors": [count * prompt for count in edges] + learner * len(owners),
        "buffers": len(pairs) * (grid + 2 * order + 1),
        "layers": layers,
    }


def _layer_memory(inputs: int, outputs: int, settings, batch: int, first: bool) -> dict[str, int]:
    """Return the bytes of one layer; `moments` are what it holds at those that can be the highest, in elements."""
    grid, order, hidden = settings["grid_size"], settings["spline_order"], settings["hidden_dim"]
    size, edges, splines, numbers = batch * inputs, inputs * outputs, grid + order, grid + order + 1
    values = [grid + 2 * order - degree for degree in range(order + 1)]  # splines of each degree
    relu = settings["meta_activation"] == "relu"
    generated, inner = edges * numbers, edges * hidden
    learner_backward = max(2 * inner + generated, 3 * inner if relu else 0, 2 * inner + edges)
    if first:  # nothing is differentiated with respect to the batch, so the recursion keeps nothing
        saved = size * numbers + inner
        moments = [inner + generated + size * (values[0] + 3 * values[1]), saved + generated, learner_backward]
    else:  # the recursion keeps the splines of each degree and, from the second on, the factors of both halves
        chain = sum(values[:-1]) + 2 * sum(values[2:]) + 1
        saved = size * (chain + numbers) + inner + generated
        moments = [
            size * (chain + 3 * splines) + inner + generated,
            saved + generated + size * numbers,
            size * (chain + 2 * splines + values[-2] + 3) + inner + generated,
            learner_backward + 2 * size,
        ]
    transient = max(*moments, saved, 2 * inner if relu else inner) - saved + batch * outputs
    return {"gradient": 4 * edges * settings["prompt_dim"], "saved": 4 * saved, "transient": 4 * transient}
