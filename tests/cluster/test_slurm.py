"""The Slurm profile on a cluster of this one machine: `make test-cluster`, as root, with slurm-wlm and munge installed.

A study is run through it; a job is cancelled, the controller is killed and started again, the workflow is killed and
started again; the records in the end are those of a run without Slurm.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
ASKED = os.environ.get("KANBENCH_CLUSTER") == "1"
LACKING = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ASKED, reason="`make test-cluster` sets a cluster up and tries it"),
    pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}"),
]
SECONDS = float(os.environ.get("KANBENCH_CLUSTER_SECONDS", 600))
"""How long any one thing is waited for; a busy machine takes its time."""
QUICK = ("--slurm-init-seconds-before-status-checks", "2", "--slurm-status-command", "squeue", "--latency-wait", "20")


def until(condition: Callable[[], object], what: str) -> object:
    """Return what a condition gives as soon as it gives something."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {SECONDS:g} s for {what}")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A Slurm cluster; the function that it gives runs a client and returns what it prints."""
    folder = tmp_path / "cluster"
    subprocess.run([HERE / "sandbox.sh", "start", folder], check=True, timeout=SECONDS)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    try:
        yield folder
    finally:
        subprocess.run([HERE / "sandbox.sh", "stop", folder], check=False, timeout=60)


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def running() -> list[str]:
    """Return the numbers of the jobs that run."""
    return slurm("squeue", "--noheader", "--states=RUNNING", "--format=%i").split()


@pytest.fixture
def study(suite, tiny) -> Path:
    """A copy of the suite with a study of some seconds a run, of which two ask for a GPU that is not there."""
    tiny["seeds"] = [0, 1]
    first = tiny["experiments"]["E1"]
    first["training"] |= {"steps": 1500}
    tiny["experiments"]["E2"] = {**first, "device": "cuda", "methods": ["affine"]}
    (suite / "tiny.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
    return suite


def command(*more: str) -> list[str]:
    words = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", "--configfile", "tiny.yaml"]
    return [*words, *QUICK, *more, "--until", "collect"]


def start(study: Path, log: Path) -> subprocess.Popen:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{study}{os.pathsep}{study / 'workflow'}",
        "KANBENCH_ROOT": str(study),
    }
    return subprocess.Popen(
        command(), cwd=study, env=environment, stdout=log.open("a"), stderr=subprocess.STDOUT, start_new_session=True
    )


def records(study: Path) -> dict[str, dict]:
    found = {}
    for file in sorted((study / "results/tiny/runs").rglob("[!.]*.json")):
        content = json.loads(file.read_text())
        found[content["run"]] = {key: content[key] for key in ("spec", "status", "metrics", "parameters", "data")}
    return found


def finished(log: Path) -> int:
    """Return how many jobs the workflow has announced as finished."""
    return log.read_text().count("Finished jobid")


def test_a_study_survives_a_lost_job_a_lost_controller_and_a_lost_workflow(cluster, study, run, tmp_path):
    log = tmp_path / "workflow.log"
    workflow = start(study, log)
    (job, *_) = until(running, "a job that runs")
    slurm("scancel", job)
    until(lambda: job not in running(), "the end of the job that was cancelled")

    # Not at once: what a controller has not yet written down is lost with it.
    until(lambda: finished(log) or workflow.poll() is not None, "a finished run")
    before = finished(log)
    os.kill(int((cluster / "slurmctld.pid").read_text()), signal.SIGKILL)
    time.sleep(1)
    subprocess.run([HERE / "sandbox.sh", "controller", cluster], check=True, timeout=SECONDS)
    until(lambda: finished(log) > before or workflow.poll() is not None, "a run finished after that")
    assert workflow.poll() is None, f"the workflow ended with the controller: {log.read_text()[-4000:]}"

    os.killpg(workflow.pid, signal.SIGKILL)
    workflow.wait()
    done = finished(log)
    slurm("scancel", "--user=root")
    until(lambda: not slurm("squeue", "--noheader").split(), "an empty queue")
    written = {file: file.stat().st_mtime_ns for file in (study / "results/tiny/runs").rglob("[!.]*.json")}
    assert 2 <= done < 6, "the workflow was killed on its way"

    again = start(study, log)
    assert again.wait(timeout=SECONDS) == 0, log.read_text()[-4000:]
    found = records(study)
    assert len(found) == 6
    assert sorted(entry["status"] for entry in found.values()) == ["ok"] * 4 + ["skipped"] * 2
    kept = [file for file, time_written in written.items() if file.stat().st_mtime_ns == time_written]
    assert len(kept) >= done, "a finished run is not made again"

    jobs = slurm("scontrol", "show", "jobs", "--oneliner").splitlines()
    with_gpu = [line for line in jobs if re.search(r"Tres\S*=\S*gpu:1", line)]
    assert len(with_gpu) >= 2, "the runs of the device cuda ask for a GPU"
    assert len(with_gpu) < len(jobs), "the others do not"
    assert all("TimeLimit=04:00:00" in line or "TimeLimit=01:00:00" in line for line in jobs), "limits of the profile"
    assert list((study / "slurm_logs").rglob("*.log")), "what Slurm printed is kept"

    other = tmp_path / "local"
    shutil.copytree(study, other, ignore=shutil.ignore_patterns("results", ".snakemake", "cluster", "local"))
    words = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "tiny.yaml", "--until", "collect"]
    done = run(words, other)
    assert done.returncode == 0, done.stdout + done.stderr
    assert records(other) == found, "the records are those of a run without Slurm"


def test_short_jobs_are_grouped(study, run):
    announced = run(command("--dry-run"), study)
    assert announced.returncode == 0, announced.stdout + announced.stderr
    profile = yaml.safe_load((study / "profiles/slurm/config.yaml").read_text())
    assert "figure=pages" in profile["groups"]
    assert profile["group-components"] == ["pages=20"]
