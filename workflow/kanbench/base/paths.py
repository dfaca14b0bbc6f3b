"""Where the suite's own files and the data sets are."""

from __future__ import annotations

import os
from pathlib import Path

DATA_VARIABLE = "KANBENCH_DATA"


def root() -> Path:
    """Return the repository that holds `Snakefile` and `baselines/`.

    `KANBENCH_ROOT` decides where it is set; otherwise the nearest parent of the working directory that looks
    like the suite; otherwise the checkout this package was installed from.
    """
    declared = os.environ.get("KANBENCH_ROOT")
    if declared:
        return Path(declared).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "Snakefile").is_file() and (folder / "baselines").is_dir():
            return folder
    return Path(__file__).resolve().parents[3]


def data_root(given: Path | str | None = None) -> Path:
    """Return the folder in which data sets are sought."""
    return Path(given or os.environ.get(DATA_VARIABLE) or root() / ".data")


def relative(path: Path) -> str:
    """Return `path` relative to the repository where it lies inside it, as text for messages."""
    try:
        return path.resolve().relative_to(root()).as_posix()
    except ValueError:
        return str(path)


def exists(path: Path) -> bool:
    """Tell whether there is such a file or folder; false for what no file can be called."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
