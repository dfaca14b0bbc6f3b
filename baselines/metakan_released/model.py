"""MetaKAN as its authors released it (Zhao et al. 2025, zhao2025), in our own formulation.

Every layer has its own meta-learner, a two-layer perceptron that turns the prompt of an edge into its B-spline
coefficients and its base weight. Prompts and weights start Xavier-normal, biases at zero. All weights of a layer are
generated before they are used, so autograd keeps them and the meta-learner's hidden values: this is the memory that
`baselines/metakan` avoids. The released fully connected image code has no activation in the meta-learner (`affine`);
the logs beside it, and the released code for other tasks, have a ReLU (`relu`).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class ReleasedMetaLayer(nn.Module):
    """Maps (batch, inputs) to (batch, outputs) by y_o = Σ_i M(z_oi) · [B_1(x_i) … B_{G+k}(x_i), SiLU(x_i)].

    `prompts` holds z_oi, shape (outputs·inputs, prompt_dim); `meta_learner` is M, with hidden_dim hidden units.
    """

    def __init__(self, inputs: int, outputs: int, settings, grid_range):
        super().__init__()
        self.inputs, self.outputs, self.order = inputs, outputs, settings["spline_order"]
        low, high = grid_range
        step = (high - low) / settings["grid_size"]
        positions = torch.arange(-self.order, settings["grid_size"] + self.order + 1)
        self.register_buffer("knots", low + step * positions)
        self.prompts = nn.Parameter(torch.empty(outputs * inputs, settings["prompt_dim"]))
        numbers = settings["grid_size"] + self.order + 1
        self.meta_learner = nn.Sequential(
            nn.Linear(settings["prompt_dim"], settings["hidden_dim"]),
            nn.ReLU() if settings["meta_activation"] == "relu" else nn.Identity(),
            nn.Linear(settings["hidden_dim"], numbers),
        )
        nn.init.xavier_normal_(self.prompts)
        for linear in (self.meta_learner[0], self.meta_learner[2]):
            nn.init.xavier_normal_(linear.weight)
            nn.init.zeros_(linear.bias)

    def features(self, x: Tensor) -> Tensor:
        """Return B-splines by the recursion of Cox and de Boor, then SiLU: (batch, inputs, grid_size + order + 1)."""
        t, points = self.knots, x.unsqueeze(-1)
        values = ((t[:-1] <= points) & (points < t[1:])).to(x.dtype)
        for degree in range(1, self.order + 1):
            span = t[degree:] - t[:-degree]
            first, last = t[: -degree - 1], t[degree + 1 :]
            values = (points - first) / span[:-1] * values[..., :-1] + (last - points) / span[1:] * values[..., 1:]
        return torch.cat([values, functional.silu(points)], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.meta_learner(self.prompts).reshape(self.outputs, -1)
        return functional.linear(self.features(x).flatten(1), weights)


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    layers = [
        ReleasedMetaLayer(inputs, outputs, settings, problem.grid_range)
        for inputs, outputs in pairwise(problem.width(settings))
    ]
    return nn.Sequential(nn.Flatten(), *layers)


def parameter_groups(model: nn.Module, settings) -> list[dict]:
    """Return prompts and meta-learners apart, as the paper counts and trains them."""
    layers = list(model)[1:]
    learners = [parameter for layer in layers for parameter in layer.meta_learner.parameters()]
    return [
        {"name": "prompts", "params": [layer.prompts for layer in layers]},
        {"name": "meta_learners", "params": learners},
    ]


def prompts(model: nn.Module) -> list[Tensor]:
    """Return the prompts of every layer, each (outputs, inputs, prompt_dim)."""
    return [layer.prompts.detach().view(layer.outputs, layer.inputs, -1) for layer in list(model)[1:]]


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
    return {
        "tensors": [count * prompt for count in edges] + learner * len(pairs),
        "buffers": len(pairs) * (grid + 2 * order + 1),
        "layers": [{**layer, "gradient": layer["gradient"] + 4 * sum(learner)} for layer in layers],
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
