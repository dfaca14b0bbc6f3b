"""MetaKAN the obvious way, as the released code does it (Zhao et al. 2025): every weight is generated, then used.

One meta-learner a layer, Xavier-normal prompts and weights, zero biases. The released fully connected image code has no activation in
the meta-learner (`affine`), while the logs published beside it print one (`relu`). Autograd keeps every generated weight and the
meta-learner's hidden values, which is what this baseline is here to show.
"""

from itertools import pairwise

import torch
from torch import nn


class Layer(nn.Module):
    """y = Σ_i φ_oi(x_i) with φ_oi = M(z_oi) · [B_1 … B_{G+k}, SiLU]."""

    def __init__(self, inputs, outputs, settings, grid_range):
        super().__init__()
        self.shape, self.order = (outputs, inputs), settings["spline_order"]
        size, hidden = settings["grid_size"], settings["hidden_dim"]
        low, high = grid_range
        knots = torch.arange(-self.order, size + self.order + 1) * (high - low) / size + low
        self.register_buffer("knots", knots)
        self.prompts = nn.Parameter(torch.empty(outputs * inputs, settings["prompt_dim"]))
        activation = nn.ReLU() if settings["meta_activation"] == "relu" else nn.Identity()
        last = nn.Linear(hidden, size + self.order + 1)
        self.meta_learner = nn.Sequential(nn.Linear(settings["prompt_dim"], hidden), activation, last)
        nn.init.xavier_normal_(self.prompts)
        for linear in (self.meta_learner[0], last):
            nn.init.xavier_normal_(linear.weight)
            nn.init.zeros_(linear.bias)

    def features(self, x):
        """Return `(batch, inputs, G + k + 1)`: B-splines by the Cox-de Boor recursion, then SiLU."""
        x, t = x.unsqueeze(-1), self.knots
        values = ((x >= t[:-1]) & (x < t[1:])).to(x.dtype)
        for k in range(1, self.order + 1):
            rising = (x - t[: -k - 1]) / (t[k:-1] - t[: -k - 1])
            falling = (t[k + 1 :] - x) / (t[k + 1 :] - t[1:-k])
            values = rising * values[..., :-1] + falling * values[..., 1:]
        return torch.cat([values, nn.functional.silu(x)], dim=-1)

    def forward(self, x):
        weights = self.meta_learner(self.prompts).view(*self.shape, -1)
        return nn.functional.linear(self.features(x).flatten(1), weights.flatten(1))


def build(problem, settings):
    """Return a network of such layers; inputs are flattened."""
    width = pairwise(problem.width(settings))
    return nn.Sequential(nn.Flatten(), *(Layer(i, o, settings, problem.grid_range) for i, o in width))


def parameter_groups(model, settings):
    """Return prompts and meta-learners apart."""
    layers = [module for module in model if isinstance(module, Layer)]
    return [
        {"name": "prompts", "params": [layer.prompts for layer in layers]},
        {"name": "meta_learners", "params": [p for layer in layers for p in layer.meta_learner.parameters()]},
    ]
