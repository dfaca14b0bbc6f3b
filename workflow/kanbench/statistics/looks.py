"""When a claim may be decided: looks at sizes that are declared, over which its error is spent. Pure functions.

Who looks after every run until a verdict falls finds a false one several times as often as the level says. Here a
verdict may fall at declared sizes alone, each with a share of the error, and a look takes the first so many seeds, in
order. So nothing that comes later takes a verdict back, and whatever lies between two looks changes none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from kanbench.statistics.hypotheses import ALPHA, ROUNDING, smallest_p

SIZES = (10, 20, 40)
"""Numbers of seeds at which a claim may be decided where nothing else is declared."""


@cache
def shares(number: int) -> tuple[float, ...]:
    """Return the share of the error of each of `number` looks; they add up to one.

    The spending function of Pocock's type (Lan and DeMets 1983), ln(1 + (e - 1) t), at t = 1/number, 2/number, ...
    The first of three looks gets 45 % of the error, with which 10 values can decide inside a family of eleven.
    """
    spent = [math.log1p((math.e - 1) * look / number) for look in range(number + 1)]
    return tuple(later - earlier for earlier, later in zip(spent, spent[1:], strict=False))


def over_looks(p_values: Sequence[float], number: int) -> float:
    """Return the p-value of all looks so far: the smallest of p over the look's share.

    By Bonferroni's inequality it is a p-value whatever the test and however the looks depend on each other, and it
    stays one under Holm. It can only fall as looks are added.

    Args:
        p_values: One for each look that was reached, in order; may be fewer than `number`, the looks declared.
    """
    paired = zip(p_values, shares(number), strict=False)
    return min([1.0, *(p / share for p, share in paired)])


def smallest_over_looks(sizes: Sequence[int], number: int) -> float:
    """Return the smallest p-value that looks of these sizes can reach, doubled; 1 without any."""
    return over_looks([smallest_p(size) for size in sizes], number)


def deciding(p_values: Sequence[float], number: int, alpha: float) -> int | None:
    """Return the position of the first look whose p-value over its share is at most `alpha`, or None."""
    for look, (p, share) in enumerate(zip(p_values, shares(number), strict=False)):
        if p / share <= alpha + ROUNDING:
            return look
    return None


def cannot_decide(sizes: Sequence[int], members: int = 1, alpha: float = ALPHA) -> list[int]:
    """Return those of declared sizes at which no outcome could decide, in a family of so many members."""
    return [
        size
        for size, share in zip(sizes, shares(len(sizes)), strict=True)
        if smallest_p(size) / share > alpha / members + ROUNDING
    ]
