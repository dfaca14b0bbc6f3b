"""Looks spend one error: by arithmetic, by simulation, and against looking after every run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kanbench.statistics import hypotheses, looks, power

SIMULATIONS = 4000
NOISE = 2.5 * math.sqrt(0.025 * 0.975 / SIMULATIONS)


def test_shares_add_up_to_one_and_follow_the_spending_function():
    assert looks.shares(1) == (1.0,)
    for number in (2, 3, 5):
        assert sum(looks.shares(number)) == pytest.approx(1.0)
        assert list(looks.shares(number)) == sorted(looks.shares(number), reverse=True)
    assert looks.shares(3)[0] == pytest.approx(math.log(1 + (math.e - 1) / 3))


def test_a_first_look_must_be_able_to_decide_in_its_family():
    assert looks.cannot_decide((10, 20, 40), members=9) == []
    assert looks.cannot_decide((10, 20, 40), members=12) == [10]
    assert looks.cannot_decide((6, 10), members=1) == [6]  # six values decide alone, and not at half of the error
    assert looks.cannot_decide((6,), members=1) == []


def test_p_values_over_looks_are_those_of_each_over_its_share():
    first, second, _ = looks.shares(3)
    assert looks.over_looks([0.01], 3) == pytest.approx(0.01 / first)
    assert looks.over_looks([0.2, 0.01], 3) == pytest.approx(min(0.2 / first, 0.01 / second))
    assert looks.over_looks([], 3) == looks.over_looks([0.9], 3) == 1.0
    assert looks.deciding([0.2, 0.01], 3, 0.05) == 1
    assert looks.deciding([0.001, 0.01], 3, 0.05) == 0
    assert looks.deciding([0.2, 0.1], 3, 0.05) is None


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_a_further_look_never_takes_a_verdict_back(p_values):
    for reached in range(1, len(p_values)):
        assert looks.over_looks(p_values[: reached + 1], 3) <= looks.over_looks(p_values[:reached], 3)
        before = looks.deciding(p_values[:reached], 3, 0.05)
        assert before is None or looks.deciding(p_values, 3, 0.05) == before


def decided_somewhere(values: np.ndarray, sizes, levels) -> float:
    found = np.zeros(len(values), dtype=bool)
    for size, level in zip(sizes, levels, strict=True):
        found |= power.rejects(values[:, :size], level)
    return float(found.mean())


DRAWS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "t2": lambda rng, shape: rng.standard_t(2, size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - math.log(2),
    "lognormal": lambda rng, shape: rng.lognormal(size=shape) - 1,
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_all_looks_together_keep_the_error_with_the_median_on_the_margin(draw):
    values = draw(np.random.default_rng(7), (SIMULATIONS, 40))
    levels = [hypotheses.ALPHA / 2 * share for share in looks.shares(3)]
    for side in (values, -values):
        assert decided_somewhere(side, looks.SIZES, levels) <= 0.025 + NOISE


def test_looking_after_every_run_does_not():
    values = np.random.default_rng(7).normal(size=(SIMULATIONS, 40))
    every = range(6, 41)
    assert decided_somewhere(values, every, [hypotheses.ALPHA / 2] * len(every)) > 0.025 + 2 * NOISE


def test_looks_need_fewer_runs_where_the_effect_is_large():
    values = np.random.default_rng(9).normal(size=(1000, 40)) - 1.5
    levels = [hypotheses.ALPHA / 2 * share for share in looks.shares(3)]
    open_still, runs = np.ones(1000, dtype=bool), np.zeros(1000)
    for size, level in zip(looks.SIZES, levels, strict=True):
        runs[open_still] = size
        open_still &= ~power.rejects(values[:, :size], level)
    assert runs.mean() < 15
    assert open_still.mean() < 0.01
