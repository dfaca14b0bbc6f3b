"""The network that turns a prompt into the numbers of an edge function."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from . import checks

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "none": lambda hidden: hidden,
    "tanh": torch.tanh,
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
}


def generate(prompts: Tensor, hidden: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor], activation: str) -> Tensor:
    """Return ``W2 act(W1 z + b1) + b2`` for prompts ``(..., prompt_dim)``: the numbers ``(..., n_b)``."""
    inner = nn.functional.linear(prompts, *hidden)
    return nn.functional.linear(ACTIVATIONS[activation](inner), *output)


class MetaLearner(nn.Module):
    """A two-layer perceptron from prompts ``(..., prompt_dim)`` to edge numbers ``(..., numbers)`` (MetaKAN, 2025).

    It has ``(prompt_dim + 1) * hidden_dim + (hidden_dim + 1) * numbers`` trainable parameters, whatever the size of
    the layers that share it.

    Args:
        prompt_dim: numbers a prompt.
        hidden_dim: width of the hidden layer.
        numbers: numbers generated for each prompt (n_b).
        activation: "relu" (the paper), "none" (as in the released fully connected image code; the map is then
            affine and ``hidden_dim`` adds nothing but parameters), "tanh", "silu" or "gelu".
        init: "scaled" or "released", see `reset_parameters`.
        gains: standard deviation of each generated number over standard normal prompts with "scaled"; ones by default.

    Raises:
        ValueError, TypeError: for sizes below one, an unknown activation or initialisation.
    """

    def __init__(
        self,
        prompt_dim: int,
        hidden_dim: int,
        numbers: int,
        activation: str = "relu",
        *,
        init: str = "scaled",
        gains: tuple[float, ...] | None = None,
    ):
        super().__init__()
        self.prompt_dim = checks.integer("prompt_dim", prompt_dim)
        self.hidden_dim = checks.integer("hidden_dim", hidden_dim)
        self.numbers = checks.integer("numbers", numbers)
        self.activation = checks.choice("meta_activation", activation, checks.META_ACTIVATIONS)
        self.init = checks.choice("init", init, checks.INITS)
        self.gains = tuple(gains) if gains is not None else (1.0,) * numbers
        self.hidden = nn.Linear(prompt_dim, hidden_dim)
        self.output = nn.Linear(hidden_dim, numbers)
        self.reset_parameters()

    def forward(self, prompts: Tensor) -> Tensor:
        return generate(prompts, *self.tables(), self.activation)

    def tables(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return ``((W1, b1), (W2, b2))``."""
        return (self.hidden.weight, self.hidden.bias), (self.output.weight, self.output.bias)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new parameters.

        "released": Xavier-normal weights and zero biases, so that all ReLU kinks meet at the prompt 0.

        "scaled": hidden units come in pairs (u, -u) with opposite output weights, which makes the map odd, so that the
        generated numbers have mean zero over symmetric prompts (a common mean would send the same large signal to
        every output). The kinks are spread over the quantiles of a standard normal prompt and each unit is active on
        the side away from 0; the first pair kinks at 0, so that every prompt has a gradient and no unit is dead. The
        output weights are then rescaled to give each number the standard deviation in ``gains``.
        """
        if self.init == "released":
            for layer in (self.hidden, self.output):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
            return
        pairs, odd = divmod(self.hidden_dim, 2)
        size = self.hidden_dim**-0.25  # balances the step that one optimiser step takes in either layer
        directions = torch.randn(pairs + odd, self.prompt_dim)
        directions = size * directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-6)
        levels = torch.arange(pairs + odd) / max(pairs + odd, 1)
        kinks = math.sqrt(2) * torch.erfinv(levels)
        if self.activation == "none":
            kinks.zero_()
        if odd:  # the unit without a partner is kept linear over all likely prompts
            kinks[-1] = -4.0
        outputs = torch.randn(self.numbers, pairs + odd)
        self.hidden.weight.copy_(torch.cat([directions, -directions[:pairs]]))
        self.hidden.bias.copy_(-size * torch.cat([kinks, kinks[:pairs]]))
        self.output.weight.copy_(torch.cat([outputs, -outputs[:, :pairs]], dim=1))
        self.output.bias.zero_()
        prompts = self._typical_prompts()
        numbers = self(prompts)
        factors = torch.tensor(self.gains).to(numbers) / numbers.std(dim=0).clamp_min(1e-6)
        self.output.weight.mul_(factors.unsqueeze(1))
        self.output.bias.copy_(-factors * numbers.mean(dim=0))

    def _typical_prompts(self) -> Tensor:
        if self.prompt_dim > 1:
            half = torch.randn(2048, self.prompt_dim)
            return torch.cat([half, -half]).to(self.hidden.weight)
        levels = (torch.arange(4096) + 0.5) / 4096
        return (math.sqrt(2) * torch.erfinv(2 * levels - 1)).unsqueeze(1).to(self.hidden.weight)

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"
