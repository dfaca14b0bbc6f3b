"""Random search with equal trials."""

from __future__ import annotations

import pytest

from kanbench.baselines import discovery
from kanbench.study import config, plan, tuning


@pytest.fixture
def methods():
    return {m.name: m for b in discovery.discover().values() for m in b.methods.values()}


def test_draws_stay_inside_the_declared_space(methods):
    space = methods["mlp"].baseline.search_space
    drawn = [tuning.draw(methods["mlp"], trial) for trial in range(200)]
    rates = [settings["learning_rate"] for settings in drawn]
    low, high = space["learning_rate"]["low"], space["learning_rate"]["high"]
    assert low <= min(rates) < 2 * low
    assert high / 2 < max(rates) <= high
    # Log-uniform: half of the draws lie below the geometric mean.
    below = sum(rate < (low * high) ** 0.5 for rate in rates)
    assert 70 <= below <= 130
    assert {settings["activation"] for settings in drawn} == set(space["activation"])


def test_draws_depend_on_method_and_trial_only(methods):
    assert tuning.draw(methods["mlp"], 3) == tuning.draw(methods["mlp"], 3)
    assert tuning.draw(methods["mlp"], 3) != tuning.draw(methods["mlp"], 4)
    relu, linear = methods["metakan-relu"], methods["metakan-linear"]
    assert tuning.draw(relu, 0) != tuning.draw(linear, 0)


def test_every_method_gets_the_same_number_of_trials(tiny):
    tiny["experiments"]["E1"].update(methods=["mlp", "affine", "efficient_kan"], trials=3)
    runs = plan.expand(config.from_content(tiny, "tiny.yaml")).runs.values()
    counts = {}
    for run in runs:
        assert run.spec["configuration"] == "tuned"
        counts.setdefault(run.spec["method"]["name"], []).append(run.spec["trial"])
    assert {name: sorted(trials) for name, trials in counts.items()} == dict.fromkeys(counts, [0, 1, 2])
    assert len(counts) == 3
    rates = {run.spec["training"]["learning_rate"] for run in runs}
    assert len(rates) == 9


def test_a_group_may_have_a_learning_rate_of_its_own(tiny, methods):
    tiny["experiments"]["E1"].update(methods=["metakan-relu"], trials=5)
    specs = [run.spec for run in plan.expand(config.from_content(tiny, "tiny.yaml")).runs.values()]
    for spec in specs:
        drawn = tuning.draw(methods["metakan-relu"], spec["trial"])
        assert spec["training"]["learning_rate"] == drawn["learning_rate"]
        assert spec["training"]["groups"] == {
            "meta_learners": {"learning_rate": drawn["meta_learners.learning_rate"]},
        }
        assert "meta_learners.learning_rate" not in spec["method"]["settings"]
    assert len({spec["training"]["groups"]["meta_learners"]["learning_rate"] for spec in specs}) == 5
    tiny["experiments"]["E1"]["training"]["optimiser"] = "lbfgs"
    for run in plan.expand(config.from_content(tiny, "tiny.yaml")).runs.values():
        assert "groups" not in run.spec["training"]
