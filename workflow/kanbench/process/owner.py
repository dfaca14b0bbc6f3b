"""Names a process for others to ask later whether it still lives, from this machine or from another one.

A process identifier alone says little: another process gets it after a restart, and it means nothing in another
container. So it stands beside the machine, its boot, the namespace of identifiers and the time of the start.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VARIABLE = "KANBENCH_WORKFLOW"
"""Environment variable in which a workflow names itself to its jobs."""


@dataclass(frozen=True)
class Owner:
    """A process: where it runs (`host`, `boot`, `namespace` of identifiers), and which one it is there.

    Attributes:
        started: Its start in clock ticks (Linux) or seconds (elsewhere) since the machine's, as text.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    @property
    def here(self) -> bool:
        """Whether this process could see it: same machine, same namespace of identifiers."""
        place = _place()
        return (self.host, self.namespace) == (place["host"], place["namespace"])

    @property
    def lives(self) -> bool | None:
        """Whether it still runs; None where that cannot be told from here."""
        if self.host == _place()["host"] and self.boot != _place()["boot"]:
            return False  # the machine has started anew since
        return started(self.pid) == self.started if self.here else None

    @property
    def text(self) -> str:
        """All of it as one line."""
        return json.dumps(asdict(self), sort_keys=True)


def current(pid: int | None = None) -> Owner:
    """Return the owner that this process, or the process `pid`, is."""
    pid = os.getpid() if pid is None else pid
    return Owner(**_place(), pid=pid, started=started(pid) or "")


def parse(text: str) -> Owner | None:
    """Return the owner that `text` names, None where it names none."""
    try:
        content: Mapping[str, Any] = json.loads(text)
        owner = Owner(**content)
    except (ValueError, TypeError, RecursionError):
        return None
    return owner if isinstance(owner.pid, int) and owner.pid > 0 else None


def of_workflow() -> Owner | None:
    """Return the workflow that this process is a job of, None where nothing says so."""
    return parse(os.environ.get(VARIABLE, ""))


def _place() -> dict[str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        import psutil

        boot, namespace = f"{psutil.boot_time():.0f}", ""
    return {"host": socket.gethostname(), "boot": boot, "namespace": namespace}


def started(pid: int) -> str | None:
    """Return when a process started, None where there is none, or one that only waits to be reaped."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if words[0] in "ZX" else words[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except (OSError, IndexError):
        return None
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None
