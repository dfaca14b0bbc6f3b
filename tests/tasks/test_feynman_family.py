"""Families of formulas: who belongs to which, and one network each around shared meta-learners."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kanbench.base import seeds
from kanbench.base.errors import InvalidInput, Unavailable
from kanbench.baselines import build
from kanbench.baselines.discovery import discover
from kanbench.tasks import feynman, feynman_family, task, taskinfo
from kanbench.training import train

SMALL = {"train_samples": 40, "validation_samples": 20, "test_samples": 20}


def load(**settings):
    resolved = taskinfo.resolve("feynman_family", {**SMALL, **settings})
    return task.load("feynman_family", resolved, seed=0, dtype=torch.float64, device=torch.device("cpu"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("I.12.1", "product"),
        ("I.14.4", "product"),  # a square, halved
        ("I.11.19", "product"),
        ("I.25.13", "quotient"),
        ("I.27.6", "quotient"),
        ("I.8.4", "root"),
        ("I.10.7", "root"),  # a root in the denominator
        ("I.6.20b", "exponential"),
        ("I.29.16", "trigonometric"),  # inside a root
        ("I.30.3", "trigonometric"),
    ],
)
def test_kinds(name, kind):
    assert feynman.kind(taskinfo.formulas()[name]) == kind


def test_every_runnable_formula_is_of_one_kind():
    kinds = ["product", "quotient", "root", "exponential", "trigonometric"]
    settings = {"max_formulas": None, "held_out": ""}
    inside = {kind: feynman_family.members({**settings, "kind": kind, "members": "kind"}) for kind in kinds}
    assert sorted(name for names in inside.values() for name in names) == sorted(taskinfo.formula_ids("runnable"))
    assert min(map(len, inside.values())) >= 3
    for kind, names in inside.items():
        others = feynman_family.members({**settings, "kind": kind, "members": "others"})
        assert sorted(names + others) == sorted(taskinfo.formula_ids("runnable"))
    limited = feynman_family.members({**settings, "kind": "quotient", "members": "kind", "max_formulas": 4})
    assert len(limited) == 4
    assert set(limited) < set(inside["quotient"])


def test_targets_are_held_out():
    settings = {"max_formulas": None, "held_out": "I.25.13, I.12.1"}
    for members in ("kind", "others"):
        found = feynman_family.members({**settings, "kind": "quotient", "members": members})
        assert not {"I.25.13", "I.12.1"} & set(found)
    with pytest.raises(InvalidInput, match="unknown formula 'I.25.31'"):
        feynman_family.members({**settings, "held_out": "I.25.31", "kind": "root", "members": "kind"})


def test_every_formula_weighs_the_same():
    family = load(kind="root", max_formulas=3)

    class Constant(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = nn.Parameter(torch.tensor(value, dtype=torch.float64))

        def forward(self, x):
            return self.value.expand(len(x), 1)

    means = [part.splits["train"][1].mean().item() for part in family.parts]
    model = nn.ModuleList(Constant(mean) for mean in means)
    batch = next(family.batches(None, torch.Generator()))
    # The best constant leaves the variance: (n - 1)/n of the unbiased one, for each formula.
    assert family.loss(model, batch).item() == pytest.approx(39 / 40, rel=1e-12)
    metrics = family.evaluate(model, "test")
    expected = np.mean([part.floors()["constant"]["nrmse"] for part in family.parts])
    assert metrics["nrmse"] == pytest.approx(expected, rel=1e-12)
    assert family.floors()["constant"]["nrmse"] == pytest.approx(expected, rel=1e-12)


def test_the_networks_of_a_family_share_their_meta_learner_and_learn():
    family = load(kind="product", max_formulas=3)
    method = discover()["metakan"].methods["metakan-relu"]
    settings = {**method.settings, "hidden_width": 2, "grid_size": 3, "hidden_dim": 4}
    module = build.load_model_module(method.baseline)
    with seeds.seeded(0, "initialisation"):
        model = family.assemble(lambda problem: build.build(method, settings, problem), module.share).double()
    groups = {group["name"]: group["params"] for group in build.parameter_groups(module, model, settings)}
    inputs = [part.problem.inputs for part in family.parts]
    assert sum(p.numel() for p in groups["prompts"]) == sum(2 * n + 2 for n in inputs)
    assert sum(p.numel() for p in groups["meta_learners"]) == 2 * 4 + 5 * 7, "one meta-learner for all"
    family.loss(model, next(family.batches(None, torch.Generator()))).backward()
    assert all(parameter.grad.abs().sum() > 0 for group in groups.values() for parameter in group)
    first, second = list(model)[:2]
    assert first[1].layers[0].meta_learner is second[1].layers[1].meta_learner
    with pytest.raises(Unavailable, match="no share"):
        family.assemble(lambda problem: build.build(method, settings, problem), None)


def test_a_family_is_a_run_like_any_other(spec):
    spec["task"] = {"name": "feynman_family", "settings": taskinfo.resolve("feynman_family", {**SMALL, "kind": "root"})}
    method = discover()["metakan"].methods["metakan-relu"]
    spec["method"] = {
        "name": "metakan-relu",
        "baseline": "metakan",
        "variant": "relu",
        "settings": {**method.settings, "hidden_width": 2, "grid_size": 3, "hidden_dim": 4},
    }
    spec["training"].update(steps=60, evaluations=3, learning_rate=0.03)
    result = train.run(spec)
    assert result["status"] == "ok"
    assert result["data"]["name"] == "4 root formulas"
    assert result["curve"][-1]["validation"] < 0.9 * result["curve"][0]["validation"]
    assert result["parameters"]["groups"]["meta_learners"] == 2 * 4 + 5 * 7
    assert result["memory"]["simulated_peak_bytes"] > 0
    spec["method"] = {"name": "affine", "baseline": "affine", "variant": None, "settings": {"bias": True}}
    assert train.run(spec)["status"] == "skipped"
