"""Creates a baseline from a template, which keeps the contract as it is, or around a module of an installed package."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from kanbench.base import paths
from kanbench.base.errors import Finding, InvalidInput
from kanbench.baselines import description

TEMPLATE, ESTIMATOR = "baselines/_template", "baselines/_estimator"
PLACEHOLDER = "my_baseline"


def new_baseline(name: str, folder: Path | None = None, template: str = TEMPLATE) -> Path:
    """Copy a template to `<folder>/<name>` with the name filled in; return the new folder.

    Args:
        name: Lower case letters, digits and _; it becomes part of the names of runs.
        folder: Where baselines are; default `baselines/` of the suite.
        template: Folder of the suite: `TEMPLATE`, or `ESTIMATOR` for a method that is no network.

    Raises:
        InvalidInput: the name is no name for a baseline, or is taken.
    """

    def fill(draft: Path) -> None:
        shutil.copytree(paths.root() / template, draft, ignore=shutil.ignore_patterns("__pycache__"))
        for file in draft.iterdir():
            file.write_text(file.read_text(encoding="utf-8").replace(PLACEHOLDER, name), encoding="utf-8")

    return place(name, folder, fill)


def place(name: str, folder: Path | None, fill: Callable[[Path], None]) -> Path:
    """Return the folder of a new baseline, which `fill` makes beside its place; nothing stays where that fails."""
    folder = folder or paths.root() / "baselines"
    target = folder / name
    problems = description.name_findings(name, f"{paths.relative(folder)}/{name}")
    if not problems and target.exists():
        step = "choose another name, or edit what is there"
        problems = [Finding(paths.relative(target), "", "exists already", "a new name", step)]
    if problems:
        raise InvalidInput(problems)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as temporary:
        draft = Path(temporary) / name
        fill(draft)
        draft.rename(target)
    return target
