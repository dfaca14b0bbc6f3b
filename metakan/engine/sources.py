"""Where the numbers of the edge functions come from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..meta_learner import generate


@dataclass(frozen=True)
class Dense:
    """Numbers that are parameters: ``weight (out, edges, n_b)``."""

    weight: Tensor

    def numbers(self) -> Tensor:
        return self.weight


@dataclass(frozen=True)
class Generated:
    """Numbers generated from ``prompts (out, edges, prompt_dim)`` by a meta-learner.

    The output layer is already multiplied by the layer's scales.
    """

    prompts: Tensor
    hidden: tuple[Tensor, Tensor]
    output: tuple[Tensor, Tensor]
    activation: str

    def numbers(self) -> Tensor:
        return generate(self.prompts, self.hidden, self.output, self.activation)
