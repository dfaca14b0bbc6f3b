"""Keeps runs that report times alone on their device, whatever the scheduler was told."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def device_lock(device: Any, exclusive: bool) -> Iterator[None]:
    """Hold a device while the block runs: shared with other runs, or alone where `exclusive`.

    The lock is one file per user and device, held by the operating system, so a killed run lets go of it.
    """
    name = str(device).replace(":", "-")
    path = Path(tempfile.gettempdir()) / f"kanbench-{os.getuid()}-{name}.lock"
    with open(path, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
