"""A process that has imported the third-party packages and forks a child for every run (see `kanbench.process.client`).

Still one process a run: a crash, the memory and the side effects of a run end with it. What makes the fork safe:

* The server is single-threaded, checks that it is before every fork, computes nothing and never touches a GPU.
* It imports third-party packages only. The child imports `kanbench`, the models and the baselines anew, so that it
  runs the code that is on disk.
* Where installed packages or variables that libraries read at import differ from the client's, it declines.

Started by the workflow, for local jobs alone; it ends with the process that started it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import random
import resource
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kanbench.process import client

ALWAYS = ("numpy", "jsonschema", "yaml", "psutil", "tqdm", "pandas", "matplotlib.pyplot")
TRAINING = (
    "torch", "torch._dynamo", "torch.distributed._tools.mem_tracker", "torch._subclasses.fake_tensor", "torch.func",
    "safetensors.torch", "sympy", "scipy.optimize", "sklearn.linear_model", *ALWAYS,
)  # fmt: skip
RENDERING = ("scipy.stats", "seaborn", "jinja2", *ALWAYS)
PACKAGES = {"train": TRAINING, "profile": TRAINING} | dict.fromkeys(("render", "claims", "report"), RENDERING)
"""What is imported, once, before the first child of a verb; what is not installed is left out."""
POLL_SECONDS = 1.0
IDLE_SECONDS = 900.0
START_SECONDS = 10.0


def start(wanted: bool = True) -> str | None:
    """Start a server for this process and its children; return the path of its socket, None where there is none.

    The server ends with this process. Its folder is private to the user. `KANBENCH_SERVER=off` keeps it from starting.
    """
    if not wanted or os.environ.get(client.VARIABLE) or sys.platform != "linux":
        return None
    private = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(tempfile.mkdtemp(prefix="kanbench-", dir=private if os.access(private, os.W_OK) else None))  # 0700
    path = folder / "socket"
    command = [sys.executable, "-m", "kanbench", "serve", str(path), "--parent", str(os.getpid())]
    single = dict.fromkeys(client.SET_BY_SCHEDULER, "1")  # a pool of threads does not survive a fork
    process = subprocess.Popen(
        command,
        env={**os.environ, **single},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + START_SECONDS
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        time.sleep(0.02)
    os.environ[client.VARIABLE] = str(path)
    return str(path)


def serve(path: Path, parent: int, idle_seconds: float = IDLE_SECONDS) -> None:
    """Answer requests on the socket `path` until the process `parent` is gone or nothing was asked for a while."""
    import psutil

    try:
        starter = psutil.Process(parent)
    except psutil.NoSuchProcess:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        unready = path.with_name("unready")
        listening.bind(str(unready))
        listening.listen(128)
        unready.rename(path)  # who finds the socket finds it listening
        os.chdir("/")
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
        try:
            _Server(listening).run(starter.is_running, idle_seconds)
        finally:
            shutil.rmtree(path.parent, ignore_errors=True)


@dataclass
class _Job:
    connection: socket.socket
    pid: int


class _Server:
    def __init__(self, listening: socket.socket):
        self.listening, self.jobs, self.last = listening, {}, time.monotonic()
        self.identity, self.loaded = client.identity(), set()
        self.selector = selectors.DefaultSelector()
        self.selector.register(listening, selectors.EVENT_READ)
        self.ended, self.wake = socket.socketpair()
        for end in (self.ended, self.wake):
            end.setblocking(False)
        self.selector.register(self.ended, selectors.EVENT_READ)
        signal.set_wakeup_fd(self.wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # only so that it wakes the selector
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run(self, wanted: Any, idle_seconds: float) -> None:
        while wanted() and (self.jobs or time.monotonic() - self.last < idle_seconds):
            for key, _ in self.selector.select(POLL_SECONDS):
                if key.fileobj is self.listening:
                    self._accept()
                elif key.fileobj is self.ended:
                    with suppress(BlockingIOError):
                        self.ended.recv(4096)
                else:
                    self._relay(key.data)
            self._reap()
        for job in self.jobs.values():
            os.kill(job.pid, signal.SIGKILL)

    def _accept(self) -> None:
        connection, _ = self.listening.accept()
        self.last = time.monotonic()
        streams: list[int] = []
        try:
            connection.settimeout(START_SECONDS)
            header, streams, _, _ = socket.recv_fds(connection, client.HEADER.size, 3)
            content = json.loads(_receive(connection, *client.HEADER.unpack(header)))
            self._preload(content["arguments"][0])
            if content["identity"] != self.identity or len(streams) != 3 or _threads() != 1:
                raise ValueError("declined: the client does the work itself")
            connection.settimeout(None)
            server = os.getpid()
            pid = os.fork()
            if pid == 0:
                self._child(connection, content, streams, server)
        except (OSError, ValueError, KeyError):
            connection.close()
        else:
            job = _Job(connection, pid)
            self.jobs[pid] = job
            self.selector.register(connection, selectors.EVENT_READ, job)
        finally:
            for stream in streams:
                os.close(stream)

    def _preload(self, verb: str) -> None:
        for name in PACKAGES.get(verb, ()):
            if name not in self.loaded:
                self.loaded.add(name)
                with suppress(Exception):  # absent, or broken: the run says so itself where it needs the package
                    importlib.import_module(name)
        gc.collect()
        gc.freeze()  # children do not copy the pages of what was imported

    def _relay(self, job: _Job) -> None:
        """Pass signals on; a client that is gone takes its child with it."""
        try:
            numbers = job.connection.recv(64)
        except OSError:
            numbers = b""
        for number in numbers or [signal.SIGKILL]:
            with suppress(ProcessLookupError):
                os.kill(job.pid, number)
        if not numbers:
            self.selector.unregister(job.connection)

    def _reap(self) -> None:
        for job in list(self.jobs.values()):
            pid, status = os.waitpid(job.pid, os.WNOHANG)
            if pid:
                with suppress(OSError):
                    job.connection.send(client.STATUS.pack(os.waitstatus_to_exitcode(status)))
                with suppress(KeyError):
                    self.selector.unregister(job.connection)
                job.connection.close()
                del self.jobs[pid]
                self.last = time.monotonic()

    def _child(self, connection: socket.socket, content: Mapping[str, Any], streams: list[int], server: int) -> None:
        """Become the client's stand-in, do its work, and never return."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for held in (
                self.listening,
                self.ended,
                self.wake,
                connection,
                *(j.connection for j in self.jobs.values()),
            ):
                held.close()
            self.selector.close()
            _die_with(server)
            _take_over(content, streams)
            status = _work(content["arguments"])
        finally:
            os._exit(status)


def _receive(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            raise ValueError("the client went away")
        content += part
    return content


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _die_with(server: int) -> None:
    """Have the kernel kill this child when the server dies, so that a run is never done twice at once."""
    import ctypes

    death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
    ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != server:
        os._exit(1)


def _take_over(content: Mapping[str, Any], streams: list[int]) -> None:
    """Give this process the streams, environment, folder, limits and import path of the client."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the streams of a process are never closed
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(content["environment"])
    os.environ[client.VARIABLE] = "off"
    os.chdir(content["folder"])
    os.umask(content["umask"])
    for name, (soft, hard) in content["limits"].items():
        with suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (soft, hard))
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, content["priority"])
        os.sched_setaffinity(0, content["processors"])
    sys.path[:] = content["path"]
    sys.argv = ["kanbench", *content["arguments"]]


def _work(arguments: list[str]) -> int:
    """Run the verb with modules of the suite read anew from disk; return the exit status as an interpreter would."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "kanbench"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda._is_in_bad_fork():  # an import has asked for the GPU: start over without it
        os.execv(sys.executable, [sys.executable, "-m", "kanbench", *arguments])
    try:
        runpy.run_module("kanbench", run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    return status & 0xFF
