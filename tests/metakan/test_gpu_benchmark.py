"""The logic of benchmarks/gpu_engine.py, on a processor; what it says about a GPU only one can show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks/gpu_engine.py"
SMALL = ["--device", "cpu", "--width", "6", "5", "3", "--batches", "2", "4", "--features", "40", "--rounds", "1"]


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so():
    finished = run()
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.startswith("no CUDA device")


def test_every_promise_gets_a_row_and_failures_an_exit_status():
    finished = run(*SMALL)
    lines = finished.stdout.splitlines()[2:]
    rows = [line for line in lines if not line.startswith("  ")]
    assert len([line for line in lines if "peak of " in line]) == 2 * 4
    assert [row[:26].strip() for row in rows] == [
        "peak over MLP, batch 2",
        "peak over efficient-KAN, b",
        "step time over efficient-K",
        "aim: step time over effici",
        "step time over efficient-K",
        "aim: step time over effici",
        "one step of [40, 40], 0.00",
    ]
    assert not any(" FAIL " in row for row in rows if row.startswith("aim: "))
    assert finished.returncode == (1 if any(" FAIL " in row for row in rows) else 0), finished.stderr
    assert " pass " in rows[-1]


def test_only_one_section_runs_on_request():
    finished = run(*SMALL, "--only", "billion")
    assert finished.returncode == 0, finished.stderr
    assert len(finished.stdout.splitlines()) == 3
