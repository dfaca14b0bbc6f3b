"""External packages: what made a run, what it was skipped for, and when it is planned again."""

from __future__ import annotations

import copy
import sys

import pytest

from kanbench.baselines import build, depends, discovery, outcomes
from kanbench.baselines.outcomes import RuleResult
from kanbench.records import frame, record
from kanbench.records.survey import facts_of, outdated


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder that packages are looked for in; returns a function that writes one."""
    monkeypatch.syspath_prepend(tmp_path)

    def _write(name: str, text: str = "") -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "__init__.py").write_text(text)
        sys.modules.pop(name, None)

    return _write


@pytest.fixture
def baseline():
    return copy.copy(discovery.discover()["efficient_kan"])


def test_a_package_is_known_by_the_digest_of_its_files(elsewhere, baseline):
    object.__setattr__(baseline, "prefers", ("not_there_yet",))
    assert depends.packages(baseline) == {"not_there_yet": None}
    elsewhere("not_there_yet", "a = 1\n")
    first = depends.packages(baseline)["not_there_yet"]
    assert first["version"] is None
    elsewhere("not_there_yet", "a = 2\n")
    assert depends.packages(baseline)["not_there_yet"]["digest"] != first["digest"]
    elsewhere("not_there_yet", "a = 1\n")
    assert depends.packages(baseline)["not_there_yet"] == first


def test_the_stand_in_says_which_package_it_stands_in_for():
    assert discovery.discover()["efficient_kan"].prefers == ("efficient_kan",)


def facts(spec, packages, status="ok"):
    blank = record.blank(spec, label="x", family="f", metric="rmse", goal="min")
    blank |= {"status": status, "code": {"commit": None, "dirty": None, "digest": "d", "packages": packages}}
    return facts_of(record.sealed(blank))


def test_a_package_that_comes_or_changes_makes_a_run_due(spec):
    one, two = {"version": "1", "digest": "a"}, {"version": "2", "digest": "b"}
    now = {"digest": "d", "packages": {"upstream": one}}
    assert outdated(facts(spec, {"upstream": one}), now) is None
    assert "upstream 1 is here" in outdated(facts(spec, {"upstream": None}), now)
    assert "upstream 1 is here" in outdated(facts(spec, {"upstream": None}, "skipped"), now)
    assert "made with 2" in outdated(facts(spec, {"upstream": two}), now)
    gone = {"digest": "other", "packages": {"upstream": None}}
    assert outdated(facts(spec, {"upstream": one}), gone) is None, "what cannot be made again here is kept"
    assert outdated(facts(spec, {"upstream": None}), gone) == "it was made by other code"


def test_a_package_that_is_broken_inside_is_an_error_and_no_skip(elsewhere, baseline):
    object.__setattr__(baseline, "requires", ("half_there",))
    with pytest.raises(build.Unavailable, match="needs the package 'half_there'") as absent:
        build._require(baseline, "half_there")
    assert absent.value.missing == {"package": "half_there", "found": None}
    elsewhere("half_there", "import surely_absent_einops\n")
    with pytest.raises(build.BrokenContract, match="surely_absent_einops"):
        build._require(baseline, "half_there")


def test_a_skipped_baseline_shows_as_skipped(capsys):
    results = [RuleResult("peer", "schema", True, ""), RuleResult("peer", "builds", None, "skipped: no package")]
    assert outcomes.report(results) == 0
    said = capsys.readouterr().out
    assert "peer: skipped" in said
    assert "rules kept" not in said


def test_results_of_upstream_and_of_the_stand_in_never_share_a_cell(committed):
    own = [
        copy.deepcopy(r) for r in committed if r["spec"]["method"]["name"] == "efficient_kan" and r["status"] == "ok"
    ]
    for index, entry in enumerate(own):
        upstream = {"version": "1.0", "digest": "abcdef0123"} if index % 2 else None
        entry["code"] = {**entry["code"], "packages": {"efficient_kan": upstream}}
    table = frame.to_frame(own)
    made_by = table["code.packages.efficient_kan.version"].isna()
    assert 0 < made_by.sum() < len(table)
    for key in ("cell", "method", "label"):
        assert not set(table[key][made_by]) & set(table[key][~made_by]), key
    assert set(table["method"][made_by]) == {"efficient_kan"}
    alone = frame.to_frame([entry for entry in own if entry["code"]["packages"]["efficient_kan"]])
    assert set(alone["method"]) == {"efficient_kan"}, "one implementation needs no other name"
