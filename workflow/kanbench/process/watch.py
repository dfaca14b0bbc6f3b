"""Runs work in a process of its own and watches it from outside, so that whatever the work does, its end is known.

What is watched may raise, leave by `sys.exit` or `os._exit`, crash, take all memory, hang inside a call that never
comes back to Python, or leave threads and processes behind. `run` ends all of it and says what happened (`Ending`),
with the last lines that were written to stderr.

The work tells how it goes by signs: `within` declares that a block ends in so many seconds, `alive` that it goes on,
`waiting` that it waits for others and no limit counts. Where nobody watches, signs go nowhere.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import selectors
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from kanbench.process import owner, tree

POLL_SECONDS = 0.2
SIGN_SECONDS = 1.0
"""Least seconds between two signs of life."""
LAST_LINES, LINE_LENGTH, LAST_BYTES = 20, 240, 2**15
LOG_BYTES = 2**24
"""What is passed on of stderr; more is left out, but for its last lines."""
SENT_FROM_OUTSIDE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL)
"""Signals that say nothing about the work: a user or a scheduler sends them."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_signs: int | None = None
_last_sign = 0.0


@dataclass(frozen=True)
class Limits:
    """What ends the work; None is no limit.

    Attributes:
        memory_bytes: Memory of all its processes together.
        grace_seconds: What a block may take beyond the seconds that `within` declares.
        stall_seconds: Longest time without a sign of life.
    """

    memory_bytes: int | None = None
    grace_seconds: float = 60.0
    stall_seconds: float | None = None


@dataclass(frozen=True)
class Ending:
    """How the work ended.

    Attributes:
        kind: `returned`; `exited`, before it returned; `signalled`; `memory`, `time` or `stall`, by the watch;
            `interrupted`, by somebody outside; `orphaned`, since the workflow that asked for it is gone.
        status: What the work returned, or the exit status, or the number of the signal.
        told: Of a limit: what was found and what was allowed.
        lines: The last lines of its stderr.
        left: How many processes were left behind and ended.
    """

    kind: str
    status: int
    told: str = ""
    lines: tuple[str, ...] = ()
    left: int = 0


def alive() -> None:
    """Say that the work goes on; free of cost but for one call a second."""
    global _last_sign
    if _signs is not None and (now := time.monotonic()) - _last_sign > SIGN_SECONDS:
        _last_sign = now
        _say("alive")


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Declare that the block ends within so many seconds; None declares nothing."""
    _say(f"within {seconds}" if seconds is not None else "alive")
    try:
        yield
    finally:
        _say("open")


@contextmanager
def waiting() -> Iterator[None]:
    """Declare that the block waits for others, so that its time does not count."""
    _say("waiting")
    try:
        yield
    finally:
        _say("open")


def _say(sign: str) -> None:
    if _signs is not None:
        with suppress(OSError):
            os.write(_signs, f"{sign}\n".encode())


def run(work: Callable[[], int], limits: Limits | None = None) -> Ending:
    """Do `work` in a child process, return how it ended; nothing that it started outlives it.

    Args:
        work: Returns an exit status. What it writes to stderr is passed on.
        limits: What ends it (default: nothing).
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    before = tree.descendants(os.getpid())
    pipes = [os.pipe(), os.pipe()]
    tree.adopt_orphans(True)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _work(work, parent, [ends[0] for ends in pipes], [ends[1] for ends in pipes], limits or Limits())
    for ends in pipes:
        os.close(ends[1])
    try:
        return _Watch(pid, pipes[0][0], pipes[1][0], limits or Limits(), before).run()
    finally:
        tree.adopt_orphans(False)
        for ends in pipes:
            os.close(ends[0])


def _work(work: Callable[[], int], parent: int, reading: list[int], writing: list[int], limits: Limits) -> None:
    """Be the child: do the work, say that it returned, and end without waiting for anything that it left."""
    global _signs
    status = 1
    try:
        tree.die_with(parent, signal.SIGKILL)
        os.setsid()
        for end in reading:
            os.close(end)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _signs, errors = writing
        os.dup2(errors, 2)
        os.close(errors)
        sys.stderr = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
        faulthandler.enable(sys.stderr)
        _confine(limits.memory_bytes)
        status = work()
        _say(f"returned {status}")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        _say("returned 1")
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status & 0xFF)


def _confine(memory_bytes: int | None) -> None:
    """Have an allocation beyond the limit fail at once, where the kernel can: the watch sees only what is held."""
    if memory_bytes is not None and sys.platform == "linux":
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limits = [limit for limit in (soft, hard, memory_bytes) if limit != resource.RLIM_INFINITY]
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))


class _Watch:
    def __init__(self, pid: int, signs: int, errors: int, limits: Limits, spared: list[int]):
        self.pid, self.limits, self.spared = pid, limits, spared
        self.deadline: float | None = None
        self.allowed = 0.0
        self.last, self.waits = time.monotonic(), False
        self.returned: int | None = None
        self.interrupted: int | None = None
        self.written, self.tail, self.partial = 0, deque(maxlen=64), b""
        self.workflow, self.looked = owner.of_workflow(), 0.0
        self.lost_to_kernel = tree.killed_for_memory()
        self.selector = selectors.DefaultSelector()
        for end, reader in ((signs, self._read_signs), (errors, self._read_errors)):
            os.set_blocking(end, False)
            self.selector.register(end, selectors.EVENT_READ, reader)

    def run(self) -> Ending:
        before = self._catch_signals()
        try:
            cause, status = self._follow()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        left = tree.end(self.pid, self.spared)
        if status is None:
            status = os.waitpid(self.pid, 0)[1]
        for key in list(self.selector.get_map().values()):
            key.data(key.fd)
        self.selector.close()
        if left and cause is None:
            self._pass_on(f"[ended what the run left behind: {left} process(es)]\n".encode())
        return self._ending(cause, os.waitstatus_to_exitcode(status), left)

    def _follow(self) -> tuple[tuple[str, str] | None, int | None]:
        """Wait for the end of the worker or for a reason to end it; return the reason and the worker's wait status."""
        while True:
            for key, _ in self.selector.select(POLL_SECONDS):
                key.data(key.fd)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return None, status
            cause = self._cause()
            if cause is not None:
                return cause, None

    def _cause(self) -> tuple[str, str] | None:
        now, limits = time.monotonic(), self.limits
        if self.interrupted is not None:
            return "interrupted", ""
        if now - self.looked > SIGN_SECONDS:
            self.looked = now
            if self.workflow is not None and self.workflow.lives is False:
                return "orphaned", "the workflow that asked for this run is gone"
        if limits.memory_bytes is not None:
            held = tree.resident_bytes([self.pid, *tree.descendants(self.pid)])
            if held > limits.memory_bytes:
                return "memory", f"{_gib(held)} held, {_gib(limits.memory_bytes)} allowed"
        if self.waits:
            return None
        if self.deadline is not None and now > self.deadline:
            return "time", f"{self.allowed:g} s were over, and {limits.grace_seconds:g} s more, inside a step"
        if limits.stall_seconds is not None and now - self.last > limits.stall_seconds:
            return "stall", f"no sign of life for {limits.stall_seconds:g} s"
        return None

    def _read_signs(self, end: int) -> None:
        content = self._read(end)
        self.last = time.monotonic()
        lines = (self.partial + content).split(b"\n")
        self.partial = lines.pop()
        for line in lines:
            word, _, value = line.decode(errors="replace").partition(" ")
            if word == "alive":
                continue
            self.waits = word == "waiting"
            self.deadline = None
            if word == "within":
                self.allowed = float(value)
                self.deadline = self.last + self.allowed + self.limits.grace_seconds
            elif word == "returned":
                self.returned = int(value)

    def _read_errors(self, end: int) -> None:
        self._pass_on(self._read(end))

    def _read(self, end: int) -> bytes:
        content = b""
        try:
            while part := os.read(end, 65536):
                content += part
                if len(content) > LAST_BYTES * 8:
                    return content
            self.selector.unregister(end)
        except BlockingIOError:
            pass
        return content

    def _pass_on(self, content: bytes) -> None:
        if not content:
            return
        self.tail.append(content[-LAST_BYTES:])
        if self.written <= LOG_BYTES < self.written + len(content):
            content = content[: LOG_BYTES - self.written] + b"\n[more was written; it is left out]\n"
            self.written = LOG_BYTES + 1
        elif self.written > LOG_BYTES:
            return
        self.written += len(content)
        sys.stderr.write(content.decode(errors="replace"))
        sys.stderr.flush()

    def _catch_signals(self) -> dict[int, Any]:
        if threading.current_thread() is not threading.main_thread():
            return {}

        def note(number: int, frame: object) -> None:
            self.interrupted = number

        return {number: signal.signal(number, note) for number in FORWARDED}

    def _ending(self, cause: tuple[str, str] | None, status: int, left: int) -> Ending:
        lines = _lines(b"".join(self.tail))
        if cause is not None:
            kind, told = cause
            return Ending(kind, self.interrupted or status, told, lines, left)
        if self.returned is not None and status >= 0:
            return Ending("returned", self.returned, "", lines, left)
        if status >= 0:
            return Ending("exited", status, "", lines, left)
        if -status == signal.SIGKILL and tree.killed_for_memory() > self.lost_to_kernel:
            return Ending("memory", -status, "the kernel ended it because memory ran out", lines, left)
        return Ending("interrupted" if -status in SENT_FROM_OUTSIDE else "signalled", -status, "", lines, left)


def last_lines(lines: Iterable[str]) -> list[str]:
    """Return the last lines of a log, of printable characters and limited length, without blank ones."""
    texts = ("".join(character for character in line if character.isprintable()) for line in lines)
    return [text[:LINE_LENGTH] for text in texts if text.strip()][-LAST_LINES:]


def _lines(content: bytes) -> tuple[str, ...]:
    return tuple(last_lines(content.decode(errors="replace").splitlines()))


def _gib(number: int) -> str:
    return f"{number / 2**30:.3g} GiB"
