"""Has a child process try the contract of a baseline, and fails unless every rule was reported.

A baseline may end its process, hang, print without end or leave processes behind: none of it reaches this process,
which imports no torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import Any, BinaryIO

from kanbench.base import paths
from kanbench.baselines import discovery, environments
from kanbench.baselines.outcomes import SCHEMA, RuleResult

ANSWER_SECONDS = 300.0
"""How long one rule may take, importing torch and the baseline included."""
ALL_REPORT = "Every rule is tried and reports its outcome."
KEPT_LINES, KEPT_CHARACTERS = 5, 200
"""How much of the last that a child has printed a message repeats."""
MAX_LINE = 2**16


def check_baseline(name: str, folder: Path | None = None) -> list[RuleResult]:
    """Return the outcome of every rule for every method of a baseline, tried in a process of its own.

    Args:
        name: Name of its folder.
        folder: Where that folder is; default `baselines/` of the suite.
    """
    place = (folder or paths.root() / "baselines") / name
    found, problems = discovery.read(place)
    if found is None:
        return [RuleResult(name, SCHEMA, False, str(problem)) for problem in problems]
    environment = environments.of(found)
    if environment is not None and environments.installed(environment) is None:
        step = f"not built: python -m kanbench environment {name}"
        return [RuleResult(name, SCHEMA, False, f"{found.environment}: its environment is {step}")]
    with tempfile.TemporaryDirectory() as work:
        rules, results, ending = _Child(place.resolve(), Path(work), environment).answers()
    listed = [RuleResult(name, SCHEMA, True, "")]
    for method in found.methods:
        own = {result.rule: result for result in results if result.method == method}
        listed += own.values()
        begun = own.get(rules[0]) if rules else None
        if begun is not None and not begun.ok:
            continue  # what does not build is not tried further
        missing = [rule for rule in rules or ["builds"] if rule not in own]
        listed += [RuleResult(method, rule, False, f"not reported: {ending}", ALL_REPORT) for rule in missing]
    return listed


class _Child:
    """The process that tries the rules, in a working directory, a home and a session of its own."""

    def __init__(self, folder: Path, work: Path, environment: Path | None = None):
        reading, writing = os.pipe()
        interpreter = str(environments.python(environment)) if environment else sys.executable
        package = Path(__file__).resolve().parents[2]
        known = [] if environment else [entry for entry in sys.path if entry]  # an environment has its own packages
        search = dict.fromkeys([str(package), *known])
        settings = {
            "KANBENCH_ROOT": str(paths.root()),
            "PYTHONPATH": os.pathsep.join(search),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.process = subprocess.Popen(
            [interpreter, "-m", "kanbench.baselines.check", str(folder), str(writing)],
            cwd=work,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
            start_new_session=True,
        )
        os.close(writing)
        self.printed: deque[str] = deque(maxlen=KEPT_LINES)
        self.lines: queue.Queue[bytes | None] = queue.Queue()
        self._start(self._listen, os.fdopen(reading, "rb"))
        self._start(self._drain, self.process.stdout)

    @staticmethod
    def _start(act: Any, stream: BinaryIO) -> None:
        threading.Thread(target=act, args=(stream,), daemon=True).start()

    def _listen(self, stream: BinaryIO) -> None:
        with stream:
            while line := stream.readline(MAX_LINE):
                self.lines.put(line)
        self.lines.put(None)

    def _drain(self, stream: BinaryIO) -> None:
        """Read all that is printed, so that it blocks nothing, and keep the last lines."""
        with stream:
            while line := stream.readline(KEPT_CHARACTERS):
                if text := line.decode("utf-8", "replace").strip():
                    self.printed.append(text)

    def answers(self) -> tuple[list[str], list[RuleResult], str]:
        """Return the names of the rules, the outcomes that were reported, and how the process ended."""
        rules: list[str] = []
        results: list[RuleResult] = []
        ending = ""
        try:
            while (line := self.lines.get(timeout=ANSWER_SECONDS)) is not None:
                content = json.loads(line)
                if isinstance(content, list):
                    rules = content
                else:
                    results.append(RuleResult(**content))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(ANSWER_SECONDS)
        except queue.Empty:
            ending = f"no answer in {ANSWER_SECONDS:g} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            status = self.process.wait()
        return rules, results, ending or self._ending(status)

    def _ending(self, status: int) -> str:
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
        said = f"; it said last: {' | '.join(self.printed)}" if self.printed else ""
        return f"the process ended {how}{said}"
