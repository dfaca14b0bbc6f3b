"""Where a number comes from: the code, the machine and the libraries."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Callable, Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from kanbench.base import paths

_SEEN: dict[tuple, str] = {}


def content(name: str) -> str:
    """Return the SHA-256 of a file of the repository, read again where its size or one of its times has changed."""
    path = paths.root() / name
    stat = path.stat()
    key = (str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    if key not in _SEEN:
        _SEEN[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    return _SEEN[key]


def digest(files: Iterable[str], content: Callable[[str], str] = content) -> str:
    """Return the SHA-256 over the names and contents of files of the repository.

    Args:
        files: Their names, relative to the repository.
        content: Returns the digest of one: a caller with many lists of the same files may look each up once.
    """
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\0{content(name)}\0".encode())
    return total.hexdigest()


def code(files: Iterable[str]) -> dict[str, Any]:
    """Return git commit, whether the code differs from it, and the digest of `files`.

    `dirty` means that a tracked file is changed, or that one of `files` is not tracked: a plug-in of one's own.
    Commit and state are null outside a checkout of the suite: a copy that was unpacked into another repository has
    that repository's git around it, and not its own.
    """
    files = sorted(files)
    total = digest(files)
    tracked = _tracked()
    commit = _git("rev-parse", "HEAD") if any(name in tracked for name in files) else None
    changes = None if commit is None else _git("status", "--porcelain", "--untracked-files=no")
    dirty = None if changes is None else bool(changes) or any(name not in tracked for name in files)
    return {"commit": commit, "dirty": dirty, "digest": total}


def _tracked() -> frozenset[str]:
    """Return the files that git tracks in the suite's own checkout; none where the repository is another's."""
    top = _git("rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != paths.root().resolve():
        return frozenset()
    return frozenset((_git("ls-files", "-z") or "").split("\0"))


def _git(*arguments: str) -> str | None:
    surroundings = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(paths.root()), *arguments],
            capture_output=True, text=True, timeout=30, check=True, env=surroundings,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@cache
def accelerator() -> str:
    """Return what decides whether a run can use a GPU here, without importing torch: its version and the devices."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        version = "none"
    return f"torch {version}, {'an' if has_gpu() else 'no'} NVIDIA device"


@cache
def has_gpu() -> bool:
    """Tell whether the system shows an NVIDIA device to this process."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    driver, devices = Path("/proc/driver/nvidia/gpus"), Path("/dev")
    seen = (driver.is_dir() and any(driver.iterdir())) or any(devices.glob("nvidia[0-9]*"))
    return not hidden and (seen or (devices / "dxg").exists())


def environment(device: Any) -> dict[str, Any]:
    """Return the accelerator, driver, library versions and processor of this run; null where there is none."""
    import torch

    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "gpu": gpu,
        "gpu_memory_bytes": torch.cuda.get_device_properties(device).total_memory if gpu else None,
        "driver": _driver() if gpu else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if gpu else None,
        "python": platform.python_version(),
        "cpu": _processor(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(terse=True),
    }


def _driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def _processor() -> str:
    description = Path("/proc/cpuinfo")
    if description.is_file():
        for line in description.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
