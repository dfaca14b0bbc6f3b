"""Lets the same command go on after `kill -9`, which leaves Snakemake's lock behind.

Snakemake refuses to start while a lock exists, and asks for `--rerun-incomplete` where a job was in flight. Both
protect files that are half written; the suite has none, since every file is renamed into place. So a lock whose
owner is gone is removed, together with the marks of the jobs that it was running.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil


def release_stale_lock(folder: Path) -> bool:
    """Remove the lock and the marks of a dead Snakemake in `folder`; return whether there was one to remove."""
    state = folder / ".snakemake"
    if not (state / "locks").is_dir() or not any((state / "locks").iterdir()) or _owner_lives(folder):
        return False
    for name in ("locks", "incomplete"):
        shutil.rmtree(state / name, ignore_errors=True)
    return True


def _owner_lives(folder: Path) -> bool:
    """Tell whether another Snakemake process works in `folder`; a parent counts, the process itself does not."""
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            words = process.cmdline()
            interpreter = bool(words) and Path(words[0]).name.startswith("python")  # not `timeout … snakemake`
            snakemake = any(Path(word).name == "snakemake" for word in words[1:4])
            if interpreter and snakemake and Path(process.cwd()).resolve() == folder.resolve():
                return True
        except psutil.Error:
            continue
    return False
