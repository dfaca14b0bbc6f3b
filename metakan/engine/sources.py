"""Where the numbers of the edge functions come from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..meta_learner import generate


@dataclass(frozen=True)
class Dense:
    """Numbers that are parameters: ``weight (out, edges, n_b)``."""

    weight: Tensor

    @property
    def parameter(self) -> Tensor:
        return self.weight

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    def rebuild(self, weight: Tensor) -> Dense:
        """Return the same source over other tensors, in the order of `tensors`."""
        return Dense(weight)

    def numbers(self) -> Tensor:
        """Return the numbers ``(out, edges, n_b)``; differentiable."""
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

    @property
    def parameter(self) -> Tensor:
        return self.prompts

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.prompts, *self.hidden, *self.output)

    def rebuild(self, prompts: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Generated:
        """Return the same source over other tensors, in the order of `tensors`."""
        return Generated(prompts, (w1, b1), (w2, b2), self.activation)

    def numbers(self) -> Tensor:
        """Return the numbers ``(out, edges, n_b)``; differentiable."""
        return generate(self.prompts, self.hidden, self.output, self.activation)


@dataclass(frozen=True)
class Amplified:
    """Generated numbers times a factor an edge: ``a_oi M(z_oi)`` with ``amplitudes (out, edges, 1)``."""

    amplitudes: Tensor
    shapes: Generated

    @property
    def parameter(self) -> Tensor:
        return self.shapes.prompts

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.amplitudes, *self.shapes.tensors())

    def rebuild(self, amplitudes: Tensor, *tensors: Tensor) -> Amplified:
        """Return the same source over other tensors, in the order of `tensors`."""
        return Amplified(amplitudes, self.shapes.rebuild(*tensors))

    def numbers(self) -> Tensor:
        """Return the numbers ``(out, edges, n_b)``; differentiable."""
        return self.amplitudes * self.shapes.numbers()
