"""The fused kernels: their cases in Triton's interpreter, compilation for GPUs that are not here, and runs on one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

from metakan import MetaKAN, MetaKANLinear
from metakan.engine import fused
from metakan.engine.shape import FullyConnected

triton = pytest.importorskip("triton", reason="triton is not installed")

ROOT = Path(__file__).resolve().parents[2]


def release(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess:
    """Run Python in a process of its own, where nothing has imported Triton yet."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": str(ROOT), **variables}
    return subprocess.run([sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True)


def run_cases(**variables: str) -> None:
    finished = run(["-m", "pytest", "-p", "no:cacheprovider", "tests/metakan/fused_cases.py"], **variables)
    assert finished.returncode == 0, finished.stdout[-6000:]
    assert int(re.search(r"(\d+) passed", finished.stdout)[1]) >= 28
    assert "skipped" not in finished.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    release(triton.__version__) < (3, 7) and release(numpy.__version__) >= (2, 4),
    reason="before 3.7 Triton's interpreter cannot count loops with NumPy 2.4 or later: pip install 'numpy<2.4'",
)
def test_the_cases_hold_in_the_interpreter():
    run_cases(TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")


@pytest.mark.gpu
@pytest.mark.slow
def test_the_cases_hold_on_a_gpu():
    run_cases()


def test_on_a_processor_auto_never_takes_it():
    layer = MetaKANLinear(3, 2)
    assert not fused.available(torch.rand(4, 3), layer.edges.source(), layer.basis, FullyConnected())
    big = MetaKAN([300, 300])
    big(torch.rand(64, 300))
    assert big.mode_used in ("walk", "tiled")


def test_only_what_the_kernels_serve_is_available(monkeypatch):
    monkeypatch.delenv("METAKAN_FUSED", raising=False)
    monkeypatch.setattr(fused, "_runs_on", lambda device: True)

    def served(layer):
        return fused._available(torch.rand(4, 3), layer.edges.source(), layer.basis, FullyConnected())

    assert served(MetaKANLinear(3, 2))
    assert served(MetaKANLinear(3, 2).bfloat16())
    assert not served(MetaKANLinear(3, 2).double())
    assert not served(MetaKANLinear(3, 2, basis="rbf"))
    monkeypatch.setenv("METAKAN_FUSED", "0")
    assert not served(MetaKANLinear(3, 2))


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from metakan.engine import triton_kernels
from metakan.engine.fused import OPTIONS, Plan, kernel_constants

for name, plan in (
    ("forward_kernel", Plan.of), ("input_gradient_kernel", Plan.of), ("parameter_gradient_kernel", Plan.of_parameters)
):
    kernel = getattr(triton_kernels, name)
    constants = kernel_constants(plan(128, 9, 32), 9, 3, 32, 1, "tf32x3")
    types = {arg: "constexpr" if arg in constants else "i32" if arg.isupper() else "*fp32" for arg in kernel.arg_names}
    places = {(kernel.arg_names.index(arg),): value for arg, value in constants.items()}
    source = ASTSource(fn=kernel, signature=types, constexprs=places)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=OPTIONS)
    assert "mma" in compiled.asm["ptx"], "no tensor cores"
    assert compiled.asm["cubin"]
    print(compiled.metadata.shared)
"""


@pytest.mark.slow
def test_the_kernels_compile_for_gpus_that_are_not_here(tmp_path):
    finished = run(["-c", COMPILE], TRITON_CACHE_DIR=str(tmp_path))
    assert finished.returncode == 0, finished.stderr[-2000:]
    shared = [int(line) for line in finished.stdout.split()]
    assert len(shared) == 3
    assert max(shared) <= 99 * 1024, "bytes that a program may have from sm_86 on"


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("batch", [1, 128, 1000])
def test_networks_on_a_gpu_take_it_and_agree_with_the_tiled_form(batch, dtype, capsys):
    torch.manual_seed(0)
    model = MetaKAN([784, 256, 256, 10]).cuda()
    x, found = 1.5 * torch.randn(batch, 784, device="cuda"), []
    for mode in ("auto", "tiled"):
        for layer in model.layers[:2]:
            layer.mode = mode
        with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
            y = model(x)
        assert [layer.mode_used for layer in model.layers[:2]] == ["fused" if mode == "auto" else "tiled"] * 2
        found.append([y.float(), *torch.autograd.grad(y.float().square().mean(), list(model.parameters()))])
    limit = 1e-4 if dtype == torch.float32 else 3e-2
    for a, b in zip(*found, strict=True):
        assert ((a - b).norm() / b.norm()).item() < limit
    assert capsys.readouterr().out == ""
