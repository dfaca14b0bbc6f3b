"""A process with all that it started: how much memory they hold, and how to end them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from kanbench.process import owner

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <sys/prctl.h>
PAGE = os.sysconf("SC_PAGE_SIZE")
END_SECONDS = 10.0
LISTED_BY_KERNEL = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_bytes() -> int:
    """Return the memory of this machine, or of the container or job that this process is confined to."""
    total = os.sysconf("SC_PHYS_PAGES") * PAGE
    for file in CGROUPS:
        with suppress(OSError, ValueError):
            total = min(total, int(Path(file).read_text(encoding="ascii")))
    return total


def killed_for_memory() -> int:
    """Return how many processes the kernel has ended so far because memory ran out; 0 where it does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those started by them; those that are gone are left out."""
    found, waiting = [], [pid]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    if not LISTED_BY_KERNEL:
        import psutil

        with suppress(psutil.Error):
            found += [child.pid for child in psutil.Process(pid).children()]
        return found
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return found


def resident_bytes(pids: Iterable[int]) -> int:
    """Return the memory that processes hold: what is private of each, and the largest share that may be shared."""
    held = [_resident_and_common(pid) for pid in pids]
    return sum(resident - common for resident, common in held) + max((common for _, common in held), default=0)


def _resident_and_common(pid: int) -> tuple[int, int]:
    with suppress(OSError, IndexError, ValueError):
        words = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
        return int(words[1]) * PAGE, int(words[2]) * PAGE
    if sys.platform != "linux":
        import psutil

        with suppress(psutil.Error):
            return psutil.Process(pid).memory_info().rss, 0
    return 0, 0


def adopt_orphans(wanted: bool) -> None:
    """Become, or stop being, the parent of descendants whose own parent has ended (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


def die_with(parent: int, number: int) -> None:
    """Have the kernel send this process a signal when its parent ends (Linux); end now where that is so already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def end(pid: int, spared: Iterable[int] = ()) -> int:
    """End the process group `pid` and all descendants of this process but `spared`; return how many others there were.

    Adopted orphans are descendants, too. The process `pid` itself is left for its parent to reap.
    """
    spared, ended = {*spared}, set()
    deadline = time.monotonic() + END_SECONDS
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    while time.monotonic() < deadline:
        known = {pid, *descendants(pid), *descendants(os.getpid())} - spared
        left = [child for child in known if _runs(child, reap=child != pid)]
        if not left:
            break
        for child in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        ended |= {*left} - {pid}
        time.sleep(0.01)
    return len(ended)


def _runs(pid: int, reap: bool) -> bool:
    """Tell whether a process still runs; where it is an adopted child that has ended, collect its exit status."""
    if reap:
        with suppress(ChildProcessError):
            return os.waitpid(pid, os.WNOHANG) == (0, 0)
    return owner.started(pid) is not None
