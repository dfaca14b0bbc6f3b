"""Errors that a user can act on: where, what was found, what was expected, what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One problem in something a user wrote.

    Attributes:
        file: The file (repository-relative where possible) that holds the problem.
        key: Dotted path of the key inside that file, or "" for the file as a whole.
        found: What stands there.
        expected: What would be accepted, with the nearest name where there is one.
        next_step: The edit or command that mends it.
    """

    file: str
    key: str
    found: str
    expected: str
    next_step: str

    def __str__(self) -> str:
        where = f"{self.file}: {_shown(self.key)}" if self.key else self.file
        found, expected = _shown(self.found), _shown(self.expected, 4 * MAX_SHOWN)
        return f"{where}\n    found:    {found}\n    expected: {expected}\n    next:     {self.next_step}"


MAX_SHOWN = 300
"""Characters of what was found that a message repeats."""


def _shown(text: str, most: int = MAX_SHOWN) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


class KanbenchError(Exception):
    """Base of the errors that end a command with a message instead of a traceback."""


class InvalidInput(KanbenchError):
    """Raised with every finding at once, never only the first."""

    def __init__(self, findings: Iterable[Finding]):
        self.findings = tuple(findings)
        count = len(self.findings)
        noun = "problem" if count == 1 else "problems"
        super().__init__("\n".join([f"{count} {noun} found:", *(f"  {finding}" for finding in self.findings)]))


class MissingData(KanbenchError):
    """A data set is not where it was looked for. The message names the files, the places and the remedy."""


class Unwritable(KanbenchError, OSError):
    """A file cannot be written: a folder without permission, a full disk, a file where a folder should be."""

    def __init__(self, path: object, error: OSError):
        reason = error.strerror or str(error)
        step = "make the folder writable and free some space, or work in a copy of the suite elsewhere"
        super().__init__(f"cannot write {path}: {reason}\n  next: {step}")


class Unavailable(KanbenchError):
    """A method or an experiment cannot run here (a package or a capability is absent). Becomes `skipped`.

    `missing` says by kind what was not there, for the record: the run is planned again once it is.
    """

    def __init__(self, message: str, missing: Mapping[str, str | None] | None = None):
        super().__init__(message)
        self.missing = dict(missing or {})


def nearest(name: str, known: Sequence[str]) -> str:
    """Return 'one of a, b, c (did you mean b?)' for a message about the unknown `name`."""
    options = ", ".join(sorted(map(str, known)))
    matches = difflib.get_close_matches(str(name)[:MAX_SHOWN], [str(k) for k in known], n=1, cutoff=0.5)
    return f"one of {options} (did you mean '{matches[0]}'?)" if matches else f"one of {options}"
