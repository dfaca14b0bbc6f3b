"""Intervals of prediction hold what they promise: by exact probabilities and by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from kanbench.statistics import prediction

TRIES = 3000
DOUBT = 4 * math.sqrt(0.05 * 0.95 / TRIES)
"""Four standard errors of a coverage of 95 % in so many tries."""


def coverage(draw, known: int, further: int) -> float:
    rng = np.random.default_rng([known, further])
    published, later = draw(rng, (TRIES, known)), np.median(draw(rng, (TRIES, further)), axis=1)
    hits = [prediction.of_median(row, further).holds(value) for row, value in zip(published, later, strict=True)]
    return float(np.mean(hits))


def normal(rng, size):
    return rng.normal(2.0, 0.3, size)


@pytest.mark.parametrize(("known", "further"), [(2, 1), (2, 3), (3, 2), (3, 10), (5, 3), (10, 1), (20, 2)])
def test_few_normal_values_predict_with_the_nominal_coverage(known, further):
    assert prediction.of_median(np.arange(known), further).how == prediction.STUDENT
    assert abs(coverage(normal, known, further) - 0.95) < DOUBT


@pytest.mark.parametrize(("known", "further"), [(10, 10), (20, 3), (20, 40), (40, 1), (40, 10)])
@pytest.mark.parametrize(
    "draw", [normal, lambda rng, size: rng.standard_cauchy(size), lambda rng, size: rng.random(size)]
)
def test_order_statistics_predict_whatever_the_distribution(known, further, draw):
    found = prediction.of_median(np.arange(known), further)
    assert found.how == prediction.ORDER
    assert found.coverage >= 0.95
    assert coverage(draw, known, further) > found.coverage - DOUBT


@pytest.mark.parametrize(("known", "further"), [(3, 1), (3, 3), (4, 2), (2, 5)])
def test_the_probability_of_a_rank_counts_all_orders(known, further):
    """Every way to lay known and further values in one line is equally likely: here all of them are laid."""
    position = (further + 1) // 2
    for rank in range(1, known + 1):
        hits = total = 0
        for places in itertools.combinations(range(known + further), further):
            others = [place for place in range(known + further) if place not in places]
            total += 1
            hits += places[position - 1] < others[rank - 1]
        assert prediction._below(rank, known, position, further) == pytest.approx(hits / total)


def test_the_interval_of_one_further_value_leaves_out_an_equal_share_for_each_known_value():
    assert prediction.of_median(range(39), 1).coverage == pytest.approx(1 - 2 / 40)
    assert prediction.outer_values(38, 1) == -1
    assert prediction.outer_values(39, 1) == 0


@pytest.mark.parametrize(("size", "variance"), [(1, 1.0), (2, 0.5), (3, 0.44867), (4, 0.29821), (5, 0.28683)])
def test_variances_of_medians_of_few_normal_values(size, variance):
    """From tables of the moments of normal order statistics (Teichroew 1956)."""
    assert prediction.median_variance(size) == pytest.approx(variance, abs=2e-5)


def test_variances_of_medians_approach_that_of_large_samples():
    for size in (40, 41):
        assert prediction.median_variance(size) * size == pytest.approx(math.pi / 2, rel=0.05)


def test_a_coarse_metric_does_not_predict_that_all_values_are_equal():
    equal = [0.04, 0.04, 0.04]
    assert not prediction.of_median(equal, 3).holds(0.041)
    assert prediction.of_median(equal, 3, grain=1 / 450).holds(0.041)


def test_nothing_is_predicted_from_one_value_and_failures_need_many():
    assert prediction.of_median([1.0], 3) is None
    assert prediction.of_median([1.0, math.inf, 1.1], 3) is None
    found = prediction.of_median([*range(19), math.inf], 20)
    assert (found.how, found.low, found.high) == (prediction.ORDER, 3.0, 16.0)


def test_p_values_are_uniform_under_the_null_and_small_far_away():
    rng = np.random.default_rng(5)
    found = [prediction.p_value(rng.normal(size=5), np.median(rng.normal(size=3)), 3) for _ in range(TRIES)]
    assert abs(np.mean(np.array(found) < 0.05) - 0.05) < DOUBT
    assert prediction.p_value([1.0, 1.1, 0.9, 1.05, 0.95], 5.0, 3) < 1e-4
    assert prediction.p_value([1.0, 1.1], math.inf, 3) == 0.0
    assert prediction.p_value([1.0], 2.0, 3) == 1.0


def test_fewest_cells_inside_by_the_binomial_distribution():
    assert prediction.least_inside(0) == 0
    assert prediction.least_inside(1) == 0
    assert 85 < prediction.least_inside(100) < 95
