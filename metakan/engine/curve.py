"""A scalar prompt through one ReLU layer: a piecewise-linear curve in the space of the edge numbers.

With hidden units ``relu(p_h z + q_h)`` the generated numbers are ``a_s z + c_s`` on each of the at most
``hidden_dim + 1`` segments between the kinks ``-q_h / p_h``. A prompt then costs one segment search and two rows of
a small table instead of a pass through the hidden layer, and the gradient of the meta-learner follows from two sums
over the prompts of each segment.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


class Curve:
    """The curve of one meta-learner ``W2 relu(W1 z + b1) + b2`` with ``W1 (hidden, 1)``; not recorded by autograd."""

    def __init__(self, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor):
        self.tensors = tuple(tensor.detach() for tensor in (w1, b1, w2, b2))
        slope, offset = self.tensors[0][:, 0], self.tensors[1]
        flat = slope == 0
        kinks = torch.where(flat, torch.inf, -offset / slope)
        self.kinks, order = torch.sort(kinks)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device)
        segment = torch.arange(len(order) + 1, device=order.device).unsqueeze(1)
        rising = segment > rank
        active = torch.where(flat, offset > 0, torch.where(slope > 0, rising, ~rising))
        self.active = active.to(slope.dtype)
        self.table = torch.cat(self._table(*self.tensors))
        self.segments = len(order) + 1
        self.sums = torch.zeros_like(self.table)

    def _table(self, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, Tensor]:
        slopes = self.active @ (w1 * w2.t())
        offsets = self.active @ (b1.unsqueeze(1) * w2.t()) + b2
        return slopes, offsets

    def values(self, prompts: Tensor) -> Tensor:
        """Return the numbers ``(n, n_b)`` of prompts ``(n,)``."""
        rows = torch.empty(len(prompts), 2, dtype=torch.int32, device=prompts.device)
        torch.bucketize(prompts, self.kinks, out_int32=True, out=rows[:, 0])
        torch.add(rows[:, 0], self.segments, out=rows[:, 1])
        factors = torch.ones(len(prompts), 2, dtype=prompts.dtype, device=prompts.device)
        factors[:, 0] = prompts
        return embedding_bag(rows, self.table, mode="sum", per_sample_weights=factors)

    def pull(self, prompts: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient of ``prompts (n,)`` from that of the numbers ``(n, n_b)``; add up that of the table."""
        segment = torch.bucketize(prompts, self.kinks, out_int32=True)
        slopes = self.table.index_select(0, segment).mul_(gradient)
        result = slopes @ slopes.new_ones(slopes.shape[1])
        ordered, order = torch.sort(segment.to(torch.uint8) if self.segments < 256 else segment)
        order = order.to(torch.int32)
        first = torch.arange(self.segments, dtype=ordered.dtype, device=prompts.device)
        starts = torch.searchsorted(ordered, first, out_int32=True)
        weighted = embedding_bag(order, gradient, starts, mode="sum", per_sample_weights=prompts[order])
        self.sums[: self.segments] += weighted
        self.sums[self.segments :] += embedding_bag(order, gradient, starts, mode="sum")
        return result

    def gradients(self) -> tuple[Tensor, ...]:
        """Return the gradient of (W1, b1, W2, b2) from the sums over the segments."""
        with torch.enable_grad():
            tensors = [tensor.clone().requires_grad_() for tensor in self.tensors]
            table = torch.cat(self._table(*tensors))
            return torch.autograd.grad(table, tensors, self.sums)
