"""Creates a baseline's folder from the template."""

from __future__ import annotations

import shutil
from pathlib import Path

from kanbench import paths
from kanbench.baselines import NAME
from kanbench.errors import Finding, InvalidInput

TEMPLATE = "_template"


def new_baseline(name: str, folder: Path | None = None) -> Path:
    """Copy `baselines/_template` to `baselines/<name>` and return the new folder.

    Raises:
        InvalidInput: the name is not one, or is taken.
    """
    folder = folder or paths.root() / "baselines"
    target = folder / name
    if not NAME.fullmatch(name):
        expected = "lower case letters, digits and _, beginning with a letter"
        raise InvalidInput([Finding(f"baselines/{name}", "", f"the name '{name}'", expected, "choose another name")])
    if target.exists():
        step = "choose another name, or edit what is there"
        raise InvalidInput([Finding(f"baselines/{name}", "", "a folder of this name", "a name not taken", step)])
    shutil.copytree(folder / TEMPLATE, target, ignore=shutil.ignore_patterns("__pycache__"))
    declaration = target / "baseline.yaml"
    text = declaration.read_text(encoding="utf-8").replace("label: My KAN", f"label: {name}")
    declaration.write_text(text, encoding="utf-8")
    return target
