"""Settings are chosen on validation, on seeds that no study reports, and the studies have what was chosen."""

from __future__ import annotations

import pandas as pd
import pytest

from kanbench.base import paths
from kanbench.study import choice, config, plan
from kanbench.training import analyses

RATE = choice.Question("E11", ("training.rate",), ("metrics.validation",))
SIMPLE = choice.Question("E12", ("training.rate",), ("metrics.validation",), ("metrics.operations",))
STUDIES = [config.load(file) for file in sorted((paths.root() / "workflow/config").glob("*.yaml"))]


def record(rate, seed, validation, *, experiment="E11", test=0.0, operations=1) -> dict:
    return {
        "experiments": [experiment],
        "spec": {"seed": seed, "training": {"rate": rate}},
        "metrics": {"validation": validation, "test": test, "operations": operations},
    }


def chosen(records, question) -> str:
    table = choice.choose(records, [question])
    assert table["chosen"].sum() == 1
    return table.loc[table["chosen"], "settings"].item()


def test_the_best_mean_on_validation_is_chosen_whatever_test_says():
    scores = {0.1: (0.8, 0.6), 0.2: (0.9, 0.7), 0.3: (0.2, 0.9)}
    records = [record(r, 1000 + i, v, test=1 - v) for r, both in scores.items() for i, v in enumerate(both)]
    assert chosen(records, RATE) == "rate 0.2"
    table = choice.choose(records, [RATE]).set_index("settings")
    assert table["validation_score"].to_dict() == {"rate 0.1": 0.7, "rate 0.2": 0.8, "rate 0.3": 0.55}
    assert table.loc["rate 0.1", "behind_best"] == 0.1
    assert table.loc["rate 0.1", "standard_error"] == 0, "both seeds lose a tenth"
    assert table.loc["rate 0.3", "standard_error"] == 0.45, "0.7 and -0.2: deviation 0.636 over the root of 2"


def test_the_simplest_within_a_standard_error_is_chosen():
    scores = {0.1: (0.85, 0.85, 5), 0.2: (0.9, 0.9, 9), 0.3: (0.95, 0.8, 3)}
    records = [
        record(rate, 1000 + i, value, experiment="E12", operations=size)
        for rate, (*values, size) in scores.items()
        for i, value in enumerate(values)
    ]
    # 0.3 is behind by -0.05 and 0.1: 0.025 on average with an error of 0.075; 0.1 is behind by 0.05 without any.
    assert chosen(records, SIMPLE) == "rate 0.3"


def test_a_run_without_a_score_counts_as_nothing_explained():
    records = [record(0.1, 1000, None), record(0.2, 1000, 0.1)]
    assert chosen(records, RATE) == "rate 0.2"


def test_seeds_that_studies_report_are_refused():
    with pytest.raises(ValueError, match="seeds from 1000 on"):
        choice.choose([record(0.1, 999, 1.0)], [RATE])
    with pytest.raises(ValueError, match="no records"):
        choice.choose([], [RATE])


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_tuning_has_seeds_of_its_own(study):
    seeds = {run.spec["seed"] for run in plan.expand(study).runs.values()}
    assert (
        min(seeds) >= choice.FIRST_SEED if study.name in ("tuning", "exploration") else max(seeds) < choice.FIRST_SEED
    )


def test_the_studies_have_what_was_chosen():
    table = pd.read_csv(paths.root() / "workflow/config/tuning.csv")
    found = table[table["chosen"] & table["method"].isna()].set_index("experiment")["settings"]
    symbolic = analyses.discover()["symbolic"]
    assert found["E12"] == f"penalty {symbolic['penalty']:g}, weight_simple {symbolic['weight_simple']:g}"
    planned = {study.name: plan.expand(study) for study in STUDIES}
    tried = {
        choice.canonical(run.spec["analyses"]) for run in planned["tuning"].runs.values() if "analyses" in run.spec
    }
    for name in ("laptop", "paper"):
        runs = [run for run in planned[name].runs.values() if {"E12", "E12deep"} & {*run.experiments}]
        assert {choice.canonical(run.spec["analyses"]) for run in runs} <= tried
        assert len(runs) > 4
