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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kanbench.process import client, owner, tree

ALWAYS = ("numpy", "jsonschema", "yaml", "psutil", "tqdm", "pandas", "matplotlib.pyplot")
TRAINING = (
    "torch", "torch._dynamo", "torch.distributed._tools.mem_tracker", "torch._subclasses.fake_tensor", "torch.func",
    "safetensors.torch", "sympy", "scipy.optimize", "sklearn.linear_model", *ALWAYS,
)  # fmt: skip
RENDERING = ("scipy.stats", "seaborn", "jinja2", *ALWAYS)
PACKAGES = {"train": TRAINING, "profile": TRAINING} | dict.fromkeys(
    ("render", "claims", "report", "findings", "compare"), RENDERING
)
"""What is imported, once, before the first child of a verb; what is not installed is left out."""
PREFIX, OWNER = "kanbench-server-", "owner.json"
POLL_SECONDS = 1.0
IDLE_SECONDS = 900.0
START_SECONDS = 10.0
LONGEST_BASE = 70
"""Bytes of a path below which a socket can lie: Linux allows 107 for the whole path."""
END_SECONDS = 5.0
"""How long a run whose client is gone has to end by itself."""


def start(wanted: bool = True) -> str | None:
    """Start a server for this process and its children; return the path of its socket, None where there is none.

    The server ends with this process. Its folder is private to the user. `KANBENCH_SERVER=off` keeps it from starting.
    """
    if not wanted or os.environ.get(client.VARIABLE) or sys.platform != "linux":
        return None
    private = os.environ.get("XDG_RUNTIME_DIR", "")
    fits = len(os.fsencode(private)) <= LONGEST_BASE and os.access(private, os.W_OK)
    base = Path(private if fits else tempfile.gettempdir())
    _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))  # 0700
    (folder / OWNER).write_text(owner.current().text, encoding="utf-8")
    atexit.register(_remove, folder, os.getpid())  # where the server was killed
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


def _sweep(base: Path) -> None:
    """Remove the folders of servers whose starter is gone, and that were killed themselves."""
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            found = owner.parse((folder / OWNER).read_text(encoding="utf-8", errors="replace"))
            if folder.lstat().st_uid == os.getuid() and found is not None and found.lives is False:
                shutil.rmtree(folder, ignore_errors=True)


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a child that was forked in between
        shutil.rmtree(folder, ignore_errors=True)


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
class _Pending:
    """A client that has not yet said all; `streams` are those that it has handed over."""

    connection: socket.socket
    deadline: float
    content: bytearray = field(default_factory=bytearray)
    streams: list[int] = field(default_factory=list)

    def close(self) -> None:
        self.connection.close()
        for stream in self.streams:
            os.close(stream)


@dataclass
class _Job:
    connection: socket.socket
    pid: int
    deadline: float | None = None


class _Server:
    def __init__(self, listening: socket.socket):
        self.listening, self.jobs, self.last = listening, {}, time.monotonic()
        self.pending: list[_Pending] = []
        self.identity, self.loaded = client.identity(), set()
        self.selector = selectors.DefaultSelector()
        listening.setblocking(False)
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
                elif isinstance(key.data, _Pending):
                    self._listen(key.data)
                else:
                    self._relay(key.data)
            self._reap()
            for pending in [each for each in self.pending if time.monotonic() > each.deadline]:
                self._drop(pending)
        for job in self.jobs.values():
            job.deadline = time.monotonic() + END_SECONDS
            _send(job.pid, signal.SIGTERM)
        while self.jobs:
            time.sleep(0.05)
            self._reap()

    def _accept(self) -> None:
        """Take a client on; what it asks for is read as it comes, so that one that stalls keeps nobody waiting."""
        with suppress(OSError):
            connection, _ = self.listening.accept()
            connection.setblocking(False)
            pending = _Pending(connection, time.monotonic() + START_SECONDS)
            self.pending.append(pending)
            self.selector.register(connection, selectors.EVENT_READ, pending)
            self.last = time.monotonic()

    def _listen(self, pending: _Pending) -> None:
        """Read on; begin once all is there. Whatever is wrong with a request, its client goes on alone."""
        try:
            part, streams, flags, _ = socket.recv_fds(pending.connection, 65536, 3)
            pending.streams += streams
            if flags & socket.MSG_CTRUNC:
                raise ValueError("declined: more than three streams")
            pending.content += part
            content = _request(pending, bool(part))
            if content is not None:
                self._begin(pending, content)
        except BlockingIOError:
            pass
        except Exception:  # no request may end the server
            self._drop(pending)

    def _drop(self, pending: _Pending) -> None:
        self.pending.remove(pending)
        self.selector.unregister(pending.connection)
        pending.close()

    def _begin(self, pending: _Pending, content: Mapping[str, Any]) -> None:
        self._preload(content["arguments"][0])
        if content["identity"] != self.identity or _threads() != 1 or _gone(pending.connection):
            raise ValueError("declined: the client does the work itself")
        connection, server = pending.connection, os.getpid()
        connection.setblocking(True)
        connection.settimeout(None)
        pid = os.fork()
        if pid == 0:
            self._child(connection, content, pending.streams, server)
        self.pending.remove(pending)
        for stream in pending.streams:
            os.close(stream)
        job = _Job(connection, pid)
        self.jobs[pid] = job
        self.selector.modify(connection, selectors.EVENT_READ, job)

    def _preload(self, verb: str) -> None:
        for name in PACKAGES.get(verb, ()):
            if name not in self.loaded:
                self.loaded.add(name)
                with suppress(Exception):  # absent, or broken: the run says so itself where it needs the package
                    importlib.import_module(name)
        gc.collect()
        gc.freeze()  # children do not copy the pages of what was imported

    def _relay(self, job: _Job) -> None:
        """Notice that a client is gone: it takes its child with it. What it says meanwhile is not listened to."""
        with suppress(OSError):
            if job.connection.recv(4096):
                return
        self.selector.unregister(job.connection)
        job.deadline = time.monotonic() + END_SECONDS
        _send(job.pid, signal.SIGTERM)

    def _reap(self) -> None:
        for job in list(self.jobs.values()):
            if job.deadline is not None and time.monotonic() > job.deadline:
                _send(job.pid, signal.SIGKILL)
            pid, status = os.waitpid(job.pid, os.WNOHANG)
            if pid:
                with suppress(OSError):  # the child has said so itself, unless a signal ended it
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
            others = [each for each in (*self.jobs.values(), *self.pending) if each.connection is not connection]
            for held in (self.listening, self.ended, self.wake, *(each.connection for each in others)):
                held.close()
            self.selector.close()
            tree.die_with(server, signal.SIGTERM)
            os.register_at_fork(after_in_child=connection.close)  # whom it forks may outlive it, and must not hold on
            connection.send(client.STATUS.pack(os.getpid()))
            _take_over(content, streams)
            status = _work(content["arguments"])
        except OSError as error:
            print(f"kanbench: {error}", file=sys.stderr)
        finally:
            with suppress(OSError):
                connection.send(client.STATUS.pack(status))
            os._exit(status)


def _request(pending: _Pending, more: bool) -> dict[str, Any] | None:
    """Return what a client asks for, None where it has not yet said all. Raises ValueError where it is malformed."""
    if len(pending.streams) > 3 or len(pending.content) > client.MOST_BYTES + client.HEADER.size:
        raise ValueError("too much")
    size = client.HEADER.unpack_from(pending.content)[0] if len(pending.content) >= client.HEADER.size else None
    if size is not None and size > client.MOST_BYTES:
        raise ValueError("too long")
    if size is None or len(pending.content) < client.HEADER.size + size:
        if not more:
            raise ValueError("the client went away")
        return None
    content = json.loads(bytes(pending.content[client.HEADER.size :]))
    if len(pending.streams) != 3 or not _is_request(content):
        raise ValueError("not a request")
    return content


def _is_request(content: Any) -> bool:
    """Tell whether a document has the form that `client.request` gives it."""
    if not isinstance(content, dict) or content.keys() != client.FORM.keys():
        return False
    if not all(isinstance(content[key], kind) for key, kind in client.FORM.items()):
        return False
    words = [*content["arguments"], *content["path"], *content["environment"].values()]
    numbers = [*content["processors"], content["umask"], content["priority"]]
    limits = [limit for pair in content["limits"].values() for limit in pair]
    return (
        content["arguments"][:1] != []
        and content["arguments"][0] in client.VERBS
        and all(isinstance(word, str) and "\0" not in word for word in words)
        and all(isinstance(number, int) for number in (*numbers, *limits))
        and content["limits"].keys() <= set(client.LIMITS)
    )


def _gone(connection: socket.socket) -> bool:
    """Tell whether a client has left while it waited."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


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
