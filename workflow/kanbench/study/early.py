"""What is refused before a study starts although only its last steps need it."""

from __future__ import annotations

from pathlib import Path

from kanbench.verdicts import declared


def refuse_bad_claims(path: Path) -> None:
    """Raise InvalidInput where the file of the claims would be refused after the last run."""
    declared.load(path)
