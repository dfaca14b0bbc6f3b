"""The command line: help everywhere, messages instead of tracebacks."""

from __future__ import annotations

import json

import pytest

from kanbench import cli
from kanbench.cli import main, parser

VERBS = [
    "list",
    "plan",
    "status",
    "train",
    "serve",
    "profile",
    "data",
    "collect",
    "render",
    "claims",
    "report",
    "pack",
    "unpack",
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

    monkeypatch.setattr(cli.commands, "show", interrupted)
    assert main(["list"]) == 130
    assert "resumes" in capsys.readouterr().err
