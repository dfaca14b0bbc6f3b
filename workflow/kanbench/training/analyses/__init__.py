"""What may be computed from a model beside its metrics: `<name>.py` is one analysis, found by its file.

A file offers `DEFAULTS` (its settings, a literal), `REQUIRES` (the functions that it needs of a baseline's
`model.py`) and `finish(subject, settings)`, which is called with the trained model; optionally `observe(subject,
settings)`, which is called at every evaluation of the training loop. Both return a dict that JSON can hold
(`kanbench.training.analysis`).
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from kanbench.base import paths
from kanbench.base.errors import Finding, InvalidInput, nearest

FOLDER = Path(__file__).parent


@cache
def discover() -> Mapping[str, Mapping[str, Any]]:
    """Return the default settings of every analysis by name, read without importing it."""
    return {path.stem: _defaults(path) for path in sorted(FOLDER.glob("[!_]*.py"))}


def _defaults(path: Path) -> Mapping[str, Any]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [target.id for target in getattr(node, "targets", []) if isinstance(target, ast.Name)]
        if "DEFAULTS" in names:
            return ast.literal_eval(node.value)
    where = paths.relative(path)
    step = "write DEFAULTS = {} where there are none"
    raise InvalidInput([Finding(where, "DEFAULTS", "no such constant", "the settings with their defaults", step)])


def resolve(
    wanted: list[str] | Mapping[str, Mapping[str, Any]], label: str, key: str
) -> tuple[list[dict[str, dict[str, Any]]], list[Finding]]:
    """Return the complete settings of the analyses that a study asks for, and what is wrong with them.

    A list is swept, as everywhere in a study, unless the setting is a list by itself: one entry a combination.
    """
    problems, swept = [], {}
    for name, overrides in (wanted if isinstance(wanted, Mapping) else dict.fromkeys(wanted, {})).items():
        if name not in discover():
            known = nearest(name, list(discover()))
            step = "correct the name; each file of kanbench/training/analyses is one"
            problems.append(Finding(label, f"{key}.{name}", f"unknown analysis '{name}'", known, step))
            continue
        defaults = discover()[name]
        for setting, value in overrides.items():
            where = f"{key}.{name}.{setting}"
            if setting not in defaults:
                known = nearest(setting, list(defaults))
                problems.append(Finding(label, where, f"unknown setting '{setting}'", known, "correct the name"))
                continue
            for choice in _choices(value, defaults[setting]):
                if not _fits(choice, defaults[setting]):
                    kind = type(defaults[setting]).__name__
                    problems.append(Finding(label, where, repr(choice), f"a value of type {kind}", "correct the value"))
        choices = [_choices(value, defaults.get(setting)) for setting, value in overrides.items()]
        swept[name] = [
            {**defaults, **dict(zip(overrides, values, strict=True))} for values in itertools.product(*choices)
        ]
    return [dict(zip(swept, chosen, strict=True)) for chosen in itertools.product(*swept.values())], problems


def _choices(value: Any, default: Any) -> list[Any]:
    return value if isinstance(value, list) and not isinstance(default, list) else [value]


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, float) and isinstance(value, int):
        return not isinstance(value, bool)
    return default is None or type(value) is type(default)


def code_files(name: str) -> list[Path]:
    """Return the files of an analysis: its own, and those of the package of its name beside this one, if any."""
    return [FOLDER / f"{name}.py", *sorted((FOLDER.parent / name).glob("*.py"))]
