"""Further seeds go to experiments with undecided claims alone, look by look, and what was decided to go on stays."""

from __future__ import annotations

import copy
import json

import pytest

from kanbench.base.errors import InvalidInput
from kanbench.cli import parser
from kanbench.study import config, plan


@pytest.fixture
def study(tiny, tmp_path, monkeypatch):
    """Two experiments with looks at 2, 4 and 6 seeds, one without, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    first = tiny["experiments"]["E1"] | {"methods": ["mlp"]}
    tiny["looks"] = [2, 4, 6]
    tiny["experiments"] = {
        "E1": first,
        "E2": first | {"axes": {"hidden_width": 3, "depth": 1}},
        "E3": first | {"axes": {"hidden_width": 4, "depth": 1}, "seeds": [7]},
    }
    return tiny


def claims(tmp_path, records="a", **verdicts) -> None:
    """Write the verdicts of a look: claim ids to (verdict, experiments) or (verdict, experiments, unit)."""
    content = {"records_sha256": records, "claims": []}
    for name, (verdict, experiments, *unit) in verdicts.items():
        claim = {"id": name, "verdict": verdict, "experiments": experiments.split(","), "unit": [*unit, "seeds"][0]}
        content["claims"].append(claim)
    folder = tmp_path / "results/tiny"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "claims.json").write_text(json.dumps(content))


def seeds(content, **overrides) -> dict[str, list[int]]:
    found = plan.expand(config.from_content({**content, **overrides}, "tiny.yaml"))
    listed = {
        key: [run.spec["seed"] for run in found.runs.values() if key in run.experiments] for key in ["E1", "E2", "E3"]
    }
    return {key: sorted(each) for key, each in listed.items()}


def begin(content, **overrides) -> None:
    """Plan as the workflow does, which keeps what was decided."""
    plan.expand(config.from_content({**content, **overrides}, "tiny.yaml")).due.write_plan()


def test_the_first_look_has_the_first_number_of_seeds(study):
    assert seeds(study) == {"E1": [0, 1], "E2": [0, 1], "E3": [7]}
    study["seeds"] = [100, 200, 300]
    assert seeds(study)["E1"] == [100, 200]
    study["looks"] = [5]
    assert seeds(study)["E1"] == [100, 200, 300, 301, 302]


def test_the_second_look_plans_further_seeds_of_what_is_undecided(study, tmp_path):
    claims(tmp_path, wins=("holds", "E1"), open=("undecided", "E2"), fixed=("undecided", "E3"))
    first = plan.expand(config.from_content(study, "tiny.yaml")).runs
    assert seeds(study, look=2) == {"E1": [0, 1], "E2": [0, 1, 2, 3], "E3": [7]}
    second = plan.expand(config.from_content({**study, "look": 2}, "tiny.yaml")).runs
    assert set(first) < set(second), "the runs of the first look are used again"
    assert {run.spec["seed"] for name, run in second.items() if name not in first} == {2, 3}


@pytest.mark.parametrize("verdict", ["holds", "fails", "in part", "no records"])
def test_what_is_decided_or_has_no_records_gets_no_further_seeds(study, tmp_path, verdict):
    claims(tmp_path, one=(verdict, "E1"), two=("undecided", "E2"))
    assert seeds(study, look=2)["E1"] == [0, 1]


def test_a_claim_about_tasks_is_not_decided_by_seeds(study, tmp_path):
    claims(tmp_path, wide=("undecided", "E1", "tasks"), narrow=("undecided", "E2"))
    assert seeds(study, look=2) == {"E1": [0, 1], "E2": [0, 1, 2, 3], "E3": [7]}


def test_the_third_look_goes_on_from_the_second(study, tmp_path):
    claims(tmp_path, one=("undecided", "E1"), two=("undecided", "E2"))
    begin(study, look=2)
    claims(tmp_path, "b", one=("fails", "E1"), two=("undecided", "E2"))
    begin(study, look=3)
    assert seeds(study, look=3) == {"E1": [0, 1, 2, 3], "E2": [0, 1, 2, 3, 4, 5], "E3": [7]}
    claims(tmp_path, "c", one=("fails", "E1"), two=("holds", "E2"))
    assert seeds(study, look=3)["E2"] == [0, 1, 2, 3, 4, 5]
    assert seeds(study)["E2"] == [0, 1, 2, 3, 4, 5], "without a look, the last that was begun"
    assert seeds(study, look=1)["E2"] == [0, 1]


def test_what_was_decided_at_a_look_never_goes_on(study, tmp_path):
    claims(tmp_path, one=("holds", "E1"), two=("undecided", "E2"))
    begin(study, look=2)
    claims(tmp_path, "b", one=("undecided", "E1"), two=("undecided", "E2"))
    assert seeds(study, look=3) == {"E1": [0, 1], "E2": [0, 1, 2, 3, 4, 5], "E3": [7]}


def test_a_begun_look_stays_whatever_the_verdicts_become(study, tmp_path):
    claims(tmp_path, one=("undecided", "E1"), two=("undecided", "E2"))
    begin(study, look=2)
    before = seeds(study, look=2)
    claims(tmp_path, "b", one=("holds", "E1"), two=("holds", "E2"))
    assert seeds(study, look=2) == before


def test_planning_alone_keeps_nothing(study, tmp_path):
    claims(tmp_path, one=("undecided", "E1"))
    assert seeds(study, look=2)["E1"] == [0, 1, 2, 3]
    claims(tmp_path, one=("holds", "E1"))
    assert seeds(study, look=2)["E1"] == [0, 1]


def test_quarters_and_sources_go_on_with_what_needs_them(study, tmp_path):
    study["experiments"]["E1"]["quarter"] = True
    study["experiments"]["E2"] |= {"methods": ["metakan-relu"], "keep": "model"}
    study["experiments"]["E3"] = study["experiments"]["E2"] | {"source": {"experiment": "E2", "adapt": "warm"}}
    del study["experiments"]["E3"]["keep"]
    claims(tmp_path, one=("undecided", "E1"), two=("holds", "E3"))
    found = plan.expand(config.from_content({**study, "look": 2}, "tiny.yaml"))
    counts = {key: sum(key in run.experiments for run in found.runs.values()) for key in found.experiments}
    assert counts == {"E1": 4, "E1quarter": 4, "E2": 2, "E3": 2}
    claims(tmp_path, one=("holds", "E1"), two=("undecided", "E3"))
    found = plan.expand(config.from_content({**study, "look": 2}, "tiny.yaml"))
    counts = {key: sum(key in run.experiments for run in found.runs.values()) for key in found.experiments}
    assert counts == {"E1": 2, "E1quarter": 2, "E2": 4, "E3": 4}


def refused(content) -> str:
    with pytest.raises(InvalidInput) as raised:
        plan.expand(config.from_content(content, "tiny.yaml"))
    return str(raised.value)


def test_a_look_needs_the_verdicts_of_the_one_before(study, tmp_path):
    assert "no such file" in refused({**study, "look": 2})
    claims(tmp_path, one=("undecided", "E1"))
    assert "look 2 was not begun" in refused({**study, "look": 3})
    begin(study, look=2)
    assert "the verdicts that look 2 was planned from" in refused({**study, "look": 3})
    claims(tmp_path, "b", one=("undecided", "E1"))
    assert seeds(study, look=3)["E1"] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"looks": [4, 2]}, "looks"),
        ({"look": 4}, "look"),
        ({"look": 0}, "look"),
        ({"looks": []}, "looks"),
        ({"looks": [2, 2]}, "looks"),
    ],
)
def test_looks_that_make_no_sense_are_refused(study, change, key):
    with pytest.raises(InvalidInput) as raised:
        config.from_content({**study, **change}, "tiny.yaml")
    assert {finding.key for finding in raised.value.findings} == {key}


def test_a_look_of_a_study_without_looks_is_refused(tiny):
    with pytest.raises(InvalidInput, match="declares `looks`"):
        config.from_content({**tiny, "look": 2}, "tiny.yaml")


def test_an_experiment_may_have_looks_of_its_own(study, tmp_path):
    study["experiments"]["E3"]["looks"] = [1, 3]
    claims(tmp_path, one=("undecided", "E3"))
    assert seeds(study) == {"E1": [0, 1], "E2": [0, 1], "E3": [7]}
    assert seeds(study, look=2) == {"E1": [0, 1], "E2": [0, 1], "E3": [7, 8, 9]}


def test_the_verbs_say_which_experiments_go_on_and_why(study, tmp_path, monkeypatch, capsys):
    (tmp_path / "tiny.yaml").write_text(json.dumps(copy.deepcopy(study)))
    claims(tmp_path, wins=("holds", "E1"), open=("undecided", "E2"))
    for verb in ("plan", "status"):
        assert parser.main([verb, "--configfile", "tiny.yaml", "--look", "2"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert "look 2 of 3" in lines
        assert "  E2 goes on to 4 seeds; undecided: open" in lines
        assert "  no further seeds: E1" in lines
    assert parser.main(["plan", "--configfile", "tiny.yaml", "--look", "3"]) == 1
    assert "look 2 was not begun" in capsys.readouterr().err
