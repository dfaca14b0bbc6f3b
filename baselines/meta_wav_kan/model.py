"""MetaKAN with wavelets (Zhao et al. 2025, zhao2025) on the edge functions of WavKAN (bozorgasl2024).

    y_o = BN(Σ_i w_oi · ψ((x_i - t_oi) / s_oi)),    (w_oi, s_oi, t_oi) = M(z_oi)

M is one meta-learner for all layers, ψ the Mexican hat, BN a batch normalisation that every layer has.

`described`: M generates log(s), so that scales start around 1 and stay positive. The paper generates a scale and does
not say how it is kept from 0; WavKAN's start at 1. `released`: M generates s itself, from Xavier-normal numbers around
0. The argument of ψ is then many scales away from its centre, where ψ and its derivative vanish, and the network stays
near chance. The released code keeps a second weight an edge that no output depends on; it is left out here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from metakan import MetaKAN
from metakan.bases import Wavelet


class BatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` that meets a batch of one sample, which has no variance, with the running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) == 1:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class MetaWavKAN(nn.Module):
    """The layers of a `MetaKAN` with a norm after each; (batch, …) is flattened to (batch, inputs)."""

    def __init__(self, network: MetaKAN, batch_norm: bool):
        super().__init__()
        self.network = network
        self.norms = nn.ModuleList(BatchNorm(size) if batch_norm else nn.Identity() for size in network.width[1:])

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer, norm in zip(self.network.layers, self.norms, strict=True):
            x = norm(layer(x))
        return x


def build(problem, settings) -> nn.Module:
    """Return the network: inputs (batch, *input_shape) -> outputs (batch, outputs)."""
    options = {name: settings[name] for name in ("prompt_dim", "hidden_dim", "meta_activation", "init", "mode")}
    network = MetaKAN(problem.width(settings), basis=Wavelet(settings["scale"]), **options)
    if settings["init"] == "released":
        for layer in network.layers:
            nn.init.xavier_normal_(layer.prompts)  # over (outputs, inputs, prompt_dim): the released fans
    return MetaWavKAN(network, settings["batch_norm"])


def parameter_groups(model: MetaWavKAN, settings) -> list[dict]:
    """Return prompts and the meta-learner apart, as the paper counts and trains them; the norms are the rest."""
    return [
        {"name": "prompts", "params": [layer.prompts for layer in model.network.layers]},
        {"name": "meta_learners", "params": list(model.network.meta_learners.parameters())},
    ]


def prompts(model: MetaWavKAN) -> list[Tensor]:
    """Return the prompts of every layer, each (outputs, inputs, prompt_dim)."""
    return [layer.prompts.detach() for layer in model.network.layers]


def edge_functions(model: MetaWavKAN, layer: int) -> Callable[[Tensor], Tensor]:
    """Return the edge functions of a layer before its norm: points (n,) -> values (outputs, inputs, n)."""
    return torch.no_grad()(model.network.layers[layer].edge_functions)


def describe(model: MetaWavKAN) -> dict[str, str]:
    """Return how the engine evaluated the network."""
    return {"mode": model.network.mode_used}
