"""Closed forms, oracles and simulations for the statistics."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from kanbench.records import frame as frames
from kanbench.statistics import power, stats


def rows(*entries, method="a", **more):
    """A small frame: entries are (task, seed, error) or (task, seed, error, status)."""
    table = pd.DataFrame(
        [
            {"task": e[0], "seed": e[1], "error": e[2], "status": e[3] if len(e) > 3 else "ok", "method": method}
            for e in entries
        ]
    )
    table["run"] = [f"{method}/{task}/{seed}" for task, seed in zip(table["task"], table["seed"], strict=True)]
    table["spec.dtype"] = "float32"
    return table.assign(**{f"spec.method.settings.{key}": value for key, value in more.items()})


def test_pairs_join_task_and_seed_and_differences_have_the_sign_of_method_minus_reference():
    method = rows(("x", 0, 1.0), ("x", 1, 2.0), ("y", 0, 5.0))
    reference = rows(("x", 1, 4.0), ("x", 0, 4.0), ("z", 0, 1.0), method="b")
    paired = stats.pairs(method, reference, "error")
    assert list(paired["run"]) == ["a/x/0", "a/x/1"]
    assert stats.differences(paired).tolist() == [-3.0, -2.0]
    assert stats.log_ratios(paired) == pytest.approx([math.log(1 / 4), math.log(1 / 2)])


def test_a_failed_run_loses_its_pair_two_failures_decide_nothing_and_absence_is_no_failure():
    entries = [
        ("x", 0, np.nan, "diverged"),
        ("x", 1, 1.0),
        ("x", 2, np.nan, "out_of_memory"),
        ("x", 3, np.nan, "absent"),
    ]
    method = rows(*entries)
    reference = rows(
        ("x", 0, 1.0), ("x", 1, np.nan, "timed_out"), ("x", 2, np.nan, "diverged"), ("x", 3, 1.0), method="b"
    )
    paired = stats.pairs(method, reference, "error")
    assert len(paired) == 4
    assert stats.differences(paired).tolist() == [math.inf, -math.inf]
    higher = stats.pairs(method, reference, "error", lower_is_better=False)
    assert stats.differences(higher).tolist() == [-math.inf, math.inf]


def test_counted_quantities_hold_whatever_became_of_the_run():
    method, reference = rows(("x", 0, 8.0, "diverged")), rows(("x", 0, 2.0), method="b")
    assert stats.log_ratios(stats.pairs(method, reference, "error", counted=True)) == pytest.approx([math.log(4)])


def test_shared_axes_keep_pairs_apart_and_disjoint_ones_do_not():
    method = pd.concat([rows(("x", 0, 1.0), grid_size=5), rows(("x", 0, 2.0), grid_size=10)])
    reference = pd.concat([rows(("x", 0, 3.0), method="b", grid_size=5), rows(("x", 0, 4.0), method="b", grid_size=10)])
    assert stats.differences(stats.pairs(method, reference, "error")).tolist() == [-2.0, -2.0]
    without_grid = rows(("x", 0, 3.0), method="mlp")
    assert sorted(stats.differences(stats.pairs(method, without_grid, "error"))) == [-2.0, -1.0]
    wider = rows(("x", 0, 3.0), method="mlp", hidden_width=200)
    narrow = rows(("x", 0, 1.0), hidden_width=32)
    assert stats.differences(stats.pairs(narrow, wider, "error")).tolist() == [-2.0]


def test_without_a_reference_a_run_is_compared_with_itself():
    both = rows(("x", 0, 2.0), ("x", 1, 4.0)).assign(legacy=[1.0, 3.0])
    paired = stats.pairs(both, None, "legacy", reference_metric="error")
    assert (paired["run"] == paired["reference_run"]).all()
    assert stats.differences(paired).tolist() == [-1.0, -1.0]


def test_units_are_tasks_where_there_are_enough_and_runs_of_just_these_tasks_otherwise():
    tasks = [(f"t{i}", seed, float(i + seed)) for i in range(8) for seed in (0, 1)]
    paired = stats.pairs(rows(*tasks), rows(*((t, s, 0.0) for t, s, _ in tasks), method="b"), "error")
    values, unit = stats.units(paired, stats.differences(paired))
    assert unit == "tasks"
    assert values.tolist() == [0.5 + i for i in range(8)]
    few = paired[paired["task"].isin(["t0", "t4"])]
    values, unit = stats.units(few, stats.differences(few))
    assert unit == "runs of 2 tasks"
    assert values.tolist() == [0.0, 1.0, 4.0, 5.0]
    one = paired[paired["task"] == "t3"]
    assert stats.units(one, stats.differences(one))[1] == "seeds"


def test_repetitions_in_other_settings_are_no_new_evidence():
    grids = [rows(("x", 0, 1.0), ("x", 1, 3.0), grid_size=grid).assign(error=grid) for grid in (1.0, 2.0, 9.0)]
    reference = [rows(("x", 0, 0.0), ("x", 1, 0.0), method="b", grid_size=grid) for grid in (1.0, 2.0, 9.0)]
    paired = stats.pairs(pd.concat(grids), pd.concat(reference), "error")
    assert len(paired) == 6
    assert stats.units(paired, stats.differences(paired))[0].tolist() == [2.0, 2.0]


def test_networks_of_other_sizes_are_no_pair():
    deep = pd.concat([rows(("x", 0, 1.0), layers=4), rows(("x", 0, 2.0), layers=8)])
    other = pd.concat([rows(("x", 0, 5.0), layers=4, method="b"), rows(("x", 0, 9.0), layers=8, method="b")])
    assert stats.differences(stats.pairs(deep, other, "error")).tolist() == [-4.0, -7.0]


def test_the_median_knows_infinities():
    assert stats.median(np.array([1.0, 2.0, math.inf])) == 2.0
    assert stats.median(np.array([-math.inf, math.inf])) == 0.0
    assert stats.median(np.array([1.0, math.inf, math.inf])) == math.inf
    assert math.isnan(stats.median(np.array([])))


def test_the_same_generator_gives_the_same_interval_and_another_one_does_not():
    values = np.random.default_rng(1).normal(size=25)
    one, same, other = (stats.bootstrap_interval(values, np.random.default_rng(s), statistic="mean") for s in (7, 7, 8))
    assert one == same
    assert one != other
    assert stats.generator("claim", "x").random() == stats.generator("claim", "x").random()
    assert stats.generator("claim", "x").random() != stats.generator("claim", "y").random()


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_agree_with_scipy(method):
    values = np.random.default_rng(3).gamma(2.0, size=30)
    ours = stats.bootstrap_interval(values, np.random.default_rng(0), statistic="mean", method=method, resamples=20000)
    theirs = scipy_stats.bootstrap((values,), np.mean, method=method.replace("bca", "BCa"), n_resamples=20000)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.03)


def test_intervals_bracket_the_estimate_shift_with_the_data_and_ignore_their_order():
    values = np.random.default_rng(5).normal(size=21)
    low, high = stats.bootstrap_interval(values, np.random.default_rng(0))
    assert low <= np.median(values) <= high
    shifted = stats.bootstrap_interval(values + 10, np.random.default_rng(0))
    assert shifted == pytest.approx((low + 10, high + 10))
    assert stats.bootstrap_interval(np.full(9, 2.5), np.random.default_rng(0)) == (2.5, 2.5)
    with_failure = np.append(values, [math.inf] * 2)
    assert all(np.isfinite(stats.bootstrap_interval(with_failure, np.random.default_rng(0))))


@pytest.mark.parametrize("options", [{"method": "bca"}, {"statistic": "mode"}, {"method": "magic"}])
def test_what_is_not_defined_is_refused(options):
    with pytest.raises(ValueError, match="no bootstrap of"):
        stats.bootstrap_interval([1.0, 2.0], np.random.default_rng(0), **options)
    with pytest.raises(ValueError, match="no values"):
        stats.bootstrap_interval([], np.random.default_rng(0))


def coverage(draw, truth, interval, simulations=1200) -> float:
    rng = np.random.default_rng(20)
    inside = 0
    for _ in range(simulations):
        low, high = interval(draw(rng), rng)
        inside += low <= truth <= high
    return inside / simulations


def test_coverage_is_within_two_points_of_nominal_at_moderate_size():
    def median(values, rng):
        return stats.bootstrap_interval(values, rng, resamples=800)

    def mean(values, rng):
        return stats.bootstrap_interval(values, rng, statistic="mean", method="bca", resamples=800)

    assert coverage(lambda rng: rng.normal(size=40), 0.0, median) == pytest.approx(0.95, abs=0.02)
    assert coverage(lambda rng: rng.exponential(size=40), math.log(2), median) == pytest.approx(0.95, abs=0.02)
    assert coverage(lambda rng: rng.gamma(4.0, size=60), 4.0, mean) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("size", [8, 9, 11, 13, 16, 21, 25, 30, 31])
@pytest.mark.parametrize("draw", [np.random.Generator.normal, np.random.Generator.lognormal], ids=["normal", "skewed"])
def test_the_printed_interval_is_within_two_points_of_nominal_at_every_size(size, draw):
    truth = 1.0 if draw is np.random.Generator.lognormal else 0.0  # medians of the standard forms

    def interval(values, rng):
        return stats.median_interval(values, rng)

    simulations = 4000 if size < stats.MODERATE else 1000
    found = coverage(lambda rng: draw(rng, size=size), truth, interval, simulations=simulations)
    noise = 2.5 * math.sqrt(0.95 * 0.05 / simulations)
    assert found == pytest.approx(0.95, abs=0.02 + (noise if size >= stats.MODERATE else 0))


def test_order_statistics_are_the_tabulated_ones_between_which_they_interpolate():
    # Tables of the sign test at 95 %: 8 values the 1st, 10 values the 2nd and 9th, 20 values the 6th and 15th; the next
    # pair inside falls short of the level.
    for size, rank in ((6, 1), (8, 1), (9, 2), (10, 2), (20, 6)):
        low, high = stats.order_statistics_interval(np.arange(1.0, size + 1))
        assert rank <= low < rank + 1
        assert low + high == pytest.approx(size + 1)
    # By hand for n = 10: coverage 0.97852 of (2, 9) and 0.89062 of (3, 8); I = 0.32444; lambda = 8 I / (2 + 6 I).
    share = (0.978515625 - 0.95) / (0.978515625 - 0.890625)
    weight = 8 * share / (2 + 6 * share)
    assert stats.order_statistics_interval(np.arange(1.0, 11))[0] == pytest.approx(2 + weight)
    # At 1 - 2 / 2^6 the range of six values is exact, and nothing is interpolated.
    assert stats.order_statistics_interval(np.arange(1.0, 7), level=1 - 2 / 2**6) == (1.0, 6.0)
    assert stats.order_statistics_interval([3.0, 1.0]) == (1.0, 3.0)


def test_an_infinite_end_is_not_interpolated():
    values = [-math.inf, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, math.inf]
    assert stats.order_statistics_interval(values) == (-math.inf, math.inf)
    assert stats.order_statistics_interval(values[:-1] + [6.5])[0] == -math.inf
    assert 8.0 < stats.order_statistics_interval([*values[1:], 7.0, 8.0, 9.0])[1] < 9.0  # the outermost is left out


def test_the_signed_rank_test_is_exact():
    assert stats.signed_rank([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == pytest.approx(2 / 2**6)
    assert stats.signed_rank([1.0, 2.0, 3.0, 4.0, 5.0, math.inf], "greater") == pytest.approx(1 / 2**6)
    assert stats.signed_rank([0.0, 0.0]) == stats.signed_rank([]) == 1.0
    for size in (6, 11, 30):
        values = np.random.default_rng(size).normal(0.3, 1, size=size)
        for alternative in ("two-sided", "less", "greater"):
            expected = scipy_stats.wilcoxon(values, alternative=alternative, method="exact").pvalue
            assert stats.signed_rank(values, alternative) == pytest.approx(expected)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_ties_and_zeros_have_their_permutation_distribution(alternative):
    values = np.array([1, 1, -1, 2, 2, 3, 0, 0, -3, 4.0])
    every = scipy_stats.PermutationMethod(n_resamples=10**5)  # exceeds 2^10: all of them
    expected = scipy_stats.wilcoxon(values, alternative=alternative, zero_method="pratt", method=every).pvalue
    assert stats.signed_rank(values, alternative) == pytest.approx(expected)


def test_the_signed_rank_test_keeps_its_level_under_ties():
    rng = np.random.default_rng(4)
    rejected = [stats.signed_rank(rng.integers(-2, 3, size=9)) <= 0.05 for _ in range(2000)]
    assert np.mean(rejected) <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 2000)


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.5]) == [0.5]
    assert stats.holm([]) == []
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("low", "high", "p_values", "lower", "higher"),
    [
        (-3.0, -2.0, {}, "better", "worse"),
        (2.0, 3.0, {}, "worse", "better"),
        (
            -3.0,
            -2.0,
            {"better": 0.2, "worse": 0.2},
            "undecided",
            "undecided",
        ),  # beyond the margin, not shown by the test
        (-0.5, 0.9, {"better": 0.5, "worse": 0.5}, "equivalent", "equivalent"),
        (-0.5, 0.9, {"equivalent": 0.06}, "undecided", "undecided"),
        (-1.0, 1.0, {}, "equivalent", "equivalent"),
        (0.2, 0.8, {}, "equivalent", "equivalent"),  # a difference too small to matter
        (-2.0, -0.5, {}, "undecided", "undecided"),
        (-2.0, 2.0, {}, "undecided", "undecided"),
        (math.nan, math.nan, {}, "undecided", "undecided"),
        (2.0, math.inf, {}, "worse", "better"),
    ],
)
def test_the_four_states(low, high, p_values, lower, higher):
    assert stats.verdict(low, high, 1.0, lower_is_better=True, p_values=p_values) == lower
    assert stats.verdict(low, high, 1.0, lower_is_better=False, p_values=p_values) == higher


def test_every_statement_has_its_own_null_hypothesis():
    values = np.array([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0])
    found = stats.statement_p_values(values, 0.5, lower_is_better=True)
    assert found["better"] == found["not_worse"] == pytest.approx(2 / 2**6)
    assert found["worse"] == found["not_better"] == found["equivalent"] == 1.0
    assert stats.statement_p_values(values, 3.5, lower_is_better=True)["better"] == 1.0  # three of six reach it
    mirrored = stats.statement_p_values(-values, 0.5, lower_is_better=False)
    assert mirrored == found
    inside = stats.statement_p_values(np.linspace(-0.2, 0.3, 8), 1.0, lower_is_better=True)
    assert inside["equivalent"] == pytest.approx(2 / 2**8)
    assert inside["different"] == 1.0


def test_what_an_interval_establishes():
    def says(low, high, higher=False):
        statements = ("better", "not_better", "not_worse", "worse", "equivalent", "different")
        return {s for s in statements if stats.established(s, low, high, 1.0, lower_is_better=not higher)}

    assert says(-9.0, 1.0) == {"not_worse"}
    assert says(-9.0, 1.1) == set()
    assert says(-9.0, -2.0) == {"better", "not_worse", "different"}
    assert says(2.0, 9.0) == {"worse", "not_better", "different"}
    assert says(-0.9, 0.5) == {"equivalent", "not_better", "not_worse"}
    assert says(-1.0, 9.0, higher=True) == {"not_worse"}
    assert says(2.0, 9.0, higher=True) == {"better", "not_worse", "different"}


def scaled(size: int, seed: int = 2) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=size)
    return (values - values.mean()) / values.std(ddof=1)


def test_the_detectable_effect_is_detected_four_times_out_of_five():
    rng = np.random.default_rng(2)
    effect = power.minimal_detectable_effect(scaled(20))
    found = [stats.signed_rank(rng.normal(effect, 1.0, size=20)) <= 0.05 for _ in range(600)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)


def test_the_detectable_effect_falls_with_the_number_of_runs():
    values = np.array([-1.0, 1.0])
    effects = [power.minimal_detectable_effect(np.tile(values, n)) for n in (3, 5, 20, 80)]
    assert effects == sorted(effects, reverse=True)
    assert effects[-1] < effects[-2] / 1.9
    assert power.minimal_detectable_effect([1.0] * 6) == 0.0
    assert math.isnan(power.minimal_detectable_effect([1.0]))
    assert power.minimal_detectable_effect(np.tile(values, 2)) == math.inf  # no outcome of four values reaches 5 %
    assert power.minimal_detectable_effect(scaled(9), level=0.99) > power.minimal_detectable_effect(scaled(9))


@pytest.mark.parametrize("level", [0.95, 1 - 0.05 / 4])
def test_as_many_runs_as_are_said_to_be_needed_decide_four_times_out_of_five(level):
    rng = np.random.default_rng(3)
    pilot = scaled(10)
    pilot += 0.6 - stats.median(pilot)
    size = int(power.needed(pilot, 0.0, level=level))
    found = [stats.signed_rank(rng.normal(0.6, 1.0, size=size)) <= 1 - level for _ in range(600)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)
    assert power.minimal_detectable_effect(scaled(size), level=level) <= 0.6
    assert power.minimal_detectable_effect(scaled(size - 1), level=level) > 0.6


def test_where_no_number_of_runs_decides():
    assert power.needed([1.0, -1.0, 0.0], 0.0) == math.inf
    assert math.isnan(power.needed([1.0], 0.0))
    assert power.needed([5.0, 5.0], 0.0) == 6  # without spread, the fewest with which the test reaches its level
    assert [power.fewest(1 - 0.05 / family) for family in (1, 2, 4)] == [6, 7, 8]
    assert power.needed_for_share(8, 8, 0.739) > 8
    low, _ = stats.proportion_interval(*[int(power.needed_for_share(8, 8, 0.739))] * 2)
    assert low > 0.739


def test_failure_rates_count_what_was_tried(frame):
    rates = stats.failure_rates(frame, ["family", "method"]).set_index(["family", "method"])
    diverged = rates.loc[("function_fitting", "efficient_kan")]
    planned = frame[(frame["family"] == "function_fitting") & (frame["method"] == "efficient_kan")]
    assert diverged["failed"] == 1
    assert diverged["tried"] == len(planned) - 2  # two are absent
    assert 0 < diverged["low"] < diverged["rate"] < diverged["high"] < 0.25
    assert rates.loc[("pde", "mlp"), "rate"] == 0.0
    only_absent = frames.to_frame([])
    assert stats.failure_rates(only_absent).empty


def test_shares_have_exact_intervals():
    assert stats.proportion_interval(16, 18) == pytest.approx((0.6529, 0.9862), abs=1e-4)
    assert stats.proportion_interval(0, 3)[0] == 0.0
