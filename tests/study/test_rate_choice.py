"""Learning rates are chosen by validation from equal trials; a range that one choice widens makes trials for all."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from kanbench.study import choosing, rate_choice, rates, references, search

SEARCH = {"trials": 5, "further": 2, "rounds": 1, "low": 0.001, "high": 0.1}
EXPERIMENTS = {"E5": {"training": {"learning_rate": "searched"}, "search": SEARCH}}
LEVELS = [trial["learning_rate"] for trial in search.lattice(["learning_rate"], SEARCH)]
TASK = {"name": "digits", "settings": {"train_samples": None}}


def record(method, rate, seed, value, *, experiment="E5", status="ok", test=0.0, meta=None, goal="max") -> dict:
    training = {"learning_rate": rate, "steps": 40}
    if meta:
        training["groups"] = {"meta_learners": {"learning_rate": meta}}
    metric = "accuracy" if goal == "max" else "nrmse"
    return {
        "experiments": [experiment],
        "status": status,
        "family": "classification",
        "metric": metric,
        "goal": goal,
        "selection": {"metric": metric, "goal": goal},
        "spec": {"seed": seed, "method": {"name": method}, "task": TASK, "training": training},
        "metrics": {"selected": {"validation": {metric: value}, "test": {metric: test}}},
    }


def runs(method, values, *, seeds=(1000, 1001), levels=LEVELS, **options) -> list[dict]:
    """Return the records of trials: one value, or one a seed, for each level."""
    found = []
    for rate, value in zip(levels, values, strict=True):
        each = value if isinstance(value, tuple) else (value,) * len(seeds)
        found += [record(method, rate, seed, v, **options) for seed, v in zip(seeds, each, strict=True)]
    return found


def cell(records) -> rate_choice.Cell:
    (found,) = rate_choice.cells(records, EXPERIMENTS)
    return found


def test_the_best_mean_on_validation_is_chosen_whatever_test_says():
    records = runs("mlp", [0.1, 0.5, 0.7, (0.9, 0.6), 0.2])
    for each in records:
        each["metrics"]["selected"]["test"]["accuracy"] = 1 - each["metrics"]["selected"]["validation"]["accuracy"]
    assert cell(records).chosen == "learning_rate 0.0316"
    rows = {row["settings"]: row for row in cell(records).rows()}
    assert rows["learning_rate 0.01"]["behind_best"] == 0.05
    assert rows["learning_rate 0.01"]["standard_error"] == 0.15, "0.2 and -0.1: deviation 0.212 over the root of 2"
    assert [row["chosen"] for row in rows.values()] == [False, False, False, True, False]
    assert {(row["budget"], row["runs"], row["metric"]) for row in rows.values()} == {(40, 2, "accuracy")}


def test_errors_count_by_their_logarithm():
    records = runs("mlp", [1.0, (0.1, 0.001), (0.04, 0.01), 1.0, 1.0], goal="min")
    assert cell(records).chosen == "learning_rate 0.00316", "0.01 on geometric average, against 0.02"
    score = {row["settings"]: row["validation_score"] for row in cell(records).rows()}
    assert score["learning_rate 0.00316"] == pytest.approx(0.01)
    assert score["learning_rate 0.01"] == pytest.approx(0.02)


@pytest.mark.parametrize("status", ["failed", "diverged", "out_of_memory", "timed_out"])
def test_a_failed_run_is_worse_than_any(status):
    records = runs("mlp", [0.1, 0.2, 0.3, (1.0, 1.0), 0.2])
    records[7] |= {"status": status, "metrics": {}}
    assert cell(records).chosen == "learning_rate 0.01"
    for each in records:
        each |= {"status": status, "metrics": {}}
    assert cell(records).chosen is None


def test_skipped_and_absent_runs_say_nothing():
    records = runs("pykan-fast", [0.5] * 5, status="skipped") + runs("mlp", [0.5] * 5, status="absent")
    assert rate_choice.cells(records, EXPERIMENTS) == []


def test_seeds_that_studies_report_are_refused():
    with pytest.raises(ValueError, match="seeds from 1000 on"):
        rate_choice.cells(runs("mlp", [0.5] * 5, seeds=(1000, 7)), EXPERIMENTS)


def test_an_inner_trial_within_a_standard_error_of_the_edge_is_chosen():
    near = cell(runs("mlp", [0.1, 0.2, 0.3, (0.8, 0.6), (0.7, 0.8)]))
    assert near.chosen == "learning_rate 0.0316", "behind by 0.05 with an error of 0.15"
    assert not near.edges(near.chosen)
    far = cell(runs("mlp", [0.1, 0.2, 0.3, (0.6, 0.5), (0.8, 0.8)]))
    assert far.chosen == "learning_rate 0.1", "behind by 0.25 with an error of 0.05"
    assert far.edges(far.chosen) == {"learning_rate": 1}
    assert [row["on_edge"] for row in far.rows()] == [False] * 4 + [True]


def next_trials(records, rounds) -> dict[str, list[float]]:
    found = rate_choice.cells(records, EXPERIMENTS)
    before = {each.method: len(rounds.of("E5", "classification", each.method)) for each in found}
    rate_choice.next_rounds(found, EXPERIMENTS, rounds)
    after = {each.method: rounds.of("E5", "classification", each.method)[before[each.method] :] for each in found}
    return {method: [t["learning_rate"] for each in made for t in each] for method, made in after.items()}


def test_a_round_widens_for_one_method_and_is_made_for_all(tmp_path):
    rounds = search.Rounds(tmp_path)
    records = runs("mlp", [0.1, 0.2, 0.3, 0.4, 0.9]) + runs("affine", [0.1, 0.2, 0.9, 0.4, 0.3])
    made = next_trials(records, rounds)
    assert made == {"mlp": [0.316, 1.0], "affine": [0.00562, 0.0178]}
    assert {method: len(trials) for method, trials in made.items()} == {"mlp": 2, "affine": 2}
    # that round done, the choices lie inside, and no more is planned
    records += runs("mlp", [0.95, 0.2], levels=made["mlp"]) + runs("affine", [0.8, 0.8], levels=made["affine"])
    assert next_trials(records, rounds) == {"mlp": [], "affine": []}


def test_ranges_stop_widening_and_the_table_says_so(tmp_path):
    rounds, records, levels = search.Rounds(tmp_path), [], LEVELS
    values = iter(range(100))
    for _ in range(rate_choice.MOST_ROUNDS):
        records += runs("mlp", [next(values) for _ in levels], levels=levels)
        levels = next_trials(records, rounds)["mlp"]
        assert len(levels) == SEARCH["further"]
    records += runs("mlp", [next(values) for _ in levels], levels=levels)
    assert next_trials(records, rounds) == {"mlp": []}
    said = rate_choice.next_rounds(rate_choice.cells(records, EXPERIMENTS), EXPERIMENTS, rounds)
    assert said == ["E5: still on the edge after 4 rounds: mlp"]
    assert [row["on_edge"] for row in cell(records).rows()].count(True) == 1


def test_missing_runs_are_waited_for(tmp_path):
    rounds = search.Rounds(tmp_path)
    records = runs("mlp", [0.1, 0.2, 0.3, 0.4, 0.9])
    assert next_trials(records[:-1], rounds) == {"mlp": []}, "a trial without one of its seeds"
    assert next_trials(records[:-2], rounds) == {"mlp": []}
    assert next_trials(records, rounds) == {"mlp": [0.316, 1.0]}
    assert next_trials(records, rounds) == {"mlp": []}, "the round is not run yet"


def test_groups_are_trials_of_their_own():
    records = []
    for number, trial in enumerate(search.lattice(["learning_rate", "meta_learners.learning_rate"], SEARCH)):
        rate, meta = trial.values()
        records += [record("metakan-relu", rate, seed, 0.1 * (number == 2), meta=meta) for seed in (1000, 1001)]
    assert cell(records).chosen == "learning_rate 0.01, meta_learners.learning_rate 0.01"


def test_dense_kans_are_ranked_at_their_chosen_rates():
    dense = ["efficient_kan", "tiled_kan", "pykan-fast"]
    records = runs("efficient_kan", [0.1, 0.2, (0.7, 0.9), 0.2, 0.1]) + runs(
        "tiled_kan", [0.1, (0.9, 0.8), 0.2, 0.1, 0.1]
    )
    records += runs("metakan-relu", [0.99] * 5)
    found = rate_choice.cells(records, EXPERIMENTS)
    table = references.table(found, records, dense).set_index("method")
    assert table["median"].to_dict() == {"efficient_kan": 0.8, "tiled_kan": 0.85}
    assert table["chosen"].to_dict() == {"efficient_kan": False, "tiled_kan": True}
    assert set(table["budget"]) == {"40 steps"}
    assert set(table["seeds"]) == {2}
    error = math.sqrt(math.pi / 2) * 0.1, math.sqrt(math.pi / 2) * 0.05
    assert table["standard_error"].tolist() == pytest.approx(error, rel=0.05)


def test_one_dense_kan_alone_is_no_choice():
    records = runs("tiled_kan", [0.5] * 5)
    assert references.table(rate_choice.cells(records, EXPERIMENTS), records, ["tiled_kan"]).empty


def test_lower_errors_are_stronger():
    records = runs("tiled_kan", [0.5] * 5, goal="min") + runs("efficient_kan", [0.4] * 5, goal="min")
    table = references.table(rate_choice.cells(records, EXPERIMENTS), records, ["tiled_kan", "efficient_kan"])
    assert table.loc[table["chosen"], "method"].item() == "efficient_kan"


def test_what_was_not_tuned_now_keeps_its_rows(tmp_path):
    table, listed = tmp_path / "tuning.csv", tmp_path / "references.csv"
    head = "experiment,family,budget,method,settings,chosen,provenance"
    rows = ["E5,classification,7,mlp,learning_rate 5,True,old", "E5,classification,7,affine,learning_rate 6,True,old"]
    rows += ["E1,function_fitting,7,mlp,learning_rate 7,True,old", "E1,function_fitting,7,*,learning_rate 8,True,old"]
    rows += ["E5,classification,7,*,learning_rate 9,True,old"]
    rows += ['E12,function_fitting,,,"penalty 1, weight_simple 2",True,old']
    table.write_text("\n".join([head, *rows]) + "\n")
    listed.write_text(",".join(references.COLUMNS) + "\nE1,function_fitting,9 steps,tiled_kan,nrmse,0.1,0.01,2,True\n")
    records = runs("mlp", [0.1, 0.2, 0.9, 0.2, 0.1])
    done = choosing.choose(records, EXPERIMENTS, tmp_path)
    done.write(table, listed)
    kept = rates.Choices(table)
    assert kept.find("E5", "classification", "mlp", 7) == {"learning_rate": 0.01}, "the old budget is gone"
    assert kept.find("E5", "classification", "affine", 40) == {"learning_rate": 6.0}
    assert kept.find("E1", "function_fitting", "mlp", 40) == {"learning_rate": 7.0}
    assert kept.find("E1", "function_fitting", "new", 40) == {"learning_rate": 8.0}
    assert kept.find("E5", "classification", "new", 40) is None, "tuning leaves no rate for all"
    written = pd.read_csv(table)
    assert "penalty 1, weight_simple 2" in set(written["settings"])
    assert set(written.loc[written["experiment"].eq("E5") & written["method"].eq("mlp"), "provenance"]) == {
        "validation, seeds 1000, 1001"
    }
    assert pd.read_csv(listed)["experiment"].tolist() == ["E1"]
    assert search.Rounds(tmp_path).of("E5", "classification", "mlp") == [
        [{"learning_rate": 0.00562}, {"learning_rate": 0.0178}]
    ]
    done.write(table, listed)
    assert pd.read_csv(table).equals(written), "the same records write the same table"
