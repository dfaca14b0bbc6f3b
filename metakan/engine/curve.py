"""A scalar prompt through one ReLU layer: a piecewise-linear curve in the space of the edge numbers.

With hidden units ``relu(p_h z + q_h)`` the generated numbers are ``a_s z + c_s`` on each of the at most
``hidden_dim + 1`` segments between the kinks ``-q_h / p_h``. A prompt then costs one segment search and two rows of
a small table instead of a pass through the hidden layer, and the gradient of the meta-learner follows from two sums
over the prompts of each segment.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from .. import native
from .units import OrderedUnits


class Curve:
    """The curve of one meta-learner ``W2 relu(W1 z + b1) + b2`` with ``W1 (hidden, 1)``; not recorded by autograd.

    ``prompts`` are all that it will be asked for; their range bounds the search.
    """

    def __init__(self, prompts: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor):
        self.tensors = tuple(tensor.detach() for tensor in (w1, b1, w2, b2))
        units = OrderedUnits.of(self.tensors[0][:, 0], self.tensors[1])
        self.active, self.kinks = units.active(), units.kinks
        self.table = torch.cat(self._table(*self.tensors))
        self.segments = len(self.kinks) + 1
        self.bounds = prompts.aminmax()
        self.sums = torch.zeros_like(self.table)

    def fresh(self) -> Curve:
        """Return the same curve with sums of its own."""
        other = copy.copy(self)
        other.sums = torch.zeros_like(self.sums)
        return other

    @cached_property
    def search(self) -> Callable[[Tensor], Tensor]:
        return segment_search(self.kinks, *self.bounds)

    def _table(self, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, Tensor]:
        slopes = self.active @ (w1 * w2.t())
        offsets = self.active @ (b1.unsqueeze(1) * w2.t()) + b2
        return slopes, offsets

    def values(self, prompts: Tensor, segment: Tensor) -> Tensor:
        """Return the numbers ``(n, n_b)`` of prompts ``(n,)`` on their segments."""
        rows = torch.empty(len(prompts), 2, dtype=torch.int32, device=prompts.device)
        rows[:, 0] = segment
        torch.add(segment, self.segments, out=rows[:, 1])
        factors = torch.empty(len(prompts), 2, dtype=prompts.dtype, device=prompts.device)
        factors[:, 0] = prompts
        factors[:, 1] = 1
        return embedding_bag(rows, self.table, mode="sum", per_sample_weights=factors)

    def pull(self, prompts: Tensor, segment: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient of ``prompts (n,)`` from that of the numbers ``(n, n_b)``; add up that of the table."""
        slopes = self.table.index_select(0, segment).mul_(gradient)
        result = slopes @ slopes.new_ones(slopes.shape[1])
        ordered, order = torch.sort(segment.to(torch.uint8) if self.segments < 256 else segment)
        first = torch.arange(self.segments, dtype=ordered.dtype, device=prompts.device)
        starts = torch.searchsorted(ordered, first, out_int32=True)
        order = order.to(torch.int32)
        factors = prompts.index_select(0, order)
        self.sums[: self.segments] += embedding_bag(order, gradient, starts, mode="sum", per_sample_weights=factors)
        self.sums[self.segments :] += embedding_bag(order, gradient, starts, mode="sum")
        return result

    def gradients(self) -> tuple[Tensor, ...]:
        """Return the gradient of (W1, b1, W2, b2) from the sums over the segments."""
        w1, b1, w2, _ = self.tensors
        slopes, offsets = self.sums.to(self.table.dtype).split(self.segments)
        of_slopes, of_offsets = self.active.t() @ slopes, self.active.t() @ offsets  # that of w1 w2' and b1 w2'
        w1_gradient, b1_gradient = ((part * w2.t()).sum(1) for part in (of_slopes, of_offsets))
        w2_gradient = of_slopes.t() * w1[:, 0] + of_offsets.t() * b1
        return w1_gradient.unsqueeze(1), b1_gradient, w2_gradient, offsets.sum(0)


def segment_search(kinks: Tensor, low: Tensor, high: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function from prompts ``(n,)`` to their segments; tensors without values get torch's binary search."""
    if not native.has_values(kinks, low, high):
        return lambda numbers: torch.bucketize(numbers, kinks, out_int32=True)
    return SegmentSearch(kinks, low, high)


class SegmentSearch:
    """How many kinks lie below a prompt, by a table over equal cells and one comparison for each kink in a cell.

    A binary search mispredicts most of its branches on random prompts and takes ten times as long. The cell of a
    number is a monotone function of it even in floating point, so that the counts are exact.
    """

    CELLS = 8192

    def __init__(self, kinks: Tensor, low: Tensor, high: Tensor):
        """Prepare for sorted ``kinks (h,)`` and prompts between ``low`` and ``high``."""
        self.below = int((kinks < low).sum())
        values, counts = torch.unique_consecutive(kinks[(kinks >= low) & (kinks <= high)], return_counts=True)
        self.trivial = len(values) == 0
        if self.trivial:
            return
        self.low = values[0]
        self.scale = ((self.CELLS - 1) / (values[-1] - values[0])).nan_to_num(0.0, 0.0, 0.0)
        cells, counts = self.cell(values), counts.to(torch.int32)
        totals = torch.zeros(self.CELLS, dtype=torch.int32, device=kinks.device).index_add_(0, cells, counts)
        self.base = torch.cumsum(totals, 0, dtype=torch.int32).sub_(totals).add_(self.below)
        place = torch.arange(len(cells), device=kinks.device) - torch.searchsorted(cells, cells)
        self.layers = []
        for number in range(int(place.max()) + 1):
            here = cells[place == number].long()
            kink = torch.full((self.CELLS,), torch.inf, dtype=kinks.dtype, device=kinks.device)
            kink[here] = values[place == number]
            count = torch.zeros_like(totals).index_copy_(0, here, counts[place == number])
            self.layers.append((kink, None if bool((count <= 1).all()) else count))

    def cell(self, numbers: Tensor) -> Tensor:
        """Return the cell of each number, ``int32``."""
        scaled = (numbers - self.low).mul_(self.scale).clamp_(0, self.CELLS - 1)
        return scaled.to(torch.int32).clamp_(0, self.CELLS - 1)  # again, for numbers that are not finite

    def __call__(self, prompts: Tensor) -> Tensor:
        """Return the segment of each prompt ``(n,)``, ``int32``."""
        if self.trivial:
            return torch.full((len(prompts),), self.below, dtype=torch.int32, device=prompts.device)
        cell = self.cell(prompts)
        segment = self.base.index_select(0, cell)
        for kink, count in self.layers:
            above = prompts > kink.index_select(0, cell)
            segment += above if count is None else count.index_select(0, cell).mul_(above)
        return segment
