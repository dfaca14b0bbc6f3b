"""A second run shows what was changed: a formula, a data set, an initialisation. Networks are really trained here."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from kanbench.pages import compare
from kanbench.records import frame
from kanbench.study import config, plan
from kanbench.tasks import feynman, images
from kanbench.training import train
from kanbench.verdicts import agreement

FORMULAS = ["I.6.20a", "I.8.4", "I.12.11", "I.26.2"]
SAMPLES = {"train_samples": 100, "validation_samples": 40, "test_samples": 100}
SEEDS = {"published": [0, 1, 2], "mine": [2, 3, 4]}


def study(seeds: list[int]) -> dict:
    training = {"optimiser": "adam", "learning_rate": 0.02, "steps": 30, "evaluations": 2}
    return {
        **{"study": "tiny", "published": False, "configuration": "controlled", "seeds": seeds},
        "experiments": {
            "E1": {
                "title": "Functions",
                "tasks": [{"name": "feynman", "settings": {"formula": FORMULAS, **SAMPLES}}],
                "methods": ["mlp"],
                "axes": {"hidden_width": 6, "depth": 1},
                "training": training,
            },
            "E5": {
                "title": "Images",
                "tasks": ["digits"],
                "methods": ["mlp"],
                "axes": {"hidden_width": 12, "depth": 1},
                "training": {**training, "batch_size": 64},
            },
        },
    }


def made(seeds: list[int], only: str = "E1,E5") -> list[dict]:
    runs = plan.expand(config.from_content({**study(seeds), "only": only}, "tiny.yaml")).runs.values()
    return [{**train.run(run.spec), "experiments": run.experiments} for run in runs]


def rows(records: list[dict]):
    return compare.keyed(frame.to_frame(copy.deepcopy(records)), records)


@pytest.fixture(scope="module")
def published():
    torch.set_num_threads(1)
    return rows(made(SEEDS["published"]))


def summary(published, records) -> compare.Compared:
    mine, nothing = rows(records), compare.same_verdicts.compare([], [], [])
    return compare.Compared(
        "mine", "published", agreement.compare(mine, published), nothing, compare._machines(mine, published)
    )


def test_the_same_code_agrees_and_its_common_runs_are_equal(published):
    found = summary(published, made(SEEDS["mine"]))
    assert found.agrees, found.line
    assert len(found.found.cells) == len(found.found.judged) == 5
    assert found.found.runs["equal"].all()
    assert set(found.found.runs["seed"]) == {2}
    assert found.found.data["equal"].all()
    assert "It agrees." in found.line


def test_a_changed_formula_shows(published, monkeypatch):
    target = feynman.target

    def changed(formula, points):
        values = target(formula, points)
        return 20 * values**2 if formula["expression"] == expression else values

    expression = feynman.taskinfo.formulas()["I.8.4"]["expression"]
    monkeypatch.setattr(feynman, "target", changed)
    found = summary(published, made(SEEDS["mine"], "E1"))
    cells = found.found.cells.set_index("task")
    assert not cells.loc["feynman I.8.4", "inside"]
    assert cells.drop(index="feynman I.8.4")["inside"].all()
    assert list(found.found.data.loc[~found.found.data["equal"].astype(bool), "task"]) == ["feynman I.8.4"]
    assert "other data in feynman I.8.4" in found.line


def test_a_changed_formula_shows_on_seeds_that_nobody_had_before(published, monkeypatch):
    target = feynman.target
    monkeypatch.setattr(feynman, "target", lambda formula, points: 20 * target(formula, points))
    found = summary(published, made([6, 7], "E1"))
    assert not len(found.found.data)
    assert not found.agrees
    assert found.found.inside < found.found.least


def test_a_swapped_data_set_shows(published, monkeypatch):
    read = images.datasets.read

    def swapped(name, root=None):
        found = read(name, root)
        return replace(found, labels=np.random.default_rng(0).permutation(found.labels))

    monkeypatch.setattr(images.datasets, "read", swapped)
    found = summary(published, made(SEEDS["mine"], "E5"))
    (cell,) = found.found.cells.itertuples()
    assert not cell.inside
    assert cell.far
    assert "MLP on digits" in found.line
    assert "other data in digits" in found.line


def test_another_initialisation_shows(published, monkeypatch):
    reset = torch.nn.Linear.reset_parameters

    def larger(layer):
        reset(layer)
        with torch.no_grad():
            layer.weight *= 8

    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", larger)
    found = summary(published, made(SEEDS["mine"]))
    assert not found.found.runs["equal"].any()
    assert found.found.data["equal"].all(), "the data are what they were"
    assert not found.agrees, found.line
