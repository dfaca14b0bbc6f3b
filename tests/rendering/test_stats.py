"""Closed forms, oracles and simulations for the statistics."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from kanbench import frame as frames
from kanbench import stats


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


def test_units_are_tasks_where_there_are_enough_and_seeds_otherwise():
    tasks = [(f"t{i}", seed, float(i + seed)) for i in range(6) for seed in (0, 1)]
    paired = stats.pairs(rows(*tasks), rows(*((t, s, 0.0) for t, s, _ in tasks), method="b"), "error")
    values, unit = stats.units(paired, stats.differences(paired))
    assert unit == "tasks"
    assert values.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    few = paired[paired["task"].isin(["t0", "t4"])]
    values, unit = stats.units(few, stats.differences(few))
    assert unit == "seeds"
    assert values.tolist() == [2.0, 3.0]


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


def test_the_interval_of_few_values_keeps_its_level():
    def small(values, rng):
        return stats.median_interval(values, rng)

    for size in (6, 7, 12):
        found = coverage(lambda rng, size=size: rng.exponential(size=size), math.log(2), small, simulations=400)
        assert found >= 0.93, size


def test_order_statistics_are_the_tabulated_ones():
    # Tables of the sign test: 6 values the range, 10 values the 2nd and 9th, 20 values the 6th and 15th.
    for size, rank in ((6, 1), (8, 1), (9, 2), (10, 2), (20, 6)):
        assert stats.order_statistics_interval(np.arange(1.0, size + 1)) == (rank, size + 1 - rank)


def test_wilcoxon_matches_the_exact_distribution():
    assert stats.wilcoxon([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == pytest.approx(2 / 2**6)
    assert stats.wilcoxon([1.0, 2.0, 3.0, 4.0, 5.0, math.inf]) == pytest.approx(2 / 2**6)
    assert stats.wilcoxon([0.0, 0.0]) == stats.wilcoxon([]) == 1.0
    values = np.random.default_rng(0).normal(0.3, 1, size=30)
    assert stats.wilcoxon(values) == pytest.approx(scipy_stats.wilcoxon(values, zero_method="pratt").pvalue)


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.5]) == [0.5]
    assert stats.holm([]) == []
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("low", "high", "p_value", "lower", "higher"),
    [
        (-3.0, -2.0, 0.01, "better", "worse"),
        (2.0, 3.0, 0.01, "worse", "better"),
        (-3.0, -2.0, 0.20, "undecided", "undecided"),  # beyond the margin, but not after adjustment
        (-0.5, 0.9, 0.50, "equivalent", "equivalent"),
        (-1.0, 1.0, 0.01, "equivalent", "equivalent"),
        (0.2, 0.8, 0.001, "equivalent", "equivalent"),  # a difference too small to matter
        (-2.0, -0.5, 0.01, "undecided", "undecided"),
        (-2.0, 2.0, 0.90, "undecided", "undecided"),
        (math.nan, math.nan, 0.01, "undecided", "undecided"),
        (2.0, math.inf, 0.01, "worse", "better"),
    ],
)
def test_the_four_states(low, high, p_value, lower, higher):
    assert stats.verdict(low, high, 1.0, lower_is_better=True, p_value=p_value) == lower
    assert stats.verdict(low, high, 1.0, lower_is_better=False, p_value=p_value) == higher


def test_not_worse_looks_at_one_end_only():
    assert stats.not_worse(-9.0, 1.0, 1.0, lower_is_better=True)
    assert not stats.not_worse(-9.0, 1.1, 1.0, lower_is_better=True)
    assert stats.not_worse(-1.0, 9.0, 1.0, lower_is_better=False)
    assert not stats.not_worse(-1.1, 9.0, 1.0, lower_is_better=False)


def test_the_detectable_effect_is_detected_four_times_out_of_five():
    rng = np.random.default_rng(2)
    scale = rng.normal(size=20)
    scale = (scale - scale.mean()) / scale.std(ddof=1)
    effect = stats.minimal_detectable_effect(scale)
    found = [stats.wilcoxon(rng.normal(effect, 1.0, size=20)) <= 0.05 for _ in range(600)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)


def test_the_detectable_effect_falls_with_the_number_of_runs():
    values = np.array([-1.0, 1.0])
    effects = [stats.minimal_detectable_effect(np.tile(values, n)) for n in (2, 5, 20, 80)]
    assert effects == sorted(effects, reverse=True)
    assert effects[-1] < effects[-2] / 1.9
    assert stats.minimal_detectable_effect([1.0, 1.0, 1.0]) == 0.0
    assert math.isnan(stats.minimal_detectable_effect([1.0]))


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
