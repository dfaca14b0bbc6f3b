"""The rules of a verdict, each against what would move it: company, size, references, budgets, floors, missing runs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from claim_cases import claim, loaded, noisy, outcome, runs, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

from kanbench.verdicts import claims, references

DENSE = {"dense": {"methods": ["weak", "strong"], "where_they_run": ["slow"]}}


# Rule 1: the strongest reference decides.


def table(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(references.COLUMNS)).assign(chosen=lambda t: t["chosen"].astype(bool))


def test_a_weak_reference_alone_proves_nothing(tmp_path):
    meta, weak, strong = (
        runs(n, seeds(noisy(m, 10, i))) for i, (n, m) in enumerate([("meta", 1), ("weak", 2), ("strong", 0.5)])
    )
    options = {"top": {"references": DENSE}, "criterion": {"references": "dense"}}
    alone = outcome(tmp_path, [meta, weak], **options)
    assert alone.verdict == "undecided"
    assert "no reference chosen on validation, and none of strong was measured" in alone.reason
    single = outcome(tmp_path, [meta, weak], criterion={"reference": "weak"})
    assert single.verdict == "holds"  # what a reference of one's choice shows
    both = outcome(tmp_path, [meta, weak, strong], **options)
    assert (both.verdict, both.reference) == ("fails", "strong")
    assert {row["reference"]: round(row["estimate"], 1) for row in both.ratios} == {"weak": 0.5, "strong": 2.0}


def test_against_all_references_a_claim_holds_and_against_one_it_fails_at_the_error_of_one(tmp_path):
    meta, weak, strong = (
        runs(n, seeds(noisy(m, 10, i))) for i, (n, m) in enumerate([("meta", 1), ("weak", 2), ("strong", 1.6)])
    )
    options = {"top": {"references": DENSE}, "criterion": {"references": "dense"}}
    found = outcome(tmp_path, [meta, weak, strong], **options)
    assert (found.verdict, found.reference, found.p_value) == ("holds", "strong", pytest.approx(0.0043, abs=1e-4))
    assert found.p_against == 1.0
    worse = outcome(tmp_path, [runs("meta", seeds(noisy(3, 10, 5))), weak, strong], **options)
    assert (worse.verdict, worse.p_against) == ("fails", pytest.approx(2 * 0.0043, abs=2e-4))


def test_the_form_chosen_on_validation_decides_and_the_others_are_shown(tmp_path):
    meta, weak, strong = (
        runs(n, seeds(noisy(m, 10, i))) for i, (n, m) in enumerate([("meta", 1), ("weak", 2), ("strong", 0.5)])
    )
    options = {"top": {"references": DENSE}, "criterion": {"references": "dense"}}
    rows = [
        ("E1", "function_fitting", "90 steps", "weak", "rmse", 0.3, 0.01, 3, False),
        ("E1", "function_fitting", "90 steps", "strong", "rmse", 0.1, 0.01, 3, True),
        ("E1", "function_fitting", "9 steps", "weak", "rmse", 0.1, 0.01, 3, True),
        ("E2", "function_fitting", "100 steps", "weak", "rmse", 0.1, 0.01, 3, True),
        ("E1", "pde", "100 steps", "weak", "rmse", 0.1, 0.01, 3, True),
    ]
    found = outcome(tmp_path, [meta, weak, strong], chosen=table(*rows), **options)
    assert (found.verdict, found.reference) == ("fails", "strong")
    assert found.chosen == "strongest on validation, 3 seeds at 90 steps"
    assert len(found.ratios) == 2
    unmeasured = outcome(tmp_path, [meta, weak], chosen=table(*rows), **options)
    assert unmeasured.verdict == "undecided"


def test_tuning_seeds_choose_where_no_table_does_and_never_count(tmp_path):
    tuned = [runs(n, {("t", 1000): v, ("t", 1001): v}) for n, v in (("weak", 3.0), ("strong", 2.0))]
    meta, weak, strong = (
        runs(n, seeds(noisy(m, 10, i))) for i, (n, m) in enumerate([("meta", 1), ("weak", 1.8), ("strong", 1.5)])
    )
    options = {"top": {"references": DENSE}, "criterion": {"references": "dense"}}
    extra = runs("meta", {("t", 1000): 99.0, ("t", 1001): 99.0})
    found = outcome(tmp_path, [meta, weak, strong, *tuned, extra], **options)
    assert (found.reference, found.chosen) == ("strong", "strongest on validation, tuning seeds of these records")
    assert (found.verdict, found.n_planned) == ("holds", 10)


# Rule 3: two budgets.


@pytest.mark.parametrize(("quarter", "verdict"), [(2.3, "undecided"), (0.7, "holds"), (None, "holds")])
def test_a_sign_that_depends_on_the_budget_is_no_verdict(tmp_path, quarter, verdict):
    full = [runs("meta", seeds(noisy(0.95, 10))), runs("strong", seeds(noisy(1, 10, 1)))]
    if quarter:
        full.append(runs("meta", seeds(noisy(quarter, 10, 2)), experiment="E1quarter"))
        full.append(runs("strong", seeds(noisy(1, 10, 3)), experiment="E1quarter"))
    found = outcome(tmp_path, full, quarter="E1quarter")
    assert found.verdict == verdict
    if quarter == 2.3:
        assert found.reason.startswith("depends on the budget: 0.943 at the full one, 2.4")
        assert found.budgets["quarter"] == pytest.approx(2.3, rel=0.1)
        assert found.look == 0
    if quarter is None:
        assert "at one budget alone" in found.reason


@pytest.mark.parametrize(("quarter", "verdict"), [(0.5, "holds"), (2.0, "undecided"), (None, "holds")])
def test_a_share_of_tasks_that_depends_on_the_budget_is_no_verdict(tmp_path, quarter, verdict):
    def tasks(error):
        return {(f"t{task}", seed): error for task in range(20) for seed in range(2)}

    full = [runs("meta", tasks(0.5)), runs("strong", tasks(1.0))]
    if quarter:
        full += [
            runs("meta", tasks(quarter), experiment="E1quarter"),
            runs("strong", tasks(1.0), experiment="E1quarter"),
        ]
    criterion = {"kind": "win_count", "metric": "error", "method": "meta", "reference": "strong"}
    criterion |= {"share": 0.9, "margin": 0.15}
    options = {"criterion": criterion, "scope": "tasks of this kind", "quarter": "E1quarter"}
    found = outcome(tmp_path, full, **options)
    assert (found.verdict, found.estimate) == (verdict, 1.0)
    assert found.budgets == ({"full": 1.0, "quarter": float(quarter < 1)} if quarter else {})
    assert ("at one budget alone" in found.reason) == (quarter is None)
    assert found.reason.startswith("depends on the budget: 1 at the full one, 0 at a quarter") == (quarter == 2.0)


# Rule 4: floors.


def test_runs_below_the_floor_are_no_evidence(tmp_path):
    meta = runs("meta", seeds(noisy(0.5, 10)), floor=0.2)
    strong = runs("strong", seeds(noisy(1, 10, 1)), floor=0.2)
    found = outcome(tmp_path, [meta, strong])
    assert (found.verdict, found.floors) == ("undecided", 1)
    assert "on 1 tasks neither side beats its floor" in found.reason
    assert math.isnan(found.estimate)
    beaten = outcome(tmp_path, [meta.assign(**{"floors.affine.rmse": 0.9}), strong])
    assert (beaten.verdict, beaten.floors) == ("holds", 0)


# Rule 5: the scope is declared.


def tasks(count: int, value: float, seeds_each: int = 2, seed: int = 0) -> dict:
    draws = noisy(value, count * seeds_each, seed)
    return {(f"t{i // seeds_each}", i % seeds_each): float(v) for i, v in enumerate(draws)}


def test_eight_data_sets_are_no_weaker_evidence_than_seven(tmp_path):
    found = {}
    for count in (7, 8):
        frames = [runs("meta", tasks(count, 0.8, 10)), runs("strong", tasks(count, 1.0, 10, 1))]
        found[count] = outcome(tmp_path, frames)
    assert [found[count].verdict for count in (7, 8)] == ["holds", "holds"]
    assert [found[count].unit for count in (7, 8)] == ["runs of 7 tasks", "runs of 8 tasks"]
    assert found[8].p_value < found[7].p_value
    assert found[8].on.startswith("on these 8 tasks (t0, t1")


def test_a_statement_about_tasks_of_a_kind_needs_eight_of_them_and_twins_are_one(tmp_path):
    def found(count, twins=()):
        frames = [runs("meta", tasks(count, 0.5)), runs("strong", tasks(count, 1.0, seed=1))]
        return outcome(tmp_path, frames, scope="tasks of this kind", top={"twins": list(twins)})

    assert found(7).reason.startswith("7 of the 8 tasks that a statement about their kind needs")
    eight = found(8)
    assert (eight.verdict, eight.unit, eight.on) == ("holds", "tasks", "on tasks of this kind (8 measured)")
    assert found(8, [["t0", "t1"]]).verdict == "undecided"
    assert found(9, [["t0", "t1"]]).verdict == "holds"


def test_settings_of_one_formula_are_no_further_task(tmp_path):
    def noised(value, seed):
        return {
            (f"{task} noise={noise}", s): v for (task, s), v in tasks(4, value, 2, seed).items() for noise in (0, 1)
        }

    frames = [runs("meta", noised(0.5, 0)), runs("strong", noised(1.0, 1))]
    assert outcome(tmp_path, frames, scope="tasks of this kind").reason.startswith("4 of the 8 tasks")


@given(
    scope=st.sampled_from(["these tasks", "tasks of this kind"]),
    values=st.lists(st.floats(0.3, 3.0), min_size=8, max_size=14),
    further=st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_a_further_task_or_seed_never_makes_a_verdict_weaker(tmp_path_factory, scope, values, further):
    """More of what speaks for a verdict keeps it; of seeds, whatever comes after the look does."""
    folder = tmp_path_factory.mktemp("claims")

    def found(values):
        named = tasks_of(values) if scope != "these tasks" else seeds(values)
        frames = [runs("meta", named), runs("strong", dict.fromkeys(named, 1.0))]
        return outcome(folder, frames, scope=scope)

    def tasks_of(values):
        return {(f"t{i}", 0): value for i, value in enumerate(values)}

    before = found(values)
    if before.verdict == "undecided":
        return
    extreme = min(values) / 2 if before.verdict == "holds" else max(values) * 2
    assert found([*values, *[extreme] * further]).verdict == before.verdict
    if scope == "these tasks":
        contrary = max(values) * 2 if before.verdict == "holds" else min(values) / 2
        after = found([*values, *[contrary] * further])
        assert (after.verdict, after.look, after.estimate) == (before.verdict, before.look, before.estimate)


@given(
    medians=st.lists(st.floats(0.4, 2.5), min_size=1, max_size=9),
    spread=st.sampled_from([0.02, 0.1, 0.3]),
    further=st.integers(1, 3),
)
@settings(max_examples=25, deadline=None)
def test_further_tasks_with_seeds_of_their_own_keep_the_unit(tmp_path_factory, medians, spread, further):
    """Of given tasks the seeds are the unit, be they one or twelve: tasks that say the same add evidence."""
    folder, rng = tmp_path_factory.mktemp("claims"), np.random.default_rng(len(medians))

    def found(medians):
        named = {
            (f"t{task}", seed): median * math.exp(noise[task, seed])
            for task, median in enumerate(medians)
            for seed in range(10)
        }
        return outcome(folder, [runs("meta", named), runs("strong", dict.fromkeys(named, 1.0))])

    noise = rng.normal(0, spread, (len(medians) + further, 10))
    before = found(medians)
    if before.verdict == "undecided":
        return
    speaking = min(*medians, 1.0) / 4 if before.verdict == "holds" else max(*medians, 1.0) * 4
    after = found([*medians, *[speaking] * further])
    assert after.verdict == before.verdict
    assert after.p_value <= before.p_value if before.verdict == "holds" else after.p_against <= before.p_against


# Rule 6: families.


def test_members_that_cannot_decide_take_nothing_from_those_that_can(tmp_path):
    frames = [runs("meta", seeds(noisy(1.5, 10))), runs("strong", seeds(noisy(1, 10, 1)))]
    small = [runs("meta", seeds(noisy(1, 2, i)), experiment=f"E{i + 2}") for i in range(8)]
    small += [runs("strong", seeds(noisy(1, 2, 9 + i)), experiment=f"E{i + 2}") for i in range(8)]
    company = [claim(id=f"x{i}", family="f", experiment=f"E{i + 2}") for i in range(8)]
    alone = outcome(tmp_path, frames, family="f")
    entries = loaded(tmp_path, claim(family="f"), *company)
    among = claims.evaluate(entries, pd.concat([*frames, *small], ignore_index=True))
    assert (alone.verdict, among[0].verdict, among[0].members) == ("fails", "fails", 1)
    assert among[0].p_against_holm == alone.p_against_holm
    assert {each.verdict for each in among[1:]} == {"undecided"}
    assert {each.members for each in among[1:]} == {0}


def test_members_that_can_decide_share_the_error(tmp_path):
    frames = [runs("meta", seeds(noisy(1.5, 10))), runs("strong", seeds(noisy(1, 10, 1)))]
    values = noisy(1.5, 10)
    values[0] = 0.9  # nine of ten: enough alone, not beside another
    other = [runs("meta", seeds(values), experiment="E2"), runs("strong", seeds(noisy(1, 10, 1)), experiment="E2")]
    entries = loaded(tmp_path, claim(family="f", id="a"), claim(family="f", experiment="E2"))
    found = claims.evaluate(entries, pd.concat([*frames, *other], ignore_index=True))
    assert [each.p_against_holm / each.p_against for each in found] == [pytest.approx(2), pytest.approx(1)]
    assert [each.members for each in found] == [2, 2]


# Rules 7 and 8: looks, and the runs that decide.


@pytest.mark.parametrize(
    ("count", "verdict", "look", "reason"),
    [
        (9, "undecided", 0, "9 of the 10 seeds of the first look; the look at 10 seeds would decide it (power 80 %)"),
        (10, "holds", 1, "better at a margin"),
        (15, "holds", 1, "5 further seeds wait for the next look"),
        (20, "holds", 1, ""),
    ],
)
def test_verdicts_fall_at_declared_looks_alone(tmp_path, count, verdict, look, reason):
    frames = [runs("meta", seeds(noisy(0.5, count))), runs("strong", seeds(noisy(1, count, 1)))]
    found = outcome(tmp_path, frames, criterion={"expect": "better"})
    assert (found.verdict, found.look) == (verdict, look)
    if count != 9:
        assert "10 seeds" in found.interval
    assert reason in found.reason


def test_what_one_look_leaves_open_the_next_may_decide(tmp_path):
    values = noisy(0.8, 20)
    values[[1, 4]] = 2.0  # eight of the first ten: not enough at any share
    frames = [runs("meta", seeds(values)), runs("strong", seeds([1.0] * 20))]
    early = outcome(tmp_path, [frame[frame["seed"] < 10] for frame in frames], criterion={"expect": "better"})
    between = outcome(tmp_path, [frame[frame["seed"] < 14] for frame in frames], criterion={"expect": "better"})
    late = outcome(tmp_path, frames, criterion={"expect": "better"})
    assert (early.verdict, between.verdict) == ("undecided", "undecided")
    assert "4 seeds after the look at 10 wait for 20" in between.reason
    assert (late.verdict, late.look, late.looks) == ("holds", 2, (10, 20, 40))
    assert claims.undecided_experiments([early, late]) == ("E1",)


def test_an_undecided_claim_says_at_which_look_it_would_be_decided(tmp_path):
    rng = np.random.default_rng(3)
    values = np.exp(rng.normal(math.log(0.9), 0.2, size=10))
    found = outcome(tmp_path, [runs("meta", seeds(values)), runs("strong", seeds([1.0] * 10))])
    assert found.verdict == "undecided"
    assert found.needed in (20.0, 40.0)
    assert f"the look at {found.needed:.0f} seeds would decide it (power 80 %)" in found.reason
    level = np.exp(rng.normal(math.log(1.09), 0.3, size=10))
    never = outcome(tmp_path, [runs("meta", seeds(level)), runs("strong", seeds([1.0] * 10))])
    assert "even the last look, 40 seeds, would leave it undecided" in never.reason
    few = outcome(tmp_path, [runs("meta", seeds(values[:2])), runs("strong", seeds([1.0] * 2))])
    assert math.isnan(few.needed)
    assert "10 seeds are the fewest that can decide it" in few.reason


# Rule 9: missing runs count both ways.


@pytest.mark.parametrize("missing", ["absent", "skipped", None])
def test_half_of_the_runs_missing_is_no_verdict(tmp_path, missing):
    values = list(noisy(0.5, 12))
    for position in range(6):
        values[2 * position] = missing
    given = {key: value for key, value in seeds(values).items() if value is not None}
    frames = [runs("meta", given), runs("strong", seeds(noisy(1, 12, 1)))]
    found = outcome(tmp_path, frames, criterion={"expect": "better"}, looks=[12])
    assert (found.verdict, found.missing) == ("undecided", 6)
    assert found.reason.startswith("6 runs missing")


def test_a_verdict_that_stands_whatever_is_missing_stands(tmp_path):
    values = [*noisy(0.5, 19), "absent"]
    frames = [runs("meta", seeds(values)), runs("strong", seeds(noisy(1, 20, 1)))]
    found = outcome(tmp_path, frames, criterion={"expect": "better"}, looks=[20])
    assert (found.verdict, found.missing) == ("holds", 1)
    assert "1 runs missing" in found.reason
