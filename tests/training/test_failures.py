"""Whatever a plug-in does, its run ends, leaves a record with the reason, and nothing else."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import psutil
import pytest
import torch._dynamo
import torch.distributed._tools.mem_tracker  # noqa: F401 - once here, not in every run

from kanbench.base import schema
from kanbench.base.spec import run_name
from kanbench.cli.parser import main
from kanbench.process import watch
from kanbench.records import frame, record
from kanbench.training import artifact, ensemble, failures, train

DESCRIPTION = """
label: Faulty
cite: {key: hastie2009, url: "https://hastie.su.domains/ElemStatLearn/", licence: MIT}
axes: []
settings: {fault: none, seeds: []}
example: {problem: {family: classification, inputs: 784, outputs: 10}, settings: {}, trainable_parameters: 7850}
"""
MODEL = '''
import os, signal, subprocess, sys, threading, time
import torch
from torch import nn


def hang():
    time.sleep(1000)


def deaf():
    """Hang where no signal of Python is seen."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def raises():
    raise LookupError("no such \\x00 thing\\nsecond line")


def allocate():
    torch.zeros(60 * 2**30 // 4)


def grow():
    held = []
    while True:
        held.append(bytearray(os.urandom(1)) * (16 * 2**20))


def grow_elsewhere():
    subprocess.run([sys.executable, "-c", "a = []\\nwhile True: a.append(bytearray(16 * 2**20))"])


def leave():
    subprocess.Popen(["sleep", "987"], start_new_session=True)
    subprocess.Popen("sleep 987 & sleep 987", shell=True)
    threading.Thread(target=time.sleep, args=(987,)).start()


def interpreter():
    sys.exit(0)


def process():
    print("these are the last words", file=sys.stderr)
    os._exit(0)


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def recurse():
    recurse()


class Dumb(Exception):
    def __str__(self):
        return 3


def dumb():
    raise Dumb


class Net(nn.Module):
    def __init__(self, problem, settings):
        super().__init__()
        self.fault, self.map = settings["fault"], nn.Linear(problem.inputs, problem.outputs)

    def forward(self, x):
        return (self.map(x),) if self.fault == "tuple" else self.map(x)


def build(problem, settings):
    if settings["fault"] == "unbuilt":
        raise ValueError("no such width")
    return Net(problem, settings)


def describe(model):
    return 3 if model.fault == "described" else {}


def idle_hooks(model):
    return [] if model.fault in (*ACTS, "shape") else ["after_step", "penalty"]


def penalty(model):
    return torch.ones(3, 7) if model.fault == "shape" else torch.zeros(())


ACTS = {"hang": hang, "deaf": deaf, "raises": raises, "allocate": allocate, "grow": grow, "crash": crash,
        "grow_elsewhere": grow_elsewhere, "leave": leave, "interpreter": interpreter, "process": process,
        "recurse": recurse, "dumb": dumb}


def after_step(model, step, batch):
    if step == 2:
        ACTS[model.fault]()
'''
LEAST = 2.0
"""Gibibytes that a run needs for its packages, and some more."""


@pytest.fixture
def faulty(spec, tmp_path, monkeypatch):
    """Return a function from a fault to the spec of a run of the method that has it."""
    folder = tmp_path / "baselines" / "faulty"
    folder.mkdir(parents=True)
    (folder / "baseline.yaml").write_text(DESCRIPTION)
    (folder / "model.py").write_text(MODEL)
    monkeypatch.setenv("KANBENCH_ROOT", str(tmp_path))
    spec["method"] = {"name": "faulty", "baseline": "faulty", "variant": None, "settings": {}}

    def _spec(fault: str, **changes) -> dict:
        chosen = json.loads(json.dumps(spec | changes))
        chosen["method"]["settings"] = {"fault": fault, "seeds": []}
        return chosen

    return _spec


def recorded(tmp_path: Path, spec: dict, *options: str) -> dict:
    output = tmp_path / "runs" / f"{run_name(spec)}.json"
    assert main(["train", "--spec", json.dumps(spec), "--output", str(output), *options]) == 0
    content = record.read(output)
    assert not schema.findings(content, "record", "record")
    return content


@pytest.mark.parametrize(
    ("fault", "options", "status", "reason"),
    [
        ("raises", (), "failed", "LookupError: no such  thing (baselines/faulty/model.py, line "),
        ("unbuilt", (), "failed", "ValueError: no such width (baselines/faulty/model.py, line "),
        ("recurse", (), "failed", "RecursionError"),
        ("shape", (), "failed", "RuntimeError: grad can be implicitly created only for scalar outputs"),
        ("tuple", (), "failed", "'tuple' object has no attribute"),
        ("described", (), "failed", "describe returned a int, not a mapping"),
        ("dumb", (), "failed", "Dumb: no message, since its __str__ raised"),
        ("interpreter", (), "failed", "sys.exit(0)"),
        ("process", (), "failed", "ended its process with exit status 0"),
        ("crash", (), "failed", "SIGSEGV"),
        ("hang", ("--grace-seconds", "0.5"), "timed_out", "1 s were over, and 0.5 s more"),
        ("deaf", ("--grace-seconds", "0.5"), "timed_out", "1 s were over, and 0.5 s more"),
        ("allocate", (), "out_of_memory", "can't allocate memory"),
        ("grow", ("--memory-gib", f"{LEAST}"), "out_of_memory", ""),
        ("grow_elsewhere", ("--memory-gib", f"{LEAST}"), "out_of_memory", f"{LEAST:.3g} GiB allowed"),
    ],
)
def test_the_end_of_a_run_is_a_record_with_its_reason(faulty, tmp_path, fault, options, status, reason, capsys):
    spec = faulty(fault)
    spec["training"]["timeout_seconds"] = 1.0
    found = recorded(tmp_path, spec, *options)
    assert found["status"] == status
    assert reason in found["reason"]
    assert "\n" not in found["reason"]
    assert found["metrics"]["selected"] is None
    shown = capsys.readouterr()
    assert f"{status}  {run_name(spec)}" in shown.out
    if status == "failed":
        assert found["log"][-1] in watch.last_lines(shown.err.splitlines())


def test_the_last_lines_of_the_log_are_in_the_record(faulty, tmp_path):
    assert recorded(tmp_path, faulty("process"))["log"][-1] == "these are the last words"
    log = recorded(tmp_path, faulty("raises"))["log"]
    assert any('File "baselines/faulty/model.py"' in line for line in log), "paths are those of the repository"


def test_a_run_that_leaves_threads_and_processes_keeps_its_record_and_they_end(faulty, tmp_path):
    found = recorded(tmp_path, faulty("leave"))
    assert found["status"] == "ok"
    assert found["metrics"]["selected"]["step"] == 4
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "987"]]


def test_a_run_that_shows_no_sign_of_life_is_ended(faulty, tmp_path):
    started = time.monotonic()
    found = recorded(tmp_path, faulty("hang"), "--stall-seconds", "3")
    assert (found["status"], found["reason"]) == ("timed_out", "no sign of life for 3 s")
    assert time.monotonic() - started < 60


def test_runs_that_are_together_fail_apart(faulty, tmp_path):
    specs = [faulty("process", seed=0), faulty("process", seed=1)]
    outputs = [tmp_path / "runs" / f"{run_name(spec)}.json" for spec in specs]
    pairs = zip(specs, outputs, strict=True)
    words = [word for spec, output in pairs for word in ("--spec", json.dumps(spec), "--output", str(output))]
    assert main(["train", *words]) == 0
    assert [record.read(output)["status"] for output in outputs] == ["failed", "failed"]


def test_one_that_raises_among_runs_together_leaves_the_others_alone(faulty, monkeypatch):
    build = ensemble.Attempt.build

    def _build(attempt):
        if attempt.spec["seed"] == 1:
            raise ValueError("not this seed")
        build(attempt)

    monkeypatch.setattr(ensemble.Attempt, "build", _build)
    found = ensemble.run([faulty("none", seed=seed) for seed in (0, 1, 2)])
    assert [each["status"] for each in found] == ["ok", "failed", "ok"]
    assert "not this seed" in found[1]["reason"]


def test_who_waits_for_the_weights_of_a_run_that_ended_its_process_is_skipped(faulty, tmp_path):
    spec = faulty("process") | {"keep": "model"}
    found = recorded(tmp_path, spec)
    state, status = artifact.read(tmp_path / "runs", spec)
    assert (state, status) == ({}, "failed")
    assert set(found["artifacts"]) == {"model", "model_sha256"}


@pytest.mark.parametrize("error", [NameError("x"), KeyError("x"), ZeroDivisionError("x"), AssertionError()])
def test_a_slip_of_the_harness_is_no_outcome(error, spec, monkeypatch):
    """What is raised in a file of the harness, not below a plug-in, ends the job."""
    code = compile("def broken(*given, **named): raise error", train.loop.__file__, "exec")
    names = {"error": error}
    exec(code, names)
    monkeypatch.setattr(train.loop.Training, "begin", names["broken"])
    with pytest.raises(type(error)):
        train.run(spec)


def test_a_slip_of_the_harness_fails_the_job_with_its_traceback(spec, tmp_path, monkeypatch, capsys):
    monkeypatch.delattr(train.loop.Training, "look")
    output = tmp_path / "r.json"
    assert main(["train", "--spec", json.dumps(spec), "--output", str(output)]) == 1
    assert "AttributeError" in capsys.readouterr().err
    assert not output.exists()


def test_failed_runs_count_as_failures_of_the_method(faulty, tmp_path):
    rows = frame.to_frame([recorded(tmp_path, faulty("raises"))])
    assert "failed" in frame.FAILED
    assert set(record.STATUSES) == {*frame.STATUSES} - {"absent"}
    assert rows["error"].isna().all()


def test_memory_that_a_gpu_or_a_processor_lacks_is_told_from_other_errors():
    class OutOfMemoryError(RuntimeError):
        pass

    assert failures.lacks_memory(MemoryError())
    assert failures.lacks_memory(OutOfMemoryError("CUDA"))
    assert failures.lacks_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1"))
    assert not failures.lacks_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not failures.lacks_memory(ValueError("out of memory"))


def test_a_run_in_this_process_has_the_same_record(faulty, tmp_path):
    found = recorded(tmp_path, faulty("raises"), "--unwatched")
    assert found["status"] == "failed"
    assert os.getpid() == psutil.Process().pid


@pytest.mark.parametrize("place", ["file", "package", "build"])
def test_a_broken_import_says_how_the_run_is_made_again_and_then_it_is(faulty, tmp_path, monkeypatch, place):
    monkeypatch.syspath_prepend(tmp_path / "packages")
    (tmp_path / "packages/half_there").mkdir(parents=True)
    (tmp_path / "packages/half_there/__init__.py").write_text("import arrives_later\n")
    folder = tmp_path / "baselines/faulty"
    if place == "package":
        (folder / "baseline.yaml").write_text(f"{DESCRIPTION}requires: [half_there]\n")
    else:
        where = "import os, signal" if place == "file" else '    if settings["fault"] == "unbuilt":'
        indent = "" if place == "file" else "    "
        (folder / "model.py").write_text(MODEL.replace(where, f"{indent}import half_there\n{where}", 1))
    result = recorded(tmp_path, faulty("none"), "--threads", "1")
    assert result["status"] == "failed"
    assert "No module named 'arrives_later'" in result["reason"]
    assert result["reason"].endswith("; once it can be imported, `python -m kanbench retry` makes this run again")
    (tmp_path / "packages/arrives_later.py").write_text("")
    assert recorded(tmp_path, faulty("none"))["status"] == "ok"


def test_what_is_no_import_asks_for_no_package(faulty, tmp_path):
    assert "kanbench retry" not in recorded(tmp_path, faulty("raises"))["reason"]
