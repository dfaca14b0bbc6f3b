"""What is refused or put right before a study starts: braces in paths, files from the future, a retry during a run."""

from __future__ import annotations

import os
import time

import pytest

from kanbench.base.errors import InvalidInput
from kanbench.cli import parser
from kanbench.process import owner
from kanbench.study import config, resume, surroundings

NOW = time.time()
DAY = 86400.0


def file(folder, name: str, ahead: float):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
    os.utime(path, (NOW + ahead, NOW + ahead))
    return path


def test_times_in_the_future_become_the_present_in_the_same_order(tmp_path, capsys):
    old = file(tmp_path, "runs/old.json", -DAY)
    near = file(tmp_path, "runs/near.json", 1.0)
    ahead = [file(tmp_path, f"runs/{name}.json", days * DAY) for name, days in (("c", 3.0), ("a", 1.0), ("b", 2.0))]
    twin = file(tmp_path, "twin.txt", 3.0 * DAY)
    assert surroundings.set_future_times_to_now([tmp_path / "runs", twin, tmp_path / "absent"], NOW) == 4
    times = {path.stem: path.stat().st_mtime for path in (*ahead, old, near, twin)}
    assert times["old"] == pytest.approx(NOW - DAY), "the past is left alone"
    assert times["near"] == pytest.approx(NOW + 1.0), "so are clocks that differ a little"
    assert NOW - 1.0 < times["a"] < times["b"] < times["c"] <= NOW + 1e-3
    assert times["c"] == times["twin"], "files of one time stay so"
    assert "4 files had times in the future" in capsys.readouterr().err
    assert surroundings.set_future_times_to_now([tmp_path], NOW) == 0
    assert capsys.readouterr().err == ""


def test_times_that_cannot_be_changed_are_named(tmp_path, capsys, monkeypatch):
    path = file(tmp_path, "claims.yaml", 2 * DAY)

    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    assert surroundings.set_future_times_to_now([tmp_path], NOW) == 0
    said = capsys.readouterr().err
    assert f"1 files have times in the future ({path}" in said
    assert "next: set the clock right" in said


@pytest.mark.parametrize("name", ["a{b}", "a{", "}a"])
def test_a_brace_in_the_path_of_the_suite_is_refused(name):
    with pytest.raises(InvalidInput, match="a brace in the path of the suite"):
        surroundings.refuse_braces(f"/home/{name}/suite")
    surroundings.refuse_braces("/home/a \"b' $c/suite")


@pytest.mark.parametrize("key", ["records", "data_root"])
def test_a_brace_in_a_path_of_a_study_is_refused(tiny, tmp_path, key):
    folder = tmp_path / "a{b}"
    folder.mkdir()
    with pytest.raises(InvalidInput, match=rf"tiny.yaml: {key}\n.*a\{{b\}}") as caught:
        config.from_content({**tiny, key: str(folder)}, "tiny.yaml")
    assert len(caught.value.findings) == 1


def test_retry_waits_for_a_workflow_at_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KANBENCH_ROOT", str(tmp_path))
    signed = tmp_path / resume.STATE / resume.OWNERS / "one.json"
    signed.parent.mkdir(parents=True)
    signed.write_text(owner.current().text)
    assert parser.main(["retry"]) == 1
    said = capsys.readouterr().err
    assert f"a workflow at work: process {os.getpid()} on " in said
    assert "Traceback" not in said
    signed.unlink()
    assert parser.main(["retry"]) == 1
    assert "at work" not in capsys.readouterr().err, "it is refused for the study that is not there, not for this"
