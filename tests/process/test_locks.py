"""No other user can reach what runs lock, and what a run waits for does not count against it."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import tempfile
import time

import pytest

from kanbench.base.errors import KanbenchError
from kanbench.cli import parser
from kanbench.process import locks, watch


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Temporary files and the home of this user below a folder of this test; no folder of the session."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(locks, "RUNTIME", str(tmp_path / "none" / "here"))
    return tmp_path


def mode(folder) -> int:
    return stat.S_IMODE(folder.lstat().st_mode)


def test_the_folder_of_locks_is_private_and_always_the_same(elsewhere):
    folder = locks.private_folder()
    assert folder.parent == elsewhere / "tmp"
    assert (mode(folder), folder.lstat().st_uid) == (0o700, os.getuid())
    assert locks.private_folder() == folder


@pytest.mark.parametrize("squatted", ["open", "link", "file", "foreign"])
def test_what_another_user_put_in_its_place_is_not_used(elsewhere, squatted, monkeypatch):
    place = elsewhere / "tmp" / f"kanbench-{os.getuid()}"
    if squatted == "open":
        place.mkdir()
        place.chmod(0o777)
    elif squatted == "link":
        (elsewhere / "theirs").mkdir(mode=0o700)
        place.symlink_to(elsewhere / "theirs")
    elif squatted == "file":
        place.write_text("")
    else:
        place.mkdir(mode=0o700)
        own = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: own + 1 if os.path.exists(place) else own)
        with pytest.raises(locks.NoPrivateFolder, match="no folder for locks that other users cannot reach"):
            locks.private_folder()
        return
    folder = locks.private_folder()
    assert (elsewhere / "home") in folder.parents
    assert mode(folder) == 0o700
    with locks.device_lock("cpu", exclusive=True):
        assert (folder / "cpu.lock").exists()


def hold(folder, ready, seconds):
    locks.RUNTIME, tempfile.tempdir = str(folder / "none" / "here"), str(folder)
    with locks.device_lock("cpu", exclusive=True):
        ready.set()
        time.sleep(seconds)


def test_waiting_for_the_device_does_not_count_against_a_run(elsewhere):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=hold, args=(elsewhere / "tmp", ready, 2.0))
    holder.start()
    assert ready.wait(60)

    def work() -> int:
        with locks.device_lock("cpu", exclusive=False):
            return 7

    started = time.monotonic()
    ending = watch.run(work, watch.Limits(stall_seconds=0.7))
    assert (ending.kind, ending.status) == ("returned", 7)
    assert time.monotonic() - started > 1.0
    holder.join()


def test_no_private_folder_ends_a_command_with_a_sentence(elsewhere, monkeypatch, spec, tmp_path, capsys):
    """Temporary files and home lie below a file, so that nobody, root included, can make a folder there."""
    (elsewhere / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere / "file"))
    monkeypatch.setenv("HOME", str(elsewhere / "file" / "home"))
    with pytest.raises(KanbenchError, match="chmod 700"):
        locks.private_folder()
    record = tmp_path / "r.json"
    assert parser.main(["train", "--spec", json.dumps(spec), "--output", str(record), "--threads", "1"]) == 1
    said = capsys.readouterr().err
    assert "kanbench train: no folder for locks that other users cannot reach" in said
    assert "Traceback" not in said
    assert not record.exists(), "the run is not to blame"
