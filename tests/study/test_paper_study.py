"""The full study holds the published, the released and the controlled protocols, told apart in every table."""

from __future__ import annotations

import pytest

from kanbench.base import paths
from kanbench.records import frame
from kanbench.study import config, plan, together
from kanbench.tasks import taskinfo


@pytest.fixture(scope="module")
def runs() -> list[plan.Run]:
    return list(plan.expand(config.load(paths.root() / "workflow/config/paper.yaml")).runs.values())


def of(runs, experiment: str, method: str | None = None) -> list[dict]:
    return [r.spec for r in runs if experiment in r.experiments and method in (None, r.spec["method"]["name"])]


def values(specs, *path) -> set:
    found = set()
    for spec in specs:
        for key in path:
            spec = spec[key]
        found.add(spec)
    return found


def test_function_fitting_covers_every_formula(runs):
    formulas = values(of(runs, "E1"), "task", "settings", "formula")
    assert formulas == set(taskinfo.formula_ids("runnable"))
    assert values(of(runs, "E1", "metakan-relu"), "method", "settings", "grid_size") == {5, 10, 20}
    assert values(of(runs, "E1", "metakan-relu"), "method", "settings", "depth") == {1, 2, 3}
    extended = values(of(runs, "E1extended"), "task", "settings", "formula")
    assert extended == set(taskinfo.formula_ids("extended"))


def test_the_released_function_fitting_decays_the_dense_kan_only(runs):
    for method in ("pykan-default", "efficient_kan"):
        specs = of(runs, "E1released", method)
        assert values(specs, "training", "schedule") == {"exponential"}
        assert values(specs, "training", "gamma") == {0.7}
    generated = of(runs, "E1released", "metakan_released-shared")
    assert values(generated, "training", "schedule") == {"constant"}
    assert values(generated, "method", "settings", "hidden_dim") == {16}
    assert values(of(runs, "E1released"), "training", "optimiser") == {"lbfgs"}
    assert values(of(runs, "E1released"), "task", "settings", "input_scaling") == {"none"}
    assert values(of(runs, "E1released"), "configuration") == {"upstream_default"}


def test_the_schedule_alone_is_varied_for_every_method(runs):
    for method in ("efficient_kan", "metakan-relu"):
        assert values(of(runs, "E1schedule", method), "training", "schedule") == {"constant", "exponential"}
        assert len(values(of(runs, "E5schedule", method), "training", "schedule")) == 4


def test_logged_and_released_classification_have_their_learning_rates(runs):
    expected = {  # configuration, epochs, batch size, learning rates of prompts and meta-learners
        "E5paper": ("paper", 10, 1024, 0.01, 0.001),
        "E5released": ("upstream_default", 50, 128, 0.001, 0.0001),
    }
    for experiment, (configuration, epochs, batch_size, prompts, learners) in expected.items():
        dense, generated = of(runs, experiment, "efficient_kan"), of(runs, experiment, "metakan_released-relu")
        for specs in (dense, generated):
            assert values(specs, "configuration") == {configuration}
            assert values(specs, "training", "epochs") == {epochs}
            assert values(specs, "training", "batch_size") == {batch_size}
        assert values(dense, "training", "learning_rate") == {0.01}
        assert values(dense, "training", "gamma") == {0.7}
        assert values(generated, "training", "groups", "prompts", "learning_rate") == {prompts}
        assert values(generated, "training", "groups", "meta_learners", "learning_rate") == {learners}
        assert values(generated, "training", "schedule") == {"constant"}, "prompts never decay"
        assert all("groups" not in spec["training"] for spec in dense)
    found = values(of(runs, "E5paper", "metakan_released-relu"), "training", "groups", "meta_learners", "schedule")
    assert found == {"exponential", "alternating"}


def test_released_convolutions_decay_what_is_neither_prompt_nor_meta_learner(runs):
    for spec in of(runs, "E6paper", "meta_conv_kan-bspline"):
        training = spec["training"]
        assert (training["learning_rate"], training["schedule"], training["gamma"]) == (1e-4, "exponential", 0.975)
        assert training["groups"] == {
            "prompts": {"learning_rate": 0.01, "schedule": "constant"},
            "meta_learners": {"learning_rate": 0.001, "schedule": "constant"},
        }
    assert all("groups" not in spec["training"] for spec in of(runs, "E6paper", "conv_kan-bspline"))


def test_equations_are_solved_in_every_dimension_with_both_laplacians(runs):
    for equation in ("poisson", "allen_cahn"):
        cells = {
            (spec["task"]["settings"]["dimension"], spec["task"]["settings"]["laplacian"])
            for experiment in ("E7", "E7exact", "E7high")
            for spec in of(runs, experiment)
            if spec["task"]["name"] == equation
        }
        assert cells == {(d, kind) for d in (10, 20, 50, 100) for kind in ("sampled", "exact")}


def test_the_balance_map_is_a_full_grid(runs):
    cells = {
        tuple(spec["training"]["groups"][group]["learning_rate"] for group in ("prompts", "meta_learners"))
        for spec in of(runs, "E9", "metakan-relu")
    }
    assert len(cells) == 16
    assert {(0.01, 0.01), (0.01, 0.001), (0.1, 0.0001)} <= cells


def test_where_published_and_released_settings_differ_each_is_a_row(runs):
    chosen = [run for run in runs if {"E5", "E5paper", "E5released"} & set(run.experiments)]
    records = [
        {"run": r.name, "spec": r.spec, "label": r.label, "status": "absent", "reason": "", "experiments": []}
        for r in chosen
        if r.spec["task"]["name"] == "fmnist" and r.spec["method"]["name"] == "metakan_released-relu"
    ]
    table = frame.to_frame(records)
    assert table["settings"].nunique() == table["cell"].nunique() == 6, "controlled, four as logged, one as released"
    for name, count in (("controlled", 1), ("paper", 4), ("upstream_default", 1)):
        rows = table[table["settings"].str.contains(f"configuration={name}")]
        assert rows["cell"].nunique() == count
    assert table["settings"].str.contains("prompts.learning_rate=0.01").any()


def test_every_grouping_of_layers_has_its_controls_at_equal_parameters(runs):
    grouped = of(runs, "E11")
    settings = [spec["method"]["settings"] for spec in grouped]
    assert values(grouped, "method", "settings", "clustering") == {
        "kmeans_width", "kmeans_in_out", "contiguous", "random", "activations", "coefficients", "learned",
    }  # fmt: skip
    assert {each["num_clusters"] for each in settings} == {1, 2, 3, 4, 5, 6, 7, "per_layer"}
    one = {each["hidden_dim"] for each in settings if each["hidden_dim"] > 64}
    # A meta-learner has (1 + 1) h + (h + 1) 9 numbers; one of them has those of 2, 3, 5 and 7 within one unit.
    assert one == {round((count * (11 * 64 + 9) - 9) / 11) for count in (2, 3, 5, 7)}
    assert all(spec["source"]["spec"]["method"]["settings"]["layers"] == 8 for spec in grouped if "source" in spec)
    assert {each["depth"] for each in (spec["method"]["settings"] for spec in of(runs, "E11fc"))} == {15}


def test_small_networks_share_processes_and_what_is_timed_or_handed_on_does_not(runs):
    planned = {run.name: run for run in runs}
    cells = together.cells(planned, lambda name: False)
    joined = {name for names in cells.values() for name in names}
    assert sum(map(len, cells.values())) == len(joined), "each run in one process"
    assert len(cells) + len(planned) - len(joined) < len(planned) / 4
    for key in ("E1", "E1quarter", "E9small", "E12", "E13diversity"):
        assert {run.name for run in runs if key in run.experiments} <= joined
    apart = {run.name for run in runs if run.exclusive or {"keep", "source"} & {*run.spec}}
    assert apart
    assert not apart & joined
