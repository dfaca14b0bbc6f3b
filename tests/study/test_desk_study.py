"""The study of one night: no GPU, the published budgets and depths, seeds at the first look where seeds decide."""

from __future__ import annotations

import pytest

from kanbench.base import paths
from kanbench.pages import recipes
from kanbench.study import config, early, plan
from kanbench.tasks import taskinfo


@pytest.fixture(scope="module")
def planned() -> plan.Plan:
    return plan.expand(config.load(paths.root() / "workflow/config/desk.yaml"))


@pytest.fixture(scope="module")
def runs(planned):
    return list(planned.runs.values())


def values(runs, experiment: str, *path, method: str | None = None) -> set:
    specs = [r.spec for r in runs if experiment in r.experiments and method in (None, r.spec["method"]["name"])]
    found = set()
    for spec in specs:
        for key in path:
            spec = spec.get(key)
        found.add(spec)
    return found


def test_it_needs_no_gpu_and_its_claims_can_be_supplied(planned, runs):
    assert {run.spec["device"] for run in runs} == {"cpu"}
    assert not planned.refused
    early.refuse_bad_claims(recipes.claims_file(), planned)


def test_functions_are_fitted_at_the_published_depth_and_budget(runs):
    assert values(runs, "E1", "task", "settings", "formula") == set(taskinfo.formula_ids("runnable"))
    assert values(runs, "E1", "method", "settings", "depth", method="metakan-relu") == {3}
    assert values(runs, "E1", "training", "steps") == {100}
    assert values(runs, "E1quarter", "training", "steps") == {25}
    assert values(runs, "E1grid", "method", "settings", "grid_size") == {5, 10, 20}
    assert values(runs, "E1grid", "method", "settings", "depth") == {1, 2, 3}
    assert values(runs, "E1", "seed") == {0, 1, 2}, "formulas vary"


def test_where_seeds_decide_there_are_those_of_the_first_look(runs):
    for experiment in (
        "E2",
        "E3",
        "E4",
        "E5",
        "E5quarter",
        "E5schedule",
        "E6",
        "E7",
        "E7quarter",
        "E9",
        "E13diversity",
    ):
        assert values(runs, experiment, "seed") == set(range(10)), experiment
    for experiment in ("E11", "E11deep", "E11fc"):
        assert values(runs, experiment, "seed") == set(range(100, 110)), experiment


def test_the_equations_have_the_published_width_and_every_reference(runs):
    assert values(runs, "E7", "task", "name") == {"poisson", "allen_cahn"}
    assert values(runs, "E7", "task", "settings", "dimension") == {10}
    assert values(runs, "E7", "training", "steps") == {2000}
    assert values(runs, "E7quarter", "training", "steps") == {500}
    assert {"efficient_kan", "efficient_kan-released", "tiled_kan"} <= values(runs, "E7", "method", "name")
    assert values(runs, "E7", "method", "settings", "hidden_width", method="metakan-relu") == {128}


def test_every_grouping_and_number_of_meta_learners_is_there(runs):
    meta = "meta_conv_kan-bspline"
    assert values(runs, "E4", "method", "settings", "num_clusters", method=meta) == {1, 2, 3, 4, 5, 6}
    groupings = values(runs, "E11", "method", "settings", "clustering", method=meta)
    assert {
        "kmeans_width",
        "kmeans_in_out",
        "contiguous",
        "random",
        "activations",
        "coefficients",
        "learned",
    } <= groupings
    assert (
        len(values(runs, "E12", "task", "settings", "formula") | values(runs, "E12deep", "task", "settings", "formula"))
        == 12
    )
    assert values(runs, "E12", "task", "settings", "noise") == {0.0, 0.01, 0.1}
