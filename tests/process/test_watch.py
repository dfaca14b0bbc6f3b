"""Work in a process of its own ends, however it behaves, and its end is told from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from kanbench.process import owner, tree, watch


def test_what_work_returns_and_writes_comes_back(capsys):
    def work() -> int:
        print("one\x1b[31m\n\ntwo", file=sys.stderr)
        return 5

    ending = watch.run(work)
    assert (ending.kind, ending.status, ending.lines, ending.left) == ("returned", 5, ("one[31m", "two"), 0)
    assert "two" in capsys.readouterr().err


def test_an_error_is_written_and_returns_one(capsys):
    assert watch.run(lambda: [][1]).status == 1
    assert "IndexError" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGHUP])
def test_a_signal_from_outside_says_nothing_about_the_work(number):
    ending = watch.run(lambda: os.kill(os.getpid(), number) or time.sleep(5) or 0)
    assert ending.kind in ("interrupted", "returned")
    assert number != signal.SIGKILL or ending.kind == "interrupted"


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV])
def test_a_crash_is_told_by_its_signal(number):
    ending = watch.run(lambda: os.kill(os.getpid(), number) or 0)
    assert (ending.kind, ending.status) == ("signalled", number)


def test_signs_of_life_and_declared_blocks_move_the_limits():
    def steps() -> int:
        for _ in range(8):
            time.sleep(0.25)
            watch._last_sign = 0.0
            watch.alive()
        return 0

    def declared() -> int:
        with watch.within(0.2):
            pass
        time.sleep(1.0)
        return 0

    assert watch.run(steps, watch.Limits(stall_seconds=1.0)).kind == "returned"
    assert watch.run(declared, watch.Limits(grace_seconds=0.1)).kind == "returned", "the block has ended"
    watch.alive()  # goes nowhere here


def test_a_run_whose_workflow_is_gone_ends(monkeypatch):
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setenv(owner.VARIABLE, owner.current(gone.pid).text)
    gone.kill()
    gone.wait()
    started = time.monotonic()
    ending = watch.run(lambda: time.sleep(60) or 0)
    assert (ending.kind, ending.told) == ("orphaned", "the workflow that asked for this run is gone")
    assert time.monotonic() - started < 20


def test_processes_that_were_there_before_are_spared():
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ending = watch.run(lambda: subprocess.Popen(["sleep", "60"], start_new_session=True).poll() or 0)
    assert ending.left == 1
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_the_log_is_bounded_and_its_end_is_kept(monkeypatch, capsys):
    monkeypatch.setattr(watch, "LOG_BYTES", 10_000)

    def work() -> int:
        for number in range(5000):
            print(f"line {number}", file=sys.stderr)
        return 0

    ending = watch.run(work)
    shown = capsys.readouterr().err
    assert len(shown) < 11_000
    assert "[more was written; it is left out]" in shown
    assert ending.lines[-1] == "line 4999"
    assert len(ending.lines) == watch.LAST_LINES


def test_memory_is_that_of_a_process_and_all_that_it_started():
    mebibytes = 200
    code = f"held = b'x' * ({mebibytes} * 2**20); print('up', flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    parent = subprocess.Popen([sys.executable, "-c", f"import os; os.fork(); {code}"], **pipes)
    parent.stdout.readline()
    parent.stdout.readline()
    pids = [parent.pid, *tree.descendants(parent.pid)]
    assert len(pids) == 2
    assert tree.resident_bytes(pids) > 2 * mebibytes * 2**20
    assert tree.resident_bytes([2**22 + 1]) == 0
    assert 2**28 < tree.machine_bytes() <= psutil.virtual_memory().total
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    parent.wait()
