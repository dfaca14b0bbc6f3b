"""The learning rates that are tried: the same number from the same range for every method, wider where it has to be."""

from __future__ import annotations

import math

import pytest

from kanbench.base import paths
from kanbench.study import config, plan, rate_choice, search

SEARCH = {"trials": 7, "further": 2, "rounds": 1, "low": 0.001, "high": 0.1}
PLANE = ("learning_rate", "meta_learners.learning_rate")


@pytest.mark.parametrize("count", [3, 5, 7, 8, 11])
@pytest.mark.parametrize("names", [PLANE[:1], PLANE, (*PLANE, "third.learning_rate")])
def test_every_rate_takes_every_level_once(count, names):
    found = search.lattice(names, {**SEARCH, "trials": count})
    levels = [search.rounded(0.001 * 100 ** (i / (count - 1))) for i in range(count)]
    assert len(found) == count
    for name in names:
        assert sorted(trial[name] for trial in found) == levels


def test_the_plane_is_covered_and_its_middle_is_tried():
    found = [(math.log10(a), math.log10(b)) for a, b in (trial.values() for trial in search.lattice(PLANE, SEARCH))]
    assert min(abs(a + 2) + abs(b + 2) for a, b in found) < 1e-6, "equal rates in the middle of the range"
    # seven points: no place of the square of two decades is farther from a trial than 0.9 decades
    square = [(-3 + 0.1 * i, -3 + 0.1 * j) for i in range(21) for j in range(21)]
    assert max(min(math.dist(place, trial) for trial in found) for place in square) < 0.9
    apart = min(math.dist(a, b) for a in found for b in found if a != b)
    assert apart > 0.7, "the diagonal's points would be 0.47 decades apart"


def test_lbfgs_has_one_rate_and_the_first_group_moves_with_the_rest():
    assert search.knobs(("prompts", "meta_learners"), "adam") == PLANE
    assert search.knobs(("prompts", "meta_learners"), "lbfgs") == PLANE[:1]
    assert search.knobs((), "adam") == PLANE[:1]


def test_a_choice_on_the_edge_is_followed_outward():
    step = 100 ** (1 / 6)
    trials = search.further({"learning_rate": 0.1, PLANE[1]: 0.01}, {"learning_rate": 1}, 0, SEARCH)
    assert [trial["learning_rate"] for trial in trials] == pytest.approx([0.1 * step, 0.1 * step**2], rel=5e-3)
    assert {trial[PLANE[1]] for trial in trials} == {0.01}
    trials = search.further(dict.fromkeys(PLANE, 0.001), dict.fromkeys(PLANE, -1), 3, SEARCH)
    assert all(trial[name] < 0.0005 for trial in trials for name in PLANE)


def test_inside_the_search_narrows_one_rate_a_round():
    step, best = 100 ** (1 / 6), dict.fromkeys(PLANE, 0.01)
    for done, (name, part) in enumerate([(PLANE[0], 2), (PLANE[1], 2), (PLANE[0], 4), (PLANE[1], 4)]):
        trials = search.further(best, {}, done, SEARCH)
        assert sorted(trial[name] for trial in trials) == pytest.approx(
            [0.01 / step ** (1 / part), 0.01 * step ** (1 / part)], rel=5e-3
        )
        (other,) = {*PLANE} - {name}
        assert {trial[other] for trial in trials} == {0.01}


def test_rounds_are_kept_and_planned(tmp_path, monkeypatch, tiny):
    monkeypatch.chdir(tmp_path)
    tiny["experiments"]["E1"] |= {"methods": ["mlp", "metakan-relu"], "search": SEARCH}
    tiny["experiments"]["E1"]["training"]["learning_rate"] = "searched"

    def planned() -> dict[str, int]:
        names = [
            run.spec["method"]["name"] for run in plan.expand(config.from_content(tiny, "tiny.yaml")).runs.values()
        ]
        return {name: names.count(name) for name in sorted(set(names))}

    assert planned() == {"metakan-relu": 7, "mlp": 7}
    rounds = search.Rounds(tmp_path / "results/tiny")
    rounds.add("E1", "function_fitting", "mlp", [{"learning_rate": 0.5}, {"learning_rate": 0.9}])
    rounds.add("E1", "classification", "metakan-relu", [dict.fromkeys(PLANE, 0.5)])
    rounds.write()
    assert planned() == {"metakan-relu": 7, "mlp": 9}, "a round belongs to its family of tasks"


def test_the_study_gives_every_method_the_same_trials():
    study = config.load(paths.root() / "workflow/config/tuning.yaml")
    runs = plan.expand(study).runs.values()
    for key in rate_choice.searched(study.content["experiments"]):
        settings, tried = study.content["experiments"][key]["search"], {}
        for run in runs:
            if key in run.experiments:
                tried.setdefault(run.spec["method"]["name"], set()).add(tuple(rate_choice.trial_of(run.spec).items()))
        assert {len(trials) for trials in tried.values()} == {settings["trials"]}, key
        values = [value for trials in tried.values() for trial in trials for _, value in trial]
        assert (min(values), max(values)) == (settings["low"], settings["high"])
    numbers = {
        (entry["search"]["trials"], entry["search"]["further"], entry["search"]["rounds"])
        for entry in study.content["experiments"].values()
        if "search" in entry
    }
    assert len(numbers) == 1, "one procedure for all families"


def test_no_capacity_is_tuned():
    study = config.load(paths.root() / "workflow/config/tuning.yaml")
    for key in rate_choice.searched(study.content["experiments"]):
        runs = [run.spec for run in plan.expand(study).runs.values() if key in run.experiments]
        settings = {}
        for spec in runs:
            kept = {n: v for n, v in spec["method"]["settings"].items() if n not in ("num_clusters",)}
            settings.setdefault((spec["method"]["name"], spec["task"]["name"]), set()).add(str(sorted(kept.items())))
        assert {len(each) for each in settings.values()} == {1}, key
