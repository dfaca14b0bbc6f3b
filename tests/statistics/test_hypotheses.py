"""Exact tests against tables and oracles, and what a family asks of its members."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from kanbench.statistics import hypotheses


def test_the_sign_test_is_the_binomial_one():
    values = [-1.0, -2.0, -3.0, -4.0, 5.0, 0.0]
    for alternative, count in (("less", 4), ("greater", 1)):
        expected = scipy_stats.binomtest(count, 6, alternative="greater").pvalue
        assert hypotheses.sign_test(values, alternative) == pytest.approx(expected)
    assert hypotheses.sign_test(values, "less", ties=True) == pytest.approx(scipy_stats.binom.sf(4, 6, 0.5))
    assert hypotheses.sign_test([-1.0] * 6 + [-math.inf]) == pytest.approx(2 / 2**7)
    assert hypotheses.sign_test([]) == 1.0


def test_the_signed_rank_test_is_exact():
    assert hypotheses.signed_rank([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == pytest.approx(2 / 2**6)
    assert hypotheses.signed_rank([1.0, 2.0, 3.0, 4.0, 5.0, math.inf], "greater") == pytest.approx(1 / 2**6)
    assert hypotheses.signed_rank([0.0, 0.0]) == hypotheses.signed_rank([]) == 1.0
    for size in (6, 11, 30):
        values = np.random.default_rng(size).normal(0.3, 1, size=size)
        for alternative in ("two-sided", "less", "greater"):
            expected = scipy_stats.wilcoxon(values, alternative=alternative, method="exact").pvalue
            assert hypotheses.signed_rank(values, alternative) == pytest.approx(expected)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_ties_and_zeros_have_their_permutation_distribution(alternative):
    values = np.array([1, 1, -1, 2, 2, 3, 0, 0, -3, 4.0])
    every = scipy_stats.PermutationMethod(n_resamples=10**5)  # exceeds 2^10: all of them
    expected = scipy_stats.wilcoxon(values, alternative=alternative, zero_method="pratt", method=every).pvalue
    assert hypotheses.signed_rank(values, alternative) == pytest.approx(expected)


def test_the_signed_rank_test_keeps_its_level_under_ties():
    rng = np.random.default_rng(4)
    rejected = [hypotheses.signed_rank(rng.integers(-2, 3, size=9)) <= 0.05 for _ in range(2000)]
    assert np.mean(rejected) <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 2000)


def test_holm_by_hand():
    assert hypotheses.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert hypotheses.holm([0.5]) == [0.5]
    assert hypotheses.holm([]) == []
    assert hypotheses.holm([0.9, 0.8]) == [1.0, 1.0]


def test_every_statement_has_its_own_null_hypothesis():
    values = np.array([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0])
    found = hypotheses.statement_p_values(values, 0.5, lower_is_better=True)
    assert found["better"] == found["not_worse"] == pytest.approx(2 / 2**6)
    assert found["worse"] == found["not_better"] == found["equivalent"] == 1.0
    assert hypotheses.statement_p_values(values, 3.5, lower_is_better=True)["better"] == 1.0  # three of six reach it
    mirrored = hypotheses.statement_p_values(-values, 0.5, lower_is_better=False)
    assert mirrored == found
    inside = hypotheses.statement_p_values(np.linspace(-0.2, 0.3, 8), 1.0, lower_is_better=True)
    assert inside["equivalent"] == pytest.approx(2 / 2**8)
    assert inside["different"] == 1.0


def test_a_skewed_median_on_the_margin_is_not_taken_for_one_beyond_it():
    # Wilcoxon's test is one of symmetry: of log-normal values with median 0 it rejects ten times too often.
    rows = 1 - np.random.default_rng(1).lognormal(size=(300, 60))
    alone = np.mean([hypotheses.signed_rank(values, "less") <= 0.025 for values in rows])
    both = [hypotheses.statement_p_values(values, 0.0, lower_is_better=True) for values in rows]
    assert alone > 0.15
    assert np.mean([p["better"] <= 0.05 for p in both]) <= 0.025 + 2.5 * math.sqrt(0.025 * 0.975 / 300)
    assert np.mean([p["worse"] <= 0.05 for p in both]) <= 0.025 + 2.5 * math.sqrt(0.025 * 0.975 / 300)


def test_missing_values_count_against_every_statement():
    low, high = (
        np.array([-3.0, -2.0, -4.0, -5.0, -6.0, -7.0, -math.inf]),
        np.array([-3.0, -2, -4, -5, -6, -7, math.inf]),
    )
    known = hypotheses.statement_p_values(low[:-1], 0.5, lower_is_better=True)
    found = hypotheses.statement_p_values(low, 0.5, lower_is_better=True, highest=high)
    assert known["better"] <= 0.05 < found["better"]
    flipped = hypotheses.statement_p_values(-high, 0.5, lower_is_better=False, highest=-low)
    assert flipped == found


def test_critical_values_are_where_the_p_values_pass_the_level():
    for size in (6, 10, 25):
        for level in (0.025, 0.002):
            count, total = hypotheses.critical_count(size, level), hypotheses.critical_rank_sum(size, level)
            cumulated = np.cumsum(hypotheses.rank_sums(size))
            assert count == -1 or scipy_stats.binom.cdf(count, size, 0.5) <= level
            assert scipy_stats.binom.cdf(count + 1, size, 0.5) > level
            assert total == -1 or cumulated[total] <= level
            assert cumulated[total + 1] > level
    # Tables of Wilcoxon's test at 2.5 % one-sided: 8 for 10 values, 52 for 20.
    assert [hypotheses.critical_rank_sum(size, 0.025) for size in (6, 10, 20)] == [0, 8, 52]


def test_members_that_could_not_reject_cost_the_others_nothing():
    assert hypotheses.able_to_reject([0.0078, 0.5, 0.125]) == [True, False, False]
    assert hypotheses.adjusted([0.016, 0.5, 0.25], [0.0078, 0.5, 0.125]) == [pytest.approx(0.016), 1.0, 1.0]
    assert hypotheses.holm([0.016, 0.5, 0.25])[0] == pytest.approx(0.048)
    # Two of six values each: neither could reject beside the other, so that neither is tested.
    assert hypotheses.able_to_reject([0.03125] * 2) == [False, False]
    assert hypotheses.able_to_reject([0.03125]) == [True]
    assert hypotheses.able_to_reject([]) == []


sizes_of_families = st.lists(st.integers(1, 40), min_size=1, max_size=9)


@given(sizes_of_families, st.lists(st.integers(1, 5), max_size=9))
@settings(max_examples=100, deadline=None)
def test_no_company_of_few_values_changes_what_a_family_finds(sizes, company):
    """Members of at most five values never reject at 5 %, and never change a p-value of the others."""
    smallest = [hypotheses.smallest_p(size) for size in sizes]
    p_values = [min(1.0, 1.5 * p) for p in smallest]
    alone = hypotheses.adjusted(p_values, smallest)
    more = [hypotheses.smallest_p(size) for size in company]
    assert hypotheses.adjusted(p_values + more, smallest + more)[: len(sizes)] == alone


@given(sizes_of_families, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_member_that_counts_can_reject(sizes, random):
    smallest = [hypotheses.smallest_p(size) for size in sizes]
    able = hypotheses.able_to_reject(smallest)
    found = hypotheses.adjusted(smallest, smallest)
    assert all(p <= 0.05 + 1e-9 for p, counts in zip(found, able, strict=True) if counts)
    assert all(p == 1.0 for p, counts in zip(found, able, strict=True) if not counts)
