"""A line search for the strong Wolfe conditions (Nocedal and Wright 2006, algorithms 3.5 and 3.6), for one run.

The search is a generator: it yields the next step length to try and is sent what was found there. So the searches of
many runs go on side by side, each with its own bracket, and one evaluation serves all of them.

The safeguards are those that `torch.optim.LBFGS` documents by its behaviour: steps grow by 1 % to ten times, a trial
that keeps near an end of the bracket is moved a tenth of its length inwards, and a bracket that moves no parameter by
more than `LEAST_CHANGE` is not divided further.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

DECREASE, CURVATURE = 1e-4, 0.9
LEAST_CHANGE = 1e-9
LEAST_GROWTH, MOST_GROWTH = 0.01, 10.0
MARGIN = 0.1


@dataclass
class Trial:
    """A point on the line: its step length, the loss there, the slope along the direction, and the gradient."""

    step: float
    loss: float
    slope: float
    gradient: Any = None


Search = Generator[float, Trial, tuple[Trial, int]]


def strong_wolfe(start: Trial, first: float, width: float, most: int) -> Search:
    """Yield step lengths to try; return the trial that was chosen and the number of trials.

    Args:
        start: The point where the line begins, with step 0 and a negative slope.
        first: The first step length.
        width: The largest change of a parameter that a step of length 1 makes.
        most: Trials after the first one at most.
    """
    before, now, count = start, (yield first), 0
    while count < most and not _too_high(start, now, before if count > 1 else None):
        if _is_flat(start, now):
            return now, count + 1
        if now.slope >= 0:
            break
        lowest = now.step + LEAST_GROWTH * (now.step - before.step)
        longer = _minimum(before, now, lowest, now.step * MOST_GROWTH)
        before, now, count = now, (yield longer), count + 1
    ends = [start if count == most else before, now]
    return (yield from _zoom(start, ends, width, count, most))


def _zoom(start: Trial, ends: list[Trial], width: float, count: int, most: int) -> Search:
    """Divide the bracket `ends` until one of its ends will do; `count` trials followed the first one."""
    low, near_an_end = _lower(ends), False
    while count < most and not abs(ends[1].step - ends[0].step) * width < LEAST_CHANGE:
        step, near_an_end = _inside(ends, near_an_end)
        now = yield step
        count += 1
        if _too_high(start, now, ends[low]):
            ends[1 - low] = now
            low = _lower(ends)
            continue
        if _is_flat(start, now):
            return now, count + 1
        if now.slope * (ends[1 - low].step - ends[low].step) >= 0:
            ends[1 - low] = ends[low]
        ends[low] = now
    return ends[low], count + 1


def _inside(ends: list[Trial], near_an_end: bool) -> tuple[float, bool]:
    """Return the next step length between two ends, and whether it is tolerated although it is near one of them."""
    steps = [end.step for end in ends]
    least, most = min(steps), max(steps)
    step, margin = _minimum(*ends, least, most), MARGIN * (most - least)
    if not min(most - step, step - least) < margin:
        return step, False
    if near_an_end or step >= most or step <= least:
        return (most - margin if abs(step - most) < abs(step - least) else least + margin), False
    return step, True


def _too_high(start: Trial, now: Trial, other: Trial | None) -> bool:
    """Tell whether the loss has not decreased sufficiently, or is no lower than at `other`."""
    if now.loss > start.loss + DECREASE * now.step * start.slope:
        return True
    return other is not None and now.loss >= other.loss


def _is_flat(start: Trial, now: Trial) -> bool:
    return abs(now.slope) <= -CURVATURE * start.slope


def _lower(ends: list[Trial]) -> int:
    return 0 if ends[0].loss <= ends[1].loss else 1


def _minimum(one: Trial, other: Trial, least: float, most: float) -> float:
    """Return where the cubic through two trials and their slopes is lowest (equation 3.59), within bounds.

    The middle of the bounds, where it has no minimum.
    """
    left, right = (one, other) if one.step <= other.step else (other, one)
    # by the reciprocal, as torch divides a number by a tensor: between near points the last bit decides
    mean = left.slope + right.slope - 3 * (left.loss - right.loss) * _ratio(1.0, left.step - right.step)
    square = mean * mean - left.slope * right.slope
    if not square >= 0:
        return (least + most) / 2
    root = math.sqrt(square)
    share = _ratio(right.slope + root - mean, right.slope - left.slope + 2 * root)
    return min(max(right.step - (right.step - left.step) * share, least), most)


def _ratio(one: float, other: float) -> float:
    """Return `one / other` as floating-point units do: infinite or not a number where `other` is 0."""
    if other:
        return one / other
    return math.nan if math.isnan(one) or not one else math.copysign(math.inf, one) * math.copysign(1.0, other)
