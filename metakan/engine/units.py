"""The hidden units of a meta-learner with scalar prompts, in the order of their kinks.

Unit h adds ``relu(w z + b)`` times its row of the output layer. It is active on one side of its kink ``-b / w``: units
of positive slope above it, the others below. A unit of slope zero is active everywhere or nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ULPS = 2
"""Neighbours of the rounded kink among which the last number that is not above it is sought."""


@dataclass(frozen=True)
class OrderedUnits:
    """Units by kink: ``order (h,)`` their numbers, ``kinks (h,)`` sorted, and their states below and above.

    A prompt is above a kink if it is greater. ``before`` is 1 for units that are active below all kinks, ``change`` is
    1 where a unit becomes active at its kink, -1 where it stops, and 0 where it never changes.
    """

    order: Tensor
    kinks: Tensor
    before: Tensor
    change: Tensor

    @staticmethod
    def of(slope: Tensor, offset: Tensor) -> OrderedUnits:
        """Order the units ``relu(slope z + offset)``, both ``(h,)``."""
        flat = slope == 0
        kinks = torch.where(flat, torch.inf, _thresholds(slope, offset))
        kinks, order = torch.sort(kinks)
        before = torch.where(flat, offset > 0, slope < 0).to(slope.dtype)[order]
        change = torch.where(flat, torch.zeros_like(slope), slope.sign())[order]
        return OrderedUnits(order, kinks, before, change)

    def active(self) -> Tensor:
        """Return which units are active on each segment, ``(h + 1, h)``, in their own order."""
        passed = torch.ones(len(self.kinks) + 1, len(self.kinks), dtype=self.change.dtype, device=self.change.device)
        sorted_units = self.before + passed.tril(-1) * self.change
        found = torch.empty_like(sorted_units)
        found[:, self.order] = sorted_units
        return found


def _thresholds(slope: Tensor, offset: Tensor) -> Tensor:
    """Return the last number on the lower side of each kink.

    That is where rounded ``slope z + offset`` stops or starts being positive, so that a prompt that lies on a kink
    belongs to the side where the unit is off, as its derivative by torch does.
    """
    middle = -offset / slope
    rows = [middle]
    for _ in range(ULPS):
        rows.append(torch.nextafter(rows[-1], torch.full_like(middle, torch.inf)))
        rows.insert(0, torch.nextafter(rows[0], torch.full_like(middle, -torch.inf)))
    near = torch.stack(rows)
    above = (near * slope + offset > 0) == (slope > 0)
    last = (~above).sum(0).sub_(1).clamp_(min=0)
    return near.gather(0, last.unsqueeze(0))[0]
