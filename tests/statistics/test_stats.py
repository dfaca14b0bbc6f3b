"""Closed forms, oracles and simulations for the statistics."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from kanbench.records import frame as frames
from kanbench.statistics import stats


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


def test_units_are_runs_of_the_given_tasks_however_many_they_are():
    tasks = [(f"t{i}", seed, float(i + seed)) for i in range(8) for seed in (0, 1)]
    paired = stats.pairs(rows(*tasks), rows(*((t, s, 0.0) for t, s, _ in tasks), method="b"), "error")
    for count, unit in ((8, "runs of 8 tasks"), (7, "runs of 7 tasks"), (1, "seeds")):
        some = paired[paired["task"].isin([f"t{i}" for i in range(count)])]
        values, named = stats.units(some, stats.differences(some))
        assert (named, values.size) == (unit, 2 * count)  # an eighth task does not turn sixteen values into eight
    few = paired[paired["task"].isin(["t0", "t4"])]
    assert stats.units(few, stats.differences(few))[0].tolist() == [0.0, 1.0, 4.0, 5.0]


def test_a_run_without_its_partner_is_a_missing_pair():
    method = rows(("x", 0, 1.0), ("x", 1, 2.0), ("x", 2, 3.0), ("z", 0, 9.0))
    reference = rows(("x", 0, 1.0), ("x", 3, 4.0), ("y", 0, 9.0), method="b")
    assert len(stats.pairs(method, reference, "error")) == 1
    paired = stats.pairs(method, reference, "error", lone=True)
    assert sorted(paired["seed"]) == [0, 1, 2, 3]  # the tasks that one side was never run on are none
    assert paired["usable"].tolist() == [True, False, False, False]
    assert set(paired.loc[~paired["usable"], "reference_status"]) == {"absent", "ok"}
    assert not paired["unfinished"].any()


def test_values_that_are_not_positive_have_no_ratio_and_failures_keep_theirs():
    method = rows(("x", 0, -1.0), ("x", 1, 0.0), ("x", 2, 3.0), ("x", 3, 1.0, "diverged"), ("x", 4, 2.0))
    reference = rows(*(("x", seed, 1.0) for seed in range(4)), ("x", 4, 2.0, "diverged"), method="b")
    paired = stats.pairs(method, reference, "error")
    logs = stats.log_ratios(paired)
    assert np.isnan(logs[:2]).all()
    assert logs[2:].tolist() == [math.log(3), math.inf, -math.inf]
    higher = stats.log_ratios(stats.pairs(method, reference, "error", lower_is_better=False))
    assert higher[3:].tolist() == [-math.inf, math.inf]


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


def test_equal_purposes_have_equal_generators():
    assert stats.generator("claim", "x").random() == stats.generator("claim", "x").random()
    assert stats.generator("claim", "x").random() != stats.generator("claim", "y").random()


def test_the_interval_brackets_the_estimate_shifts_with_the_data_and_ignores_their_order():
    values = np.random.default_rng(5).normal(size=21)
    low, high = stats.median_interval(values)
    assert low < np.median(values) < high
    assert stats.median_interval(values[::-1] + 10) == pytest.approx((low + 10, high + 10))
    assert stats.median_interval(np.full(9, 2.5)) == (2.5, 2.5)
    assert all(np.isfinite(stats.median_interval(np.append(values, [math.inf] * 2))))


@pytest.mark.parametrize("size", [6, 8, 10, 20, 30, 31, 50])
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, shape: rng.normal(size=shape),
        lambda rng, shape: rng.standard_t(2, size=shape),
        lambda rng, shape: rng.exponential(size=shape) - math.log(2),
        lambda rng, shape: rng.lognormal(size=shape) - 1,
    ],
    ids=["normal", "t2", "exponential", "lognormal"],
)
def test_the_printed_interval_covers_the_median_at_every_size(size, draw):
    values = np.sort(draw(np.random.default_rng(size), (4000, size)), axis=1)  # the median of each is zero
    outside = stats.outer_values(size)
    covered = np.mean((values[:, outside] <= 0) & (values[:, size - 1 - outside] >= 0))
    assert covered >= 0.95 - 2.5 * math.sqrt(0.95 * 0.05 / 4000)
    assert stats.median_interval(values[0]) == (values[0, outside], values[0, size - 1 - outside])


def test_the_interval_is_that_of_the_tables_of_the_sign_test():
    for size, rank in ((6, 1), (8, 1), (9, 2), (10, 2), (11, 2), (12, 3), (20, 6), (31, 10), (50, 18)):
        assert stats.median_interval(np.arange(1.0, size + 1)) == (rank, size + 1 - rank)
        inside = 1 - 2 * scipy_stats.binom.cdf(rank - 1, size, 0.5)
        assert inside >= 0.95
        assert 1 - 2 * scipy_stats.binom.cdf(rank, size, 0.5) < 0.95
    assert stats.median_interval([3.0, 1.0]) == (1.0, 3.0)


def test_infinities_are_ends_like_any_other():
    values = [-math.inf, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, math.inf]
    assert stats.median_interval(values) == (-math.inf, math.inf)
    assert stats.median_interval([*values[1:], 7.0, 8.0, 9.0]) == (2.0, 9.0)  # the outermost is left out


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
