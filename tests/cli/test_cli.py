"""The command line: help everywhere, messages instead of tracebacks."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from kanbench.cli import listing
from kanbench.cli import study as study_verbs
from kanbench.cli.parser import main, parser
from kanbench.study import config, plan

VERBS = [
    "list",
    "plan",
    "status",
    "train",
    "serve",
    "profile",
    "data",
    "collect",
    "choose",
    "render",
    "claims",
    "report",
    "front",
    "pack",
    "unpack",
    "compare",
    "findings",
    "failures",
    "retry",
    "conclude",
    "publish",
    "verify",
    "take",
    "environment",
    "check-baseline",
    "new-baseline",
]


def test_the_verbs_are_these():
    actions = next(a for a in parser()._actions if a.dest == "verb")
    assert set(actions.choices) == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert "--help" in capsys.readouterr().out


def test_list_names_every_method_task_and_recipe(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for name in ("metakan-relu", "efficient_kan", "feynman", "digits", "poisson", "grid_size", "learning_curves"):
        assert name in out


def test_plan_prints_specs_that_train_accepts(capsys):
    assert main(["plan", "--only", "E2", "--json", "--match", "seed0"]) == 0
    specs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert specs
    assert all(spec["seed"] == 0 and spec["task"]["settings"]["formula"] == "product" for spec in specs)


def test_a_bad_spec_is_refused_with_a_message(capsys, tmp_path, spec):
    spec["method"]["name"] = "mpl"
    assert main(["train", "--spec", json.dumps(spec), "--output", str(tmp_path / "r.json")]) == 1
    assert "did you mean 'mlp'?" in capsys.readouterr().err
    assert main(["train", "--spec", "{", "--output", str(tmp_path / "r.json")]) == 1
    assert "one JSON document" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_train_reads_the_spec_from_a_file_and_says_how_it_went(capsys, tmp_path, spec):
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    assert main(["train", "--spec", f"@{tmp_path / 'spec.json'}", "--output", str(tmp_path / "r.json")]) == 0
    assert capsys.readouterr().out.startswith("ok  feynman/mlp/")
    assert json.loads((tmp_path / "r.json").read_text())["status"] == "ok"


def test_an_unknown_baseline_is_refused_by_name(capsys):
    assert main(["check-baseline", "metakann"]) == 1
    assert "did you mean 'metakan'?" in capsys.readouterr().err


def test_an_interrupted_command_says_that_it_resumes(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(listing, "show", interrupted)
    assert main(["list"]) == 130
    assert "resumes" in capsys.readouterr().err


@pytest.fixture
def study(tiny, tmp_path, monkeypatch):
    """The folder of a study of two planned runs, the file that describes it, and its specs by name."""
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps(tiny))
    planned = plan.expand(config.from_content(tiny, "tiny.yaml"))
    monkeypatch.chdir(tmp_path)
    planned.due.write_plan()
    monkeypatch.setattr(study_verbs, "paths", SimpleNamespace(root=lambda: tmp_path))
    return tmp_path / planned.folder, file, {run.name: run.spec for run in planned.runs.values()}


def test_a_study_is_trained_counted_collected_packed_and_unpacked_by_hand(capsys, study, tmp_path):
    folder, file, specs = study
    first, second = specs
    assert main(["train", "--spec", json.dumps(specs[first]), "--output", str(folder / "runs" / f"{first}.json")]) == 0
    assert "[1 of 2 runs done" in capsys.readouterr().out, "the position in the study"

    assert main(["status", "--configfile", str(file)]) == 0
    heads, counts, last = capsys.readouterr().out.splitlines()
    assert dict(zip(heads.split(), counts.split()[1:], strict=True)) == {"ok": "1", "waiting": "1"}
    assert last.startswith("1 of 2 runs done")

    assert main(["collect", "--plan", str(folder / "plan.json")]) == 0
    out = capsys.readouterr().out
    assert "1 of 2 planned runs collected" in out
    assert f"absent: {second}" in out
    assert main(["pack", str(folder)]) == 0
    assert f"1 records in {folder}.tar.gz" in capsys.readouterr().out
    for expected in ("1 records added", "0 records added"):
        assert main(["unpack", f"{folder}.tar.gz", "--into", str(tmp_path / "there")]) == 0
        assert expected in capsys.readouterr().out
    assert (tmp_path / "there/runs" / f"{first}.json").read_bytes() == (folder / "runs" / f"{first}.json").read_bytes()


def test_several_specs_are_refused_where_they_cannot_be_one_job(capsys, study, tmp_path):
    folder, _, specs = study
    (one, other), outputs = map(json.dumps, specs.values()), [str(folder / "runs" / f"{name}.json") for name in specs]
    both = ["train", "--spec", one, "--output", outputs[0], "--spec", other]
    for words, message in (
        (both, "2 times --spec and 1 times --output"),
        ([*both, "--output", outputs[1], "--exclusive"], "--exclusive with 2 specs"),
        ([*both, "--output", str(tmp_path / "elsewhere/r.json")], "records of one study"),
        (["profile", "--spec", one, "--output", outputs[0]], "use the verb `train`"),
    ):
        assert main(words) == 1
        assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("r.json"))
    assert not (folder / "runs").exists()


def test_collecting_without_a_plan_says_what_writes_one(capsys, tmp_path):
    assert main(["collect", "--plan", str(tmp_path / "plan.json")]) == 1
    assert "plan --write" in capsys.readouterr().err
    assert main(["pack", str(tmp_path)]) == 1
    assert "no records below runs/" in capsys.readouterr().err
