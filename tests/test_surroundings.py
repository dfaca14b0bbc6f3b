"""The workflow in odd surroundings: paths, clocks, homes, and a kill that leaves its processes behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml
from waiting import eventually

from kanbench.cli import failures
from kanbench.process import server

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
TABLE = "results/tiny/tables/summary.csv"


def snakemake(*arguments) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--configfile", "tiny.yaml"]


@pytest.fixture
def study(suite, tiny):
    """Return a function that moves the copy of the suite into a folder of that name, with a study of one run."""

    def _study(name: str, steps: int = 4) -> Path:
        folder = suite / name
        folder.mkdir()
        for path in [path for path in suite.iterdir() if path != folder]:
            shutil.move(path, folder / path.name)
        tiny["experiments"]["E1"]["methods"] = ["mlp"]
        tiny["experiments"]["E1"]["training"]["steps"] = steps
        (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
        return folder

    return _study


def test_a_brace_in_the_path_is_a_sentence(run, study):
    done = run(snakemake("--dry-run"), study("a{b}"))
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "expected: a path without { and }" in output
    assert "NameError" not in output
    assert "Job stats" not in output


def works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder)
    except (psutil.Error, OSError):
        return False


def test_under_an_odd_path_files_from_the_future_are_told_of_and_nothing_is_made_twice(run, study):
    folder = study("a \"b' $c; d")
    ahead = time.time() + 2 * 86400

    def move(*places):
        for path in (path for place in places for path in place.rglob("*") if path.is_file()):
            os.utime(path, (ahead, ahead))

    move(folder / "workflow", folder / "paper_figures", folder / "baselines")
    done = run(snakemake(TABLE), folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "files had times in the future" in done.stderr
    move(folder / "results", folder / ".snakemake")
    again = run(snakemake(TABLE), folder)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Nothing to be done" in again.stdout + again.stderr


def test_make_and_retry_find_a_place_for_caches_where_there_is_no_home(run, shared_suite, tiny, monkeypatch, tmp_path):
    """The home lies below a file, so that nobody, root included, can write it."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    monkeypatch.setenv("KANBENCH_ROOT", str(shared_suite))
    monkeypatch.setenv("HOME", str(tmp_path / "tiny.yaml" / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    make = ["make", "--dry-run", "smoke"]
    assert "XDG_CACHE_HOME=" not in run(make, ROOT).stdout
    assert failures.with_caches()["XDG_CACHE_HOME"] == str(tmp_path / "caches")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert f'XDG_CACHE_HOME="{ROOT}/.snakemake/cache" PATH=' in run(make, ROOT).stdout
    caches = failures.with_caches()["XDG_CACHE_HOME"]
    assert caches == str(shared_suite / ".snakemake" / "cache")
    dry = [*snakemake("--dry-run", "--until", "train")[:-1], str(tmp_path / "tiny.yaml")]
    assert run(dry, shared_suite).returncode != 0, "Snakemake itself needs the folder"
    monkeypatch.setenv("XDG_CACHE_HOME", caches)
    done = run(dry, shared_suite)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("whom", ["workflow", "workflow and server"])
def test_kill_of_the_workflow_ends_its_server_and_its_runs(study, monkeypatch, whom):
    """Its clients, whom the kill leaves behind, do not start the run again by themselves."""
    folder, runtime = (
        study("killed", steps=100_000_000),
        Path(tempfile.mkdtemp()),
    )  # short: paths of sockets have a limit
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{folder / 'workflow'}")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("KANBENCH_ROOT", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("KANBENCH_SERVER", raising=False)
    with (folder / "out.txt").open("w") as out:
        workflow = subprocess.Popen(snakemake("--until", "train"), cwd=folder, stdout=out, stderr=out)
    family: list[psutil.Process] = []

    def training() -> bool:
        with suppress(psutil.ZombieProcess, psutil.NoSuchProcess):  # one that ends while it is looked at
            family[:] = psutil.Process(workflow.pid).children(recursive=True)
            served = [each for each in family if "serve" in each.cmdline()]
            return any(child.cpu_times().user > 0.2 for each in served for child in each.children(recursive=True))
        return False

    def gone() -> bool:
        family.extend(each for each in psutil.process_iter() if works_in(each, folder))
        return not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]

    try:
        assert eventually(training), (folder / "out.txt").read_text()
        assert [each for each in family if "train" in each.cmdline()], "a client waits for the run"
        assert [path.name for path in runtime.iterdir() if path.name.startswith("kanbench-server-")]
        (serving,) = [each for each in family if "serve" in each.cmdline() and each.ppid() == workflow.pid]
        workflow.send_signal(signal.SIGKILL)
        if whom != "workflow":
            serving.kill()
        workflow.wait()
        assert eventually(gone, 20.0)
    finally:
        workflow.kill()
        for each in family:
            if each.is_running():
                each.kill()
    if whom != "workflow":
        server._sweep(runtime)  # as the next workflow does
    assert not list(runtime.iterdir()), "the folder of the server goes"
    runtime.rmdir()
    assert not list((folder / "results/tiny/runs").rglob("*.json"))
    (log,) = (folder / "results/tiny/logs/train").rglob("*.log")
    assert "Traceback" not in log.read_text()
