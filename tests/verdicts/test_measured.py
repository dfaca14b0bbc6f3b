"""What claims are held against: thresholds and sweeps, positive ratios, rates at one level, steps to a target."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from claim_cases import RATIO, noisy, outcome, runs, seeds


def test_a_threshold_on_two_runs_is_only_seen(tmp_path):
    bounds = {"kind": "threshold", "metric": "error", "method": "meta", "at_most": 0.6}
    two = outcome(tmp_path, [runs("meta", seeds([0.1, 0.2]))], criterion=bounds)
    assert two.verdict == "undecided"
    assert two.reason == "seen in 2 runs, of which 6 are needed: 2 of 2 runs are at most 0.6"
    repeated = [runs("meta", seeds([0.1, 0.2]), **{"spec.method.settings.depth": depth}) for depth in (1, 2, 3)]
    assert outcome(tmp_path, repeated, criterion=bounds).reason.startswith("seen in 2 runs")  # settings are no runs
    assert outcome(tmp_path, [runs("meta", seeds([0.1] * 6))], criterion=bounds).verdict == "holds"
    mixed = outcome(tmp_path, [runs("meta", seeds([0.1] * 5 + ["diverged"]))], criterion=bounds)
    assert (mixed.verdict, mixed.reason) == ("in part", "5 of 6 runs are at most 0.6")
    missing = outcome(tmp_path, [runs("meta", seeds([0.1] * 6 + ["absent"]))], criterion=bounds)
    assert (missing.verdict, missing.reason) == ("undecided", "1 runs missing: 6 of 6 runs are at most 0.6")


def test_what_is_counted_needs_no_repetition(tmp_path):
    bounds = {"kind": "count_ratio", "metric": "parameters.trainable", "method": "meta", "reference": "strong"}
    counted = [
        runs(name, seeds(["diverged"]), **{"parameters.trainable": count})
        for name, count in (("meta", 3), ("strong", 9))
    ]
    found = outcome(tmp_path, counted, criterion=bounds | {"at_most": 0.5})
    assert (found.verdict, found.estimate) == ("holds", pytest.approx(1 / 3))


def sweep(values: dict[int, list[float]]) -> list[pd.DataFrame]:
    return [runs("meta", seeds(errors), **{"spec.method.settings.num_clusters": c}) for c, errors in values.items()]


def test_a_gain_is_monotone_where_no_step_of_a_run_loses(tmp_path):
    bounds = {"kind": "monotone", "metric": "error", "method": "meta", "along": "num_clusters", "at_most": 1.0}
    falling = {1: [0.4] * 6, 2: [0.3] * 6, 3: [0.2] * 6}
    found = outcome(tmp_path, sweep(falling), criterion=bounds)
    assert (found.verdict, found.estimate) == ("holds", pytest.approx(0.75))
    dented = falling | {2: [0.5] + [0.3] * 5}
    part = outcome(tmp_path, sweep(dented), criterion=bounds)
    assert (part.verdict, part.reason) == ("in part", "5 of 6 sweeps are at most 1")
    lost = outcome(tmp_path, sweep(falling | {3: ["diverged"] + [0.2] * 5}), criterion=bounds)
    assert (lost.verdict, lost.high) == ("in part", math.inf)
    few = outcome(tmp_path, sweep({c: v[:2] for c, v in falling.items()}), criterion=bounds)
    assert few.reason.startswith("seen in 2 runs")


@pytest.mark.parametrize("kind", ["paired_ratio", "count_ratio", "trend", "monotone"])
@pytest.mark.parametrize("value", [-0.1, 0.0])
def test_ratios_of_values_that_are_not_positive_are_refused(tmp_path, kind, value):
    criterion = {"kind": kind, "metric": "error", "method": "meta", "at_most": 1.0, "along": "num_clusters"}
    criterion |= {"expect": "better", "margin": 0.1, "reference": "strong"}
    frames = sweep({1: [0.4] * 9 + [value], 2: [0.3] * 10})
    frames += [frame.assign(method="strong", run="s" + frame["run"], error=1.0) for frame in frames]
    found = outcome(tmp_path, frames, criterion=criterion)
    assert found.verdict == "undecided"
    assert "not positive" in found.reason


def test_balance_is_compared_at_one_level(tmp_path):
    groups = [f"spec.training.groups.{group}.learning_rate" for group in ("prompts", "meta_learners")]
    # The error follows the level alone, and at each level the balance makes no difference.
    frames = [
        runs("meta", seeds(noisy(10 * math.sqrt(p * m), 10)), **dict(zip(groups, (p, m), strict=True)))
        for p in (0.001, 0.01, 0.1)
        for m in (0.001, 0.01, 0.1)
    ]
    criterion = {**RATIO, "expect": "worse", "margin": 0.2, "method_where": {"learning_rate_ratio": {"at_most": 1.01}}}
    criterion |= {"reference_where": {"learning_rate_ratio": {"at_least": 9.9, "at_most": 10.1}}}
    confounded = outcome(tmp_path, frames, criterion=criterion)
    held = outcome(tmp_path, frames, criterion=criterion | {"within": ["learning_rate_level"]})
    assert confounded.n_planned > held.n_planned == 20  # two pairs of a level, ten seeds
    assert (held.verdict, held.estimate) == ("fails", pytest.approx(1.0))


def test_steps_to_the_best_of_the_reference(tmp_path):
    def curve(*values):
        return [{"step": 10 * i, "validation": value} for i, value in enumerate(values)]

    warm, cold = runs("meta", seeds([0.1] * 10)), runs("strong", seeds([0.2] * 10))
    warm["curve"] = [curve(0.9, 0.15, 0.1)] * 9 + [curve(0.9, 0.9, 0.9)]
    cold["curve"] = [curve(0.9, 0.5, 0.3, 0.2, 0.25)] * 10
    criterion = {"metric": "steps_to_target", "expect": "better", "margin": 0.2}
    found = outcome(tmp_path, [warm, cold], criterion=criterion)
    assert (found.estimate, found.n_ok) == (pytest.approx(10 / 30), 9)  # one never got there: it lost its pair
    rest = outcome(tmp_path, [warm[:9], cold[:9]], criterion=criterion, looks=[9])
    assert (rest.verdict, rest.estimate) == ("holds", pytest.approx(10 / 30))
    at_once = warm.assign(curve=[curve(0.1)] * 10)
    assert outcome(tmp_path, [at_once, cold], criterion=criterion).estimate == pytest.approx(1 / 30)
