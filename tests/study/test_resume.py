"""A lock whose holders are known to be gone is released; every other one is not."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest

from kanbench.process import owner
from kanbench.study import resume


def lock(folder):
    (folder / ".snakemake" / "locks").mkdir(parents=True)
    (folder / ".snakemake" / "locks" / "0.output.lock").write_text("a.json\n")
    (folder / ".snakemake" / "incomplete").mkdir()
    (folder / ".snakemake" / "incomplete" / "YQ==").write_text("{}")


def locked(folder) -> bool:
    return (folder / ".snakemake" / "locks" / "0.output.lock").exists()


def sign(folder, who: owner.Owner, name: str = "one"):
    file = folder / ".snakemake" / resume.OWNERS / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(who.text)
    return file


@pytest.fixture
def other():
    """Another process, and its name."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process, owner.current(process.pid)
    process.kill()
    process.wait()


def test_nothing_to_release_without_a_lock(tmp_path):
    assert resume.release_stale_lock(tmp_path) == ""


def test_the_lock_of_a_dead_process_is_released_with_its_marks(tmp_path, other):
    process, who = other
    lock(tmp_path)
    file = sign(tmp_path, who)
    assert resume.release_stale_lock(tmp_path) == ""
    assert locked(tmp_path), "it lives"
    process.kill()
    process.wait()
    assert resume.release_stale_lock(tmp_path) == ""
    assert not (tmp_path / ".snakemake" / "locks").exists()
    assert not (tmp_path / ".snakemake" / "incomplete").exists()
    assert not file.exists()


def test_a_zombie_is_dead_and_a_process_with_the_number_of_a_dead_one_is_another(tmp_path, other):
    process, who = other
    assert dataclasses.replace(who, started="1").lives is False
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not reaped
    assert who.lives is False


@pytest.mark.parametrize("where", [{"host": "elsewhere", "boot": "b"}, {"namespace": "pid:[1]"}])
def test_the_lock_of_another_host_or_container_stays(tmp_path, other, where):
    process, who = other
    process.kill()
    process.wait()
    lock(tmp_path)
    file = sign(tmp_path, dataclasses.replace(who, **where))
    told = resume.release_stale_lock(tmp_path)
    assert f"process {who.pid} on {where.get('host', who.host)}" in told
    assert locked(tmp_path)
    assert file.exists()
    assert resume.at_work(tmp_path), "it may be at work"


def test_the_lock_of_an_earlier_boot_of_this_host_is_released(tmp_path):
    lock(tmp_path)
    sign(tmp_path, dataclasses.replace(owner.current(), boot="an earlier one"))
    assert resume.release_stale_lock(tmp_path) == ""
    assert not locked(tmp_path)


def test_one_of_several_that_lives_is_enough(tmp_path, other):
    lock(tmp_path)
    sign(tmp_path, dataclasses.replace(owner.current(), started="1"), "dead")
    sign(tmp_path, other[1], "alive")
    assert resume.release_stale_lock(tmp_path) == ""
    assert locked(tmp_path)


def test_a_lock_that_nobody_signed_stays(tmp_path):
    lock(tmp_path)
    assert "nobody has signed" in resume.release_stale_lock(tmp_path)
    assert locked(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000, '{"pid": 1}', '{"host": 1, "boot": 2}'])
def test_a_name_that_cannot_be_read_is_nobody(tmp_path, text):
    assert owner.parse(text) is None
    lock(tmp_path)
    file = tmp_path / ".snakemake" / resume.OWNERS / "x.json"
    file.parent.mkdir()
    file.write_text(text)
    assert resume.release_stale_lock(tmp_path) == ""
    assert not resume.at_work(tmp_path)


def test_who_begins_is_registered_until_its_end(tmp_path):
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom kanbench.process import owner\n"
        "from kanbench.study import resume\n"
        "resume.begin(Path('.')); print(os.environ[owner.VARIABLE], flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, text=True, **pipes)
    who = owner.parse(process.stdout.readline())
    assert who == owner.current(process.pid)
    assert resume.at_work(tmp_path) == [who]
    process.communicate("")
    assert resume.at_work(tmp_path) == []
    assert not list((tmp_path / ".snakemake" / resume.OWNERS).iterdir())
