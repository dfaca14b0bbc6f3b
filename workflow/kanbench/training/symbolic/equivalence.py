"""Whether a formula is the target: proved by sympy within a time limit, or agreed on by numbers, which is less."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import sympy
from sympy import Expr, Symbol

from kanbench.training.symbolic.formula import values

AGREEMENT = 1e-9
"""Largest relative deviation, at every point, of two formulas that are taken for candidates of a proof."""
SPAN = 2.0
"""Points outside the training range lie in a box that is this many times as wide, about the same centre."""


class _TimeIsUp(BaseException):
    """Not an `Exception`, so that no handler inside sympy takes it for its own."""


@contextmanager
def time_limit(seconds: float) -> Iterator[bool]:
    """Leave the block after `seconds`, silently; yield whether the limit can be kept here.

    It rests on a signal and so works in the main thread of a POSIX system only; elsewhere False is yielded, and a
    block that may not end should do nothing.
    """
    usable = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not usable:
        yield False
        return

    def interrupt(number, frame):
        raise _TimeIsUp

    before = signal.signal(signal.SIGALRM, interrupt)
    # It comes again, should a bare `except` have swallowed it.
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.05)
    try:
        yield True
    except _TimeIsUp:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def equivalence(expression: Expr, truth: Expr, symbols: Sequence[Symbol], points: np.ndarray, seconds: float) -> str:
    """Return how a formula relates to the target.

    Args:
        points: Where the two are compared before anything is proved, shape `(points, symbols)`.
        seconds: Time that sympy may take for the proof.

    Returns:
        `exact` where sympy proves their difference zero; `numeric` where they agree to `AGREEMENT` at every point but
        no proof came in time; `different` where they do not agree.
    """
    if not agree(expression, truth, symbols, points):
        return "different"
    proved = False
    with time_limit(seconds) as limited:
        proved = limited and _is_zero(expression - truth)
    return "exact" if proved else "numeric"


def _is_zero(difference: Expr) -> bool:
    for simplified in (sympy.expand, sympy.trigsimp, sympy.simplify):
        if simplified(difference) == 0:
            return True
    return difference.equals(0) is True


def agree(
    expression: Expr, truth: Expr, symbols: Sequence[Symbol], points: np.ndarray, tolerance: float = AGREEMENT
) -> bool:
    """Return whether two formulas have the same value, relative to the target's largest, wherever it has one."""
    expected, found = values(truth, symbols, points), values(expression, symbols, points)
    known = ~np.isnan(expected)
    scale = np.abs(expected[known]).max(initial=0.0)
    return bool(known.any() and np.all(np.abs(found[known] - expected[known]) <= tolerance * max(scale, 1e-300)))


def errors(expression: Expr, truth: Expr, symbols: Sequence[Symbol], points: np.ndarray, scale: float) -> dict:
    """Return the error of a formula at `points` in units of `scale`.

    Returns:
        `max` and `median` over the points where the target is defined, None where the formula is undefined at one (for
        the median: at half) of them, and `undefined_share`, the share of points where it is.
    """
    expected = values(truth, symbols, points)
    known = ~np.isnan(expected)
    deviations = np.abs(values(expression, symbols, points)[known] - expected[known]) / scale
    undefined = np.isnan(deviations)
    if not known.any():
        return {"max": None, "median": None, "undefined_share": None}
    ordered = np.sort(np.where(undefined, np.inf, deviations))
    found = {"max": float(ordered[-1]), "median": float(ordered[(len(ordered) - 1) // 2])}
    found = {key: value if np.isfinite(value) else None for key, value in found.items()}
    return {**found, "undefined_share": float(undefined.mean())}


def inside(bounds: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return points, shape `(count, variables)`, of the training range given by `bounds`, shape `(variables, 2)`."""
    return rng.uniform(bounds[:, 0], bounds[:, 1], (count, len(bounds)))


def outside(bounds: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return points of the box that is `SPAN` times as wide, without those of the training range."""
    centre, half = bounds.mean(axis=1), np.diff(bounds, axis=1)[:, 0] / 2
    wide = np.stack([centre - SPAN * half, centre + SPAN * half], axis=1)
    points = inside(wide, 4 * count, rng)
    return points[np.any(np.abs(points - centre) > half, axis=1)][:count]
