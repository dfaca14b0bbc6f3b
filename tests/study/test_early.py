"""Claims that contradict the studies are refused when a study is planned, with file, key, found and expected."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from kanbench.base.errors import InvalidInput
from kanbench.pages import recipes
from kanbench.study import config, early, plan
from kanbench.verdicts import declared

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "paper_figures/claims.yaml"
DECLARED = yaml.safe_load(FILE.read_text(encoding="utf-8"))


@pytest.fixture
def claims():
    """The declared claims, to be damaged."""
    return copy.deepcopy(DECLARED)


def one(claims, **wanted) -> tuple[int, dict]:
    """Return position and claim of the first that has these entries, its criterion's included."""
    return next(
        (position, claim)
        for position, claim in enumerate(claims["claims"])
        if wanted.items() <= {**claim, **claim["criterion"]}.items()
    )


def refusals(claims, study, tmp_path) -> list[tuple[str, str, str, str]]:
    """Return file, key, found and expected of every finding about claims beside a study."""
    file = tmp_path / "claims.yaml"
    file.write_text(yaml.safe_dump(claims, sort_keys=False))
    planned = plan.expand(config.from_content(study, "tiny.yaml"))
    try:
        early.refuse_bad_claims(file, planned)
    except InvalidInput as error:
        return [(Path(f.file).name, f.key, f.found, f.expected) for f in error.findings]
    return []


def test_the_declared_claims_suit_the_studies(claims, tiny, tmp_path):
    assert refusals(claims, tiny, tmp_path) == []


def test_claims_without_their_keys_are_refused_before_the_study(claims, tiny, tmp_path):
    claim = next(each for each in claims["claims"] if "expect" in each["criterion"])
    del claim["criterion"]["expect"]
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(claims))
    with pytest.raises(InvalidInput) as refused:
        early.refuse_bad_claims(file, plan.expand(config.from_content(tiny, "tiny.yaml")))
    with pytest.raises(InvalidInput) as later:
        declared.load(file)
    assert str(refused.value) == str(later.value)
    assert "expect" in str(refused.value)


def test_experiments_of_recipes_are_planned_by_a_study():
    studies = [config.load(file) for file in sorted((ROOT / "workflow/config").glob("*.yaml"))]
    known = {key for study in studies for key in study.content["experiments"]}
    assert {name for recipe in recipes.discover().values() for name in recipe.experiments} - known == set()


@pytest.mark.parametrize(
    ("key", "name", "close"),
    [("experiment", "E5schedul", "E5schedule"), ("experiment", "E77", ""), ("quarter", "E8quarter", "")],
)
def test_an_experiment_that_no_study_plans(claims, tiny, tmp_path, key, name, close):
    position, claim = one(claims, kind="paired_difference", scope="these tasks")
    claim.pop("quarter", None)
    if key == "quarter":
        claim["experiment"] = "E8"
    claim[key] = name
    ((file, place, found, expected),) = refusals(claims, tiny, tmp_path)
    assert (file, place, found) == ("claims.yaml", f"claims.{position}.{key}", name)
    assert "E12deep" in expected
    assert f"did you mean '{close}" in expected or not close


def test_an_experiment_that_the_study_at_hand_alone_plans_is_known(claims, tiny, tmp_path):
    _, claim = one(claims, kind="paired_difference", scope="these tasks")
    claim.pop("quarter", None)
    claim["experiment"] = "E77"
    tiny["experiments"]["E77"] = {**tiny["experiments"]["E1"], "axes": {"hidden_width": 3, "depth": 1}}
    assert refusals(claims, tiny, tmp_path) == []


def test_a_quarter_of_another_experiment(claims, tiny, tmp_path):
    position, claim = one(claims, quarter="E5quarter")
    claim["quarter"] = "E7quarter"
    ((_, place, found, expected),) = refusals(claims, tiny, tmp_path)
    assert (place, found) == (f"claims.{position}.quarter", "E7quarter")
    assert "E5quarter" in expected


@pytest.mark.parametrize("key", ["methods", "where_they_run"])
def test_a_reference_that_no_baseline_provides(claims, tiny, tmp_path, key):
    claims["references"]["dense"][key].append("tiled_kann")
    ((_, place, found, expected),) = refusals(claims, tiny, tmp_path)
    assert (place, found) == (f"references.dense.{key}", "tiled_kann")
    assert "did you mean 'tiled_kan'?" in expected


def test_methods_of_a_criterion_that_no_baseline_provides(claims, tiny, tmp_path):
    position, claim = one(claims, reference="tiled_kan")
    claim["criterion"] |= {"reference": "tiled_kann", "method": "metakan-rely"}
    found = [each[1:3] for each in refusals(claims, tiny, tmp_path)]
    where = f"claims.{position}.criterion"
    assert found == [(f"{where}.method", "metakan-rely"), (f"{where}.reference", "tiled_kann")]


def test_a_reference_whose_baseline_is_refused_is_not_blamed_on_the_claims(tiny):
    from kanbench.baselines.discovery import Refused

    planned = plan.expand(config.from_content(tiny, "tiny.yaml"))
    planned.methods = {name: method for name, method in planned.methods.items() if name != "tiled_kan"}
    with pytest.raises(InvalidInput, match="tiled_kan"):
        early.refuse_bad_claims(FILE, planned)
    planned.refused = [Refused("tiled_kan", "fully_connected", ())]
    early.refuse_bad_claims(FILE, planned)


def test_looks_of_the_study_and_of_the_claims_are_the_same(claims, tiny, tmp_path):
    assert refusals(claims, {**tiny, "looks": [10, 20, 40]}, tmp_path) == []
    tiny["experiments"]["E5"] = {**tiny["experiments"]["E1"], "axes": {"hidden_width": 3, "depth": 1}}
    (found,) = refusals(claims, {**tiny, "looks": [10, 20]}, tmp_path)
    assert found[:3] == ("tiny.yaml", "looks", "[10, 20]")
    assert found[3].startswith("[10, 20, 40], at which ")
    tiny["experiments"]["E5"]["looks"] = [12, 24]
    (found,) = refusals(claims, tiny, tmp_path)
    assert found[:3] == ("tiny.yaml", "experiments.E5.looks", "[12, 24]")
    claims["looks"] = [12, 24]
    assert refusals(claims, tiny, tmp_path) == []


def test_seeds_that_are_listed_have_no_looks_to_contradict(claims, tiny, tmp_path):
    tiny["experiments"]["E1"]["seeds"] = [3, 4]
    assert refusals(claims, {**tiny, "looks": [2]}, tmp_path) == []


def test_a_scope_for_which_no_study_has_tasks_enough(claims, tiny, tmp_path):
    position, claim = one(claims, experiment="E11", scope="these tasks")
    claim["scope"] = "tasks of this kind"
    ((file, place, found, expected),) = refusals(claims, tiny, tmp_path)
    assert (file, place) == ("claims.yaml", f"claims.{position}.scope")
    assert found.startswith("tasks of this kind, of which no study plans more than 1")
    assert expected.startswith("at least 8 tasks")


def test_a_study_file_that_is_refused_blocks_no_other_study(claims, tiny, tmp_path, monkeypatch):
    folder = tmp_path / "suite/workflow/config"
    folder.mkdir(parents=True)
    (folder / "paper.yaml").write_text("study: [\n")
    planned = plan.expand(config.from_content(tiny, "tiny.yaml"))
    monkeypatch.setattr(early.paths, "root", lambda: tmp_path / "suite")
    assert early.planned_studies(planned.study) == []
