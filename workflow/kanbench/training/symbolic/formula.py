"""Formulas of networks whose edges are symbols: a normal form, numbers rounded to exact ones, the operation count.

The affine parameters of neighbouring edges are redundant (what one scales up another scales down), so that equal
functions have many parametrisations. `apply` removes that freedom, `snap` then replaces numbers by exact ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import sympy
from sympy import Expr, Float, Integer, Rational

COMPLEXITY = {"x": 1, "x^2": 2, "x^3": 3, "1/x": 2, "sqrt": 2, "exp": 2, "log": 2, "sin": 2, "tanh": 3}
"""The symbols that an edge may become, with the complexity that pykan 0.2.8 (Liu et al. 2024, liu2024) gives them."""
UNITS: tuple[tuple[Expr, tuple[int, ...], int, float], ...] = (
    (Integer(1), (1, 2, 3, 4), 100, 0.0),
    (sympy.pi, (1, 2, 3, 4), 24, 0.3),
    (1 / sympy.pi, (1, 2, 4), 3, 0.6),
    (sympy.sqrt(2), (1, 2, 4), 3, 0.6),
    (1 / sympy.sqrt(2 * sympy.pi), (1, 2), 3, 0.6),
)
"""What an exact number may be a fraction of: the unit, denominators, largest numerator, handicap (of the tolerance)."""
HANDICAP = {1: 0.0, 2: 0.2, 3: 0.4, 4: 0.4}
"""Handicap of a fraction by its denominator."""
KEPT_DIGITS = 4


def expand(expression: Expr) -> Expr:
    """Return `expression` multiplied out, the sums inside of functions and exponents kept together."""
    return sympy.expand(expression, power_exp=False, power_base=False, log=False)


def apply(name: str, affine: Sequence[float], inner: Expr) -> Expr:
    """Return c·f(a·inner + b) + d in normal form, `affine` being (a, b, c, d) and f the symbol `name`.

    Powers are multiplied out; factors go into a root and under a fraction bar, out of an exponential and, with the
    argument's largest coefficient, out of a logarithm; a sine's phase lies in (-pi, pi].
    """
    a, b, c, d = (Float(float(value)) for value in affine)
    argument = expand(a * inner + b)
    return expand(_NORMAL[name](argument, c)) + d


def _root(argument: Expr, c: Float) -> Expr:
    return sympy.sign(c) * sympy.sqrt(expand(argument * c**2))


def _inverse(argument: Expr, c: Float) -> Expr:
    return Integer(0) if c == 0 else 1 / expand(argument / c)


def _exponential(argument: Expr, c: Float) -> Expr:
    constant, rest = argument.as_coeff_Add()
    return c * sympy.exp(constant) * sympy.exp(rest)


def _logarithm(argument: Expr, c: Float) -> Expr:
    scale = max((abs(factor) for factor, _ in _terms(argument)), default=Integer(1))
    return c * sympy.log(expand(argument / scale)) + c * sympy.log(scale)


def _sine(argument: Expr, c: Float) -> Expr:
    phase, rest = argument.as_coeff_Add()
    turned = math.remainder(float(phase), 2 * math.pi)
    sign = _leading_sign(rest)
    return sign * c * sympy.sin(expand(sign * (rest + Float(turned))))


def _hyperbolic(argument: Expr, c: Float) -> Expr:
    sign = _leading_sign(argument.as_coeff_Add()[1])
    return sign * c * sympy.tanh(expand(sign * argument))


_NORMAL: dict[str, Callable[[Expr, Float], Expr]] = {
    "x": lambda argument, c: c * argument,
    "x^2": lambda argument, c: c * argument**2,
    "x^3": lambda argument, c: c * argument**3,
    "1/x": _inverse,
    "sqrt": _root,
    "exp": _exponential,
    "log": _logarithm,
    "sin": _sine,
    "tanh": _hyperbolic,
}


def _terms(expression: Expr) -> list[tuple[Expr, Expr]]:
    """Return the terms of a sum that are not constant, as number and rest."""
    parts = [term.as_coeff_Mul() for term in sympy.Add.make_args(expression)]
    return [(factor, rest) for factor, rest in parts if rest.free_symbols]


def _leading_sign(expression: Expr) -> int:
    terms = sorted(_terms(expression), key=lambda term: sympy.default_sort_key(term[1]))
    return -1 if terms and terms[0][0] < 0 else 1


def snap(expression: Expr, tolerance: float) -> Expr:
    """Return `expression` with its decimal numbers replaced by exact ones that are within the tolerance.

    Exact are small fractions, and such fractions of pi, 1/pi, √2 and 1/√(2 pi). In a sum, terms whose factor is below
    `tolerance` of the largest are dropped. What is near no exact number keeps four digits.
    """
    if isinstance(expression, Float):
        return number(float(expression), tolerance)
    if expression.is_Add:
        parts = [term.as_coeff_Mul() for term in expression.args]
        largest = max(abs(float(factor)) for factor, _ in parts)
        kept = [
            snap(factor, tolerance) * snap(rest, tolerance)
            for factor, rest in parts
            if abs(float(factor)) >= tolerance * largest
        ]
        return sympy.Add(*kept)
    return expression.func(*(snap(part, tolerance) for part in expression.args)) if expression.args else expression


def rounded(expression: Expr) -> Expr:
    """Return `expression` with its decimal numbers to four digits."""
    return expression.xreplace({decimal: Float(float(decimal), KEPT_DIGITS) for decimal in expression.atoms(Float)})


def number(value: float, tolerance: float) -> Expr:
    """Return an exact number within the relative tolerance of `value`, or `value` to four digits.

    Of several the nearest is taken, where the handicaps of the less simple ones count as distance.
    """
    candidates = []
    for unit, denominators, largest, handicap in UNITS:
        size = float(unit)
        for denominator in denominators:
            fraction = Fraction(round(value / size * denominator), denominator)
            distance = abs(value - fraction * size) / abs(value) if value else 0.0
            if 0 < abs(fraction.numerator) <= largest and distance <= tolerance:
                score = distance / tolerance + handicap + HANDICAP[fraction.denominator]
                candidates.append((score, Rational(fraction.numerator, fraction.denominator) * unit))
    if candidates:
        return min(candidates, key=lambda candidate: candidate[0])[1]
    return Float(value, KEPT_DIGITS) if value else Integer(0)


def operations(expression: Expr) -> int:
    """Return the number of operations of a formula (`sympy.count_ops`)."""
    return int(sympy.count_ops(expression))


def values(expression: Expr, symbols: Sequence[sympy.Symbol], points: np.ndarray) -> np.ndarray:
    """Return the values, shape `(points,)`, at `points`, shape `(points, symbols)`; NaN where they are not real."""
    evaluate = sympy.lambdify(symbols, expression, modules="numpy")
    with np.errstate(all="ignore"):
        try:
            found = np.asarray(evaluate(*points.T), dtype=complex)
        except (TypeError, ValueError, ZeroDivisionError, OverflowError):
            return np.full(len(points), np.nan)
        found = np.broadcast_to(found, len(points))
        real = np.where(np.abs(found.imag) <= 1e-12 * (1 + np.abs(found.real)), found.real, np.nan)
    return np.where(np.isfinite(real), real, np.nan)
