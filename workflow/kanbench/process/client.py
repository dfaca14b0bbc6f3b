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
VERBS = ("train", "profile", "collect", "render", "claims", "report")
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SET_BY_SCHEDULER = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Thread counts that Snakemake sets for each job; a run sets torch's own by `--threads`."""
ALIKE = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "TORCH", "PYTORCH", "CUDA_", "MPL", "LD_", "PYTHON", "SLURM_")
"""Variables that libraries read at import or that tell one job of a cluster from another: they must be the server's."""
LIMITS = ("RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_STACK")
HEADER = struct.Struct("!I")
STATUS = struct.Struct("!i")


def identity() -> dict[str, Any]:
    """Return what server and client must agree on: interpreter, installed packages, and variables (`ALIKE`).

    An installation changes the time stamp of the folder that it installs into, so an old server is told apart.
    """
    folders = sorted({path for path in sys.path if path.endswith(("site-packages", "dist-packages"))})
    return {
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
        The status, or None where this process has to do the work itself: no server, an old one, or one that went away.
    """
    path = os.environ.get(VARIABLE, "")
    if path in ("", "off") or arguments[:1] == [] or arguments[0] not in VERBS or sys.platform != "linux":
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
            return _follow(connection, arguments)
        except OSError:
            return None


def _follow(connection: socket.socket, arguments: list[str]) -> int | None:
    def forward(number: int, frame: object) -> None:
        with suppress(OSError):
            connection.send(bytes([number]))

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        content = json.dumps(request(arguments)).encode()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        socket.send_fds(connection, [HEADER.pack(len(content))], [0, 1, 2])
        connection.sendall(content)
        answer = connection.recv(STATUS.size, socket.MSG_WAITALL)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if len(answer) < STATUS.size:
        return None
    (status,) = STATUS.unpack(answer)
    if status < 0:  # the child was killed by a signal: end the same way
        signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
        os.kill(os.getpid(), -status)
    return status
