"""A low-rank part of the edge numbers that is trained beside the generated ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .bases import Basis
from .engine import Dense, evaluate
from .engine.shape import FullyConnected


class LowRankRemainder(nn.Module):
    """Edge numbers ``R_oi = sum_r U_or V_ri`` with ``U (out, rank)`` and ``V (rank, in, n_b)``.

    They are those of a dense layer of ``rank`` outputs and a matrix behind it, and are evaluated so: nothing of the
    size of all edges is kept. V starts as a dense layer of that size does, and U with zeros, so that a layer starts as
    it would without the remainder (as low-rank adaptation does, Hu et al., 2022).

    It has ``rank (out + in n_b)`` trainable parameters.

    Raises:
        ValueError: for a basis whose edge functions are not linear in their numbers, or that has trainable numbers.
    """

    def __init__(self, outputs: int, inputs: int, rank: int, basis: Basis):
        super().__init__()
        if not basis.linear or basis.learned:
            raise ValueError(
                f"remainder_rank: found {rank} with the basis {basis.name!r}, expected 0: its edge functions are not "
                "linear in their numbers, or it has trainable numbers of its own"
            )
        self.basis = basis
        self.output_factor = nn.Parameter(torch.empty(outputs, rank))
        self.input_factor = nn.Parameter(torch.empty(rank, inputs, basis.numbers))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw V anew and set U to zero."""
        self.output_factor.zero_()
        scales = self.input_factor.new_tensor(self.basis.scales(self.input_factor.shape[1]))
        self.input_factor.normal_().mul_(scales)

    def numbers(self) -> Tensor:
        """Return the numbers of every edge, ``(out, in, n_b)``."""
        return torch.einsum("or,rib->oib", self.output_factor, self.input_factor)

    def forward(self, x: Tensor, mode: str) -> Tensor:
        """Return ``sum_i R_oi . b(x_i)``, ``(batch, in)`` to ``(batch, out)``; ``mode`` as in `metakan.MetaKAN`."""
        inner, _ = evaluate(x, Dense(self.input_factor), self.basis, FullyConnected(), mode)
        return inner @ self.output_factor.t().to(inner.dtype)
