"""What is refused before a study starts although only its last steps need it."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path

READERS = ("kanbench.verdicts.declared", "kanbench.verdicts.claims")
"""Where the reader of the declared claims may be, the first that there is."""


def refuse_bad_claims(path: Path) -> None:
    """Raise InvalidInput where the file of the claims would be refused after the last run."""
    reader = next(name for name in READERS if find_spec(name))
    importlib.import_module(reader).load(path)
