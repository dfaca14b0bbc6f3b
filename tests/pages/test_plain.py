"""Sentences for newcomers: the answer, the amount in words, what it is compared with, and what would settle it."""

from __future__ import annotations

import math

import pytest

from kanbench.pages import plain
from kanbench.verdicts.outcome import Outcome

LABELS = {"metakan-relu": "MetaKAN", "mlp": "MLP"}


def told(kind, metric, estimate, low, high, *, verdict="holds", interval="range over 4 pairs", criterion=(), **fields):
    outcome = Outcome(
        id="x", statement="S.", source="P", claimed="c", experiments=("E1",), family="", kind=kind, estimate=estimate,
        low=low, high=high, interval=interval, verdict=verdict, **fields,
    )  # fmt: skip
    declared = {"method": "metakan-relu", "reference": "mlp", "metric": metric, **dict(criterion)}
    return plain.sentence(outcome, {"criterion": declared}, LABELS)


@pytest.mark.parametrize(
    ("ratio", "amount"),
    [
        (0.115, "about 1/9 of the trainable parameters of MLP"),
        (0.55, "about 1/2 of the trainable parameters of MLP"),
        (0.93, "93 % of the trainable parameters of MLP"),
        (0.96, "about the same trainable parameters as MLP"),
        (1.05, "about the same trainable parameters as MLP"),
        (7.33, "7.3 times the trainable parameters of MLP"),
    ],
)
def test_a_count_is_told_as_a_share(ratio, amount):
    assert told("count_ratio", "parameters.trainable", ratio, ratio, ratio) == f"Yes. MetaKAN has {amount}."


def test_memory_is_told_as_simulated_or_measured():
    text = told("count_ratio", "memory.simulated_peak_bytes", 0.25, 0.2, 0.3, verdict="in part")
    assert text == (
        "In part. MetaKAN needs about 1/4 of the peak memory of MLP in a training step (simulated), "
        "in single comparisons from 0.200 to 0.300 times."
    )
    assert "(measured)" in told("count_ratio", "memory.peak_allocated_bytes", 0.25, 0.25, 0.25)


def test_errors_of_classification_are_told_as_examples():
    text = told(
        "paired_difference", "error", 0.0022, -0.0067, 0.0111, verdict="undecided", scope="these tasks", unit="seeds",
        needed=20.0,
    )  # fmt: skip
    assert text == (
        "Not settled. Of 1,000 test examples, MetaKAN gets 2 more wrong than MLP, in single comparisons from 7 fewer "
        "to 11 more. About 20 repetitions (seeds) would tell."
    )
    assert "gets as many wrong as MLP" in told("paired_difference", "error", 0.0004, 0.0004, 0.0004)


def test_an_interval_is_told_as_confidence():
    text = told("paired_ratio", "error", 1.83, 1.04, 6.25, verdict="fails", interval="95 % order statistics, 8 tasks")
    assert (
        text == "No. The error of MetaKAN is 1.8 times that of MLP, between 1.04 and 6.25 times with 95 % confidence."
    )


@pytest.mark.parametrize(
    ("needed", "unit", "scope", "told_as"),
    [
        (30.0, "tasks", "tasks of this kind", "About 30 tasks would tell."),
        (math.inf, "seeds", "these tasks", "It would take more repetitions (seeds) than the study declares."),
        (math.nan, "", "", "More repeated runs are needed to tell."),
    ],
)
def test_what_would_settle_it(needed, unit, scope, told_as):
    text = told("paired_ratio", "error", 1.0, 0.9, 1.1, verdict="undecided", needed=needed, unit=unit, scope=scope)
    assert text.startswith("Not settled. The error of MetaKAN is about that of MLP,")
    assert text.endswith(told_as)


def test_other_kinds():
    grid = {"along": "grid_size"}
    assert told("trend", "parameters.trainable", -1.0, -1.0, -1.0, criterion=grid) == (
        "Yes. Each doubling of the grid size multiplies the trainable parameters of MetaKAN as a share of that of MLP "
        "by 0.500."
    )
    assert "on 25 % of the tasks, between 0 % and 50 % with 95 % confidence" in told(
        "win_count", "error", 0.25, 0.0, 0.5, interval="2 of 8 tasks, exact 95 % interval of the share"
    )
    assert "The next larger number of meta-learners multiplies the error by up to 1.40" in told(
        "monotone", "error", 1.4, 1.4, 1.4, criterion={"along": "num_clusters"}
    )
    assert "The test error of MetaKAN is 0.880." in told("threshold", "error", 0.88, 0.88, 0.88)
    assert "never gets as far as MLP" in told("paired_ratio", "steps_to_target", math.inf, math.inf, math.inf)
    assert "Most runs of MetaKAN failed" in told("paired_ratio", "error", math.inf, 1.0, math.inf)
    score = told("paired_difference", "analyses.symbolic.isolated.score_truth", -0.02, -0.04, 0.0)
    assert "is 0.020 lower with MetaKAN than with MLP, in single comparisons from 0.040 lower to the same." in score


def test_two_settings_of_one_method_are_not_called_by_one_name():
    text = told("paired_ratio", "error", 2.0, 2.0, 2.0, criterion={"reference": "metakan-relu"})
    assert text == "Yes. The error of the first of the two compared is 2.0 times that of the second."


def test_without_records_nothing_is_measured():
    nothing = (math.nan,) * 3
    assert told("count_ratio", "error", *nothing, verdict="no records") == (
        "Not measured. This record set has no runs for it."
    )
    assert "no value that can be compared" in told("paired_ratio", "error", *nothing, verdict="undecided")


def test_every_verdict_has_an_answer_and_a_meaning():
    from kanbench.pages import render

    assert tuple(plain.MEANINGS) == render.VERDICT_ORDER
    assert set(plain.ANSWERS) == set(render.VERDICT_ORDER)
