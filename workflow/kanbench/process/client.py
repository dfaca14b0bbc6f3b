"""Hands a verb over to a preloaded process, where one listens. Imports next to nothing: that is the point.

A short run spends most of its seconds importing torch. `kanbench.process.server` imports such packages once and forks
a child for every request; the child takes over the streams, folder, environment and arguments of this process, which
then only passes signals on and returns the child's exit status. A run without a server, or one that the server
refuses, goes on in this process, with the same result.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

VARIABLE = "KANBENCH_SERVER"
"""Environment variable with the path of the server's socket; `off` or nothing means none."""
VERBS = ("train", "profile", "collect", "render", "claims", "report", "findings", "compare")
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SET_BY_SCHEDULER = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Thread counts that Snakemake sets for each job; a run sets torch's own by `--threads`."""
ALIKE = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "TORCH", "PYTORCH", "CUDA_", "MPL", "LD_", "PYTHON", "SLURM_")
"""Variables that libraries read at import or that tell one job of a cluster from another: they must be the server's."""
LIMITS = ("RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_STACK")
POLL_SECONDS = 1.0
HEADER = struct.Struct("!I")
STATUS = struct.Struct("!i")
"""What the server answers: the process that does the work, then the exit status of that process."""
MOST_BYTES = 2**24
"""Longest request."""
ACCEPT_SECONDS = 120.0
"""How long a client waits to be accepted, the server's imports included, before it does the work itself."""


FORM = {
    "identity": dict, "arguments": list, "folder": str, "environment": dict, "path": list, "umask": int, "limits": dict,
    "priority": int, "processors": list,
}  # fmt: skip
"""The keys of a request, and the types of their values."""


def identity() -> dict[str, Any]:
    """Return what server and client must agree on: interpreter, installed packages, and variables (`ALIKE`).

    An installation changes the time stamp of the folder that it installs into, so an old server is told apart.
    """
    folders = sorted({path for path in sys.path if path.endswith(("site-packages", "dist-packages"))})
    return {
        "namespace": os.readlink("/proc/self/ns/pid"),  # of process identifiers: signals go by them
        "interpreter": [sys.executable, sys.version, sys.prefix],
        "packages": [[path, os.stat(path).st_mtime_ns] for path in folders if os.path.isdir(path)],
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(ALIKE) and name not in (*SET_BY_SCHEDULER, "PYTHONPATH")
        },
    }


def request(arguments: list[str]) -> dict[str, Any]:
    """Return everything that makes the child a stand-in for this process."""
    mask = os.umask(0)
    os.umask(mask)
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in LIMITS if hasattr(resource, name)}
    return {
        "identity": identity(),
        "arguments": arguments,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "path": sys.path,
        "umask": mask,
        "limits": limits,
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "processors": sorted(os.sched_getaffinity(0)),
    }


def delegate(arguments: list[str]) -> int | None:
    """Run `python -m kanbench <arguments>` in a child of the server; return its exit status.

    Returns:
        The status, or None where this process has to do the work itself: no server, an old one, or one that did not
        answer or went away while the workflow goes on. Where the workflow is gone, too, nobody wants the work any more.
    """
    path = os.environ.get(VARIABLE, "")
    if path in ("", "off") or arguments[:1] == [] or arguments[0] not in VERBS or sys.platform != "linux":
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(ACCEPT_SECONDS)
            connection.connect(path)
            status = _follow(connection, arguments)
        except OSError:
            status = None
    if status is None and _unwanted():
        print(f"kanbench {arguments[0]}: the workflow that asked for this is gone; it is not done", file=sys.stderr)
        return 1
    return status


def _unwanted() -> bool:
    from kanbench.process import owner

    workflow = owner.of_workflow()
    return workflow is not None and workflow.lives is False


def _follow(connection: socket.socket, arguments: list[str]) -> int | None:
    child: list[int] = []
    received: list[int] = []

    def forward(number: int, frame: object) -> None:
        received.append(number)
        for pid in child:
            with suppress(OSError):
                os.kill(pid, number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        content = json.dumps(request(arguments)).encode()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        socket.send_fds(connection, [HEADER.pack(len(content))], [0, 1, 2])
        connection.sendall(content)
        accepted = connection.recv(STATUS.size, socket.MSG_WAITALL)
        if len(accepted) == STATUS.size:
            child += STATUS.unpack(accepted)
        for number in list(received):
            forward(number, None)
        answer = _answer(connection, child[0]) if child else b""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if len(answer) < STATUS.size:
        if received:  # nothing is left that could end by the signal
            os.kill(os.getpid(), received[0])
        return None
    (status,) = STATUS.unpack(answer)
    if status < 0:  # the child was killed by a signal: end the same way
        signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
        os.kill(os.getpid(), -status)
    return status


def _answer(connection: socket.socket, child: int) -> bytes:
    """Return the exit status as the child or the server sends it; nothing where both are gone, or the server stalls."""
    connection.settimeout(POLL_SECONDS)
    gone = 0
    while gone < 3:
        try:
            return connection.recv(STATUS.size, socket.MSG_WAITALL)
        except TimeoutError:
            gone += not _runs(child)
    return b""


def _runs(pid: int) -> bool:
    from kanbench.process import owner

    return owner.started(pid) is not None
