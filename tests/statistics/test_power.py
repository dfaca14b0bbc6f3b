"""Numbers of runs come from simulating the rule: checked with draws of their own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from kanbench.statistics import hypotheses, power, stats


def scaled(size: int) -> np.ndarray:
    """Return values of a normal shape with median 0 and standard deviation 1."""
    values = scipy_stats.norm.ppf((np.arange(size) + 0.5) / size)
    return values / values.std(ddof=1)


def by_the_rule(values: np.ndarray, alpha: float) -> float:
    """Return how often rows of values are found below 0, by the p-values that a verdict asks for."""
    found = [hypotheses.statement_p_values(row, 0.0, lower_is_better=True)["better"] <= alpha for row in values]
    return float(np.mean(found))


def test_the_fast_rule_is_the_rule():
    rows = np.random.default_rng(1).normal(-0.6, 1.0, size=(200, 12))
    expected = [hypotheses.statement_p_values(row, 0.0, lower_is_better=True)["better"] <= 0.05 for row in rows]
    assert power.rejects(rows, 0.025).tolist() == expected
    assert 0.1 < np.mean(expected) < 0.9


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 4])
def test_as_many_runs_as_are_said_to_be_needed_decide_four_times_out_of_five(alpha):
    pilot = scaled(20) - 0.8
    size = int(power.needed(pilot, 0.0, alpha=alpha))
    found = by_the_rule(np.random.default_rng(3).normal(-0.8, 1.0, size=(800, size)), alpha)
    assert 0.76 <= found <= 0.9  # the sign test moves in steps
    by_wilcoxon = math.ceil((scipy_stats.norm.isf(alpha / 2) + scipy_stats.norm.ppf(0.8)) ** 2 / 0.64 * math.pi / 3)
    assert size > by_wilcoxon  # what counted Wilcoxon's test alone promised too much


def test_the_detectable_effect_is_detected_four_times_out_of_five():
    effect = power.minimal_detectable_effect(scaled(20))
    found = by_the_rule(np.random.default_rng(2).normal(-effect, 1.0, size=(600, 20)), 0.05)
    assert found == pytest.approx(0.8, abs=0.05)


def test_the_detectable_effect_falls_with_the_number_of_runs():
    effects = [power.minimal_detectable_effect(scaled(n)) for n in (6, 10, 40, 160)]
    assert effects == sorted(effects, reverse=True)
    assert effects[-1] < effects[-2] / 1.7
    assert power.minimal_detectable_effect([1.0] * 6) == 0.0
    assert math.isnan(power.minimal_detectable_effect([1.0, -1.0, 2.0, 3.0, 1.0]))
    assert power.minimal_detectable_effect(scaled(6), alpha=0.01) == math.inf  # no outcome of six reaches 1 %
    assert power.minimal_detectable_effect(scaled(20), alpha=0.01) > power.minimal_detectable_effect(scaled(20))


def test_failures_on_the_far_side_cost_power():
    pilot = scaled(20) - 0.8
    failing = pilot.copy()
    failing[:3] = math.inf
    assert power.needed(failing, 0.0) > 1.5 * power.needed(pilot, 0.0)
    lucky = pilot.copy()
    lucky[:3] = -math.inf
    assert power.needed(lucky, 0.0) < 2 * power.needed(pilot, 0.0)


def test_from_fewer_than_six_values_no_number_is_told():
    assert math.isnan(power.needed([1.0, 1.2, 0.9, 1.1, 1.0], 0.0))
    assert power.needed([1.0, -1.0, 0.0, 2.0, -2.0, 0.0], 0.0) == math.inf  # on the boundary
    assert power.needed([5.0] * 6, 0.0) == 6  # without spread, the fewest with which the tests reach the level
    assert [hypotheses.fewest(0.05 / family) for family in (1, 2, 4)] == [6, 7, 8]


def test_several_looks_are_simulated_as_they_are_taken():
    once = power.decides(0.8, (40,), (0.025,))
    assert power.decides(0.8, (10, 20, 40), (0.01, 0.007, 0.006)) > power.decides(0.8, (10,), (0.01,))
    assert once > 0.95
    assert power.decides(0.0, (10, 20, 40), (0.011, 0.0077, 0.006)) <= 0.025 + 2.5 * math.sqrt(0.025 * 0.975 / 1000)


def test_shares_are_told_apart_from_their_bound():
    assert power.needed_for_share(8, 8, 0.739) > 8
    low, _ = stats.proportion_interval(*[int(power.needed_for_share(8, 8, 0.739))] * 2)
    assert low > 0.739
    assert power.needed_for_share(1, 2, 0.5) == math.inf
