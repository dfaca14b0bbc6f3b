"""MetaKAN (Zhao et al. 2025, zhao2025) with polynomial edge functions, through the package `metakan`.

    φ_oi(x) = Σ_n c_oin · P_n(tanh x) + v_oi · SiLU(x),    (c_oi, v_oi) = M(z_oi)

The edge functions are those of `baselines/polynomial_kan`; prompts z and meta-learners M generate their numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from metakan import MetaKAN

PASSED_ON = ("basis", "prompt_dim", "hidden_dim", "num_clusters", "meta_activation", "init", "mode")


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    options = {name: settings[name] for name in PASSED_ON}
    return nn.Sequential(nn.Flatten(), MetaKAN(problem.width(settings), spline_order=settings["degree"], **options))


def parameter_groups(model: nn.Module, settings) -> list[dict]:
    """Return prompts and meta-learners apart, as the paper counts and trains them."""
    return [
        {"name": "prompts", "params": [layer.prompts for layer in model[1].layers]},
        {"name": "meta_learners", "params": list(model[1].meta_learners.parameters())},
    ]


def prompts(model: nn.Module) -> list[Tensor]:
    """Return the prompts of every layer, each (outputs, inputs, prompt_dim)."""
    return [layer.prompts.detach() for layer in model[1].layers]


def edge_functions(model: nn.Module, layer: int) -> Callable[[Tensor], Tensor]:
    """Return the edge functions of a layer: points (n,) -> values (outputs, inputs, n)."""
    return torch.no_grad()(model[1].layers[layer].edge_functions)


def describe(model: nn.Module) -> dict[str, str]:
    """Return how the engine evaluated the network."""
    return {"mode": model[1].mode_used}
