"""Keeps runs that report times alone on their device, whatever the scheduler was told."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kanbench.base.errors import KanbenchError
from kanbench.process import watch

RUNTIME = f"/run/user/{os.getuid()}/kanbench"
"""Where a session of this user keeps such files, if it has one."""


class NoPrivateFolder(KanbenchError, OSError):
    """No folder that other users cannot reach; the message names those that were tried."""


def private_folder() -> Path:
    """Return a folder that belongs to this user, that nobody else may enter, and that all runs on this machine find.

    Whoever may create the file of a lock, or open it, may keep every run waiting. So a folder of temporary files serves
    only where this user made it and closed it to others.

    Raises:
        NoPrivateFolder: there is none, and none can be made.
    """
    name, home = f"kanbench-{os.getuid()}", os.path.expanduser("~")
    tried = []
    candidates = [Path(RUNTIME), Path(tempfile.gettempdir()) / name]
    candidates.append(Path(home) / ".cache" / "kanbench" / socket.gethostname())
    for folder in candidates:
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=folder == candidates[-1])
        with suppress(OSError):
            if _is_private(folder):
                return folder
        tried.append(str(folder))
    raise NoPrivateFolder(
        "no folder for locks that other users cannot reach\n  tried: " + ", ".join(tried) + "\n"
        "  next: set TMPDIR to a folder of your own, or make one of these yours alone (chmod 700)"
    )


def _is_private(folder: Path) -> bool:
    found = folder.lstat()  # not through a link, which may lead anywhere
    closed = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o077 == 0
    return closed and found.st_uid == os.getuid() and os.access(folder, os.W_OK | os.X_OK)


@contextmanager
def device_lock(device: Any, exclusive: bool) -> Iterator[None]:
    """Hold a device while the block runs: shared with other runs, or alone where `exclusive`.

    The lock is one file a device in a private folder, held by the operating system, so a killed run lets go of it.
    Processes that a run starts do not inherit it. Time spent waiting for it does not count against a watched run.

    Raises:
        NoPrivateFolder: see `private_folder`.
    """
    path = private_folder() / f"{str(device).replace(':', '-')}.lock"
    with open(path, "a", encoding="utf-8") as file:
        with watch.waiting():
            fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
