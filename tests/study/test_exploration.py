"""The study of forms: seeds of its own, every hypothesis, the same rates for all methods."""

from __future__ import annotations

import pytest

from kanbench.base import paths
from kanbench.study import config, plan

FLOOR = "E14floor"
"""Dense networks alone, whose numbers the forms are fitted to."""


@pytest.fixture(scope="module")
def study() -> config.Study:
    return config.load(paths.root() / "workflow/config/exploration.yaml")


@pytest.fixture(scope="module")
def specs(study) -> dict[str, list[dict]]:
    runs = plan.expand(study).runs.values()
    return {key: [run.spec for run in runs if key in run.experiments] for key in study.experiments}


def test_no_other_study_has_its_seeds(study, specs):
    assert study.content["published"] is False
    assert min(spec["seed"] for own in specs.values() for spec in own) >= 1000


def test_every_experiment_compares_the_same_forms_with_dense_ones(specs):
    found = {key: {_form(spec) for spec in own} for key, own in specs.items() if key != FLOOR}
    generated = {frozenset(form for form in forms if form[0].startswith("metakan")) for forms in found.values()}
    assert len(generated) == 1
    forms = found["E14"]
    assert {"tiled_kan", "efficient_kan-released", "mlp_matched"} <= {method for method, _ in forms}
    settings = [dict(form) for method, form in forms if method.startswith("metakan")]
    hypotheses = {"amplitude": True, "separate": True, "hidden_dim": 0, "prompt_dim": 4, "remainder_rank": 2}
    for name, value in hypotheses.items():
        assert any(each.get(name) == value for each in settings), name
    assert {each.get("shapes", "random") for each in settings} == {"random", "polynomials", "sines", "bumps"}


def test_every_method_has_the_same_learning_rates(specs):
    for own in specs.values():
        rates: dict = {}
        for spec in own:
            rates.setdefault(_form(spec), set()).add(spec["training"]["learning_rate"])
        assert len({frozenset(each) for each in rates.values()}) == 1


def _form(spec: dict) -> tuple[str, tuple]:
    """Return a method and what it was set to, sizes of the network apart."""
    settings = spec["method"]["settings"].items()
    return spec["method"]["name"], tuple(sorted((k, v) for k, v in settings if k not in ("hidden_width", "depth")))
