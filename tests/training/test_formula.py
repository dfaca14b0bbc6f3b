"""Normal forms of networks' formulas, exact numbers, and equivalence by proof and by numbers."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import sympy
from sympy import Float, Rational, pi, sqrt

from kanbench.training.symbolic import equivalence, formula

x, y = sympy.symbols("x y", real=True)
BOUNDS = np.array([[-1.0, 1.0], [0.5, 1.5]])
POINTS = equivalence.inside(BOUNDS, 200, np.random.default_rng(0))


def decimals(expression) -> sympy.Expr:
    """Return an expression with its rational numbers as decimals, as formulas of networks have them."""
    return expression.xreplace({number: Float(number) for number in expression.atoms(Rational) if number.q != 1})


@pytest.mark.parametrize("name", formula.COMPLEXITY)
def test_the_normal_form_has_the_values_of_the_parametrisation(name):
    functions = {
        "x": lambda t: t,
        "x^2": np.square,
        "x^3": lambda t: t**3,
        "1/x": np.reciprocal,
        "sqrt": np.sqrt,
        "exp": np.exp,
        "log": np.log,
        "sin": np.sin,
        "tanh": np.tanh,
    }
    for affine in [(0.7, 2.5, -1.3, 0.2), (-0.9, 3.1, 0.4, -2.0)]:
        a, b, c, d = affine
        inner = 0.8 * x + 0.5 * y**2
        found = formula.values(formula.apply(name, affine, inner), [x, y], POINTS)
        expected = c * functions[name](a * (0.8 * POINTS[:, 0] + 0.5 * POINTS[:, 1] ** 2) + b) + d
        assert np.allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [0.3, 7.0])
def test_what_one_edge_scales_up_and_the_next_scales_down_leaves_no_trace(scale):
    def through(name, outer, inner):
        hidden = formula.apply("x^2", (1.0, 0.0, scale * inner, 0.1), x) + formula.apply("x", (2.0, 0.3, scale, 0.0), y)
        return formula.snap(formula.apply(name, (outer[0] / scale, -0.4 * outer[0] / scale, *outer[1:]), hidden), 1e-6)

    assert through("sqrt", (4.0, 0.5, 0.0), 2.0) == through("sqrt", (1.0, 1.0, 0.0), 2.0)
    assert through("1/x", (3.0, 3.0, 1.0), 1.0) == through("1/x", (1.0, 1.0, 1.0), 1.0)
    shifted = formula.apply("exp", (2.0, math.log(3.0), 0.5, 0.0), x)
    assert formula.snap(shifted, 1e-6) == Rational(3, 2) * sympy.exp(2 * x)


def test_a_product_comes_out_of_two_squares():
    total = formula.apply("x", (1.0, 0.0, 0.5, 0.0), x) + formula.apply("x", (1.0, 0.0, 0.5, 0.0), y)
    gap = formula.apply("x", (1.0, 0.0, 2.0, 0.0), x) + formula.apply("x", (-1.0, 0.0, 2.0, 0.0), y)
    found = formula.apply("x^2", (1.0, 0.0, 1.0, 0.3), total) + formula.apply("x^2", (1.0, 0.0, -1 / 16, -0.3), gap)
    assert formula.snap(formula.expand(found), 0.01) == x * y


def test_the_phase_of_a_sine_is_reduced():
    found = formula.apply("sin", (-pi.evalf(), 2 * math.pi + 1e-4, -2.0, 0.0), x)
    assert formula.snap(found, 0.01) == 2 * sympy.sin(pi * x)
    assert formula.snap(formula.apply("sin", (1.0, math.pi / 2, 1.0, 0.0), x), 0.01) == sympy.cos(x)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.9996, 1),
        (-2.004, -2),
        (0.3331, Rational(1, 3)),
        (3.1418, pi),
        (6.27, 2 * pi),
        (1.5712, pi / 2),
        (0.0797, 1 / (4 * pi)),
        (0.3989, 1 / sqrt(2 * pi)),
        (1.4142, sqrt(2)),
        (1.43, Float(1.43, 4)),
        (0.0, 0),
    ],
)
def test_numbers_become_exact_where_one_is_near(value, expected):
    assert formula.number(value, 0.01) == expected


def test_small_terms_are_dropped_against_the_largest_of_their_own_sum():
    small = 1e-4 * (3.0 * x + 0.001 * y)
    assert formula.snap(formula.expand(small), 0.01) == Float(3e-4, 4) * x
    inner = sympy.exp(1.0 * x + 0.002) + 0.003
    assert formula.snap(inner, 0.01) == sympy.exp(x)


def test_operations_and_rounding():
    assert formula.operations(sympy.exp(x) + y * x) == 3
    assert str(formula.rounded(1.23456 * sympy.sin(2.34567 * x))) == "1.235*sin(2.346*x)"


EQUAL = [
    (y * x, x * y),
    ((x + y) ** 2, x**2 + 2 * x * y + y**2),
    (sympy.sin(x) ** 2 + sympy.cos(x) ** 2 + y, 1 + y),
    (sympy.exp(x) * sympy.exp(y), sympy.exp(x + y)),
    (sqrt((x + y) ** 2), sympy.Abs(x + y)),
    (1 / (1 / x + 1 / y), x * y / (x + y)),
    (sympy.log(y**2), 2 * sympy.log(y)),
]


@pytest.mark.parametrize(("expression", "truth"), EQUAL)
def test_equal_formulas_are_proved_equal(expression, truth):
    points = np.abs(POINTS) if truth.has(sympy.log) else POINTS
    symbols = [x, sympy.Symbol("y", positive=True)] if truth.has(sympy.log) else [x, y]
    expression, truth = (part.subs(y, symbols[1]) for part in (expression, truth))
    assert equivalence.equivalence(expression, truth, symbols, points, 5.0) == "exact"


@pytest.mark.parametrize(
    ("expression", "truth"),
    [
        (1.001 * x * y, x * y),
        (x * y + 1e-6, x * y),
        (sympy.sin(3.1416 * x), sympy.sin(pi * x)),
        (x**2, x**3),
        (sympy.log(x), x),  # undefined on half of the points
        (x + y, x - y),
    ],
)
def test_near_misses_are_different(expression, truth):
    assert equivalence.equivalence(expression, truth, [x, y], POINTS, 5.0) == "different"


# The alarm may ring inside a callback of the garbage collector, where it is lost with a warning; it rings again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_proof_that_takes_too_long_leaves_the_agreement_of_numbers():
    truth = sympy.Add(*(sympy.sin(k * x + y) ** k * sympy.cos(x - k * y) ** (k + 2) for k in range(1, 14)))
    started = time.monotonic()
    found = equivalence.equivalence(truth.rewrite(sympy.exp), truth, [x, y], POINTS, 0.2)
    assert found == "numeric"
    assert time.monotonic() - started < 60  # unlimited, it takes minutes


def test_the_time_limit_is_silent_and_restores_the_signal():
    import signal

    before = signal.getsignal(signal.SIGALRM)
    reached = False
    with equivalence.time_limit(0.05) as limited:
        assert limited
        while True:
            try:
                time.sleep(0.01)
            except Exception:  # a handler like those inside of sympy
                reached = True
    assert not reached
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_errors_are_in_units_of_the_scale_and_count_the_undefined():
    grid = np.array([[-2.0, 1.0], [-1.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    found = equivalence.errors(1.5 * x, x, [x, y], grid, scale=0.5)
    assert found == {"max": 2.0, "median": 1.0, "undefined_share": 0.0}
    half = equivalence.errors(sympy.log(x), sympy.log(sympy.Abs(x)), [x, y], grid, scale=1.0)
    assert half == {"max": None, "median": 0.0, "undefined_share": 0.5}
    none = equivalence.errors(x, sympy.sqrt(-(x**2)), [x, y], grid, scale=1.0)
    assert none == {"max": None, "median": None, "undefined_share": None}


def test_points_outside_leave_the_training_range_and_stay_in_the_wider_box():
    points = equivalence.outside(BOUNDS, 500, np.random.default_rng(1))
    assert len(points) == 500
    centre, half = BOUNDS.mean(axis=1), np.array([1.0, 0.5])
    distance = np.abs(points - centre) / half
    assert (distance.max(axis=1) > 1).all()
    assert (distance <= 2).all()
