"""What is known of a task without loading it: family, metric, settings. Read from `kanbench/tasks/*.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from kanbench import paths, schema
from kanbench.errors import Finding, InvalidInput, nearest

FOLDER = Path(__file__).with_name("tasks")
FORMULAS = FOLDER / "feynman_formulas.yaml"


@dataclass(frozen=True)
class TaskInfo:
    """A task as its YAML file describes it. `settings` maps a name to its default, JSON Schema and help text."""

    name: str
    label: str
    family: str
    module: str
    metric: str
    goal: str
    selection: Mapping[str, str]
    settings: Mapping[str, Mapping[str, Any]]
    cite: str
    data: str | None
    constants: Mapping[str, Any]
    code_files: tuple[Path, ...]


@cache
def discover() -> Mapping[str, TaskInfo]:
    """Return every task by name.

    Raises:
        InvalidInput: naming every problem of every file at once.
    """
    problems: list[Finding] = []
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        if path == FORMULAS:
            continue
        label = paths.relative(path)
        content = schema.read_yaml(path, label)
        broken = schema.findings(content, "task", label)
        problems += broken
        if broken:
            continue
        module = FOLDER / f"{content['module']}.py"
        if not module.is_file():
            problems.append(Finding(label, "module", str(module), "a file of kanbench/tasks", "create it"))
        code = (path, module, FORMULAS) if content["module"] == "feynman" else (path, module)
        options = {"data": None, "constants": {}, **content}
        found[path.stem] = TaskInfo(name=path.stem, code_files=code, **options)
    if problems:
        raise InvalidInput(problems)
    return found


@cache
def formulas() -> Mapping[str, Mapping[str, Any]]:
    """Return the function-fitting formulas by id: expression, variables with ranges, and flags."""
    return schema.read_yaml(FORMULAS, paths.relative(FORMULAS))


@cache
def _validator(task: str, setting: str) -> Draft202012Validator:
    return Draft202012Validator(dict(discover()[task].settings[setting]["schema"]))


def resolve(name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete settings of a task: defaults with `overrides` laid over them.

    Raises:
        InvalidInput: naming every unknown setting and every value outside its schema.
    """
    info = discover()[name]
    problems = []
    for key, value in overrides.items():
        if key not in info.settings:
            step = "correct the name or remove it"
            problems.append(
                Finding(f"task {name}", key, f"unknown setting '{key}'", nearest(key, list(info.settings)), step)
            )
            continue
        for error in _validator(name, key).iter_errors(value):
            problems.append(Finding(f"task {name}", key, repr(value), error.message, info.settings[key]["help"]))
    if "formula" in overrides and overrides["formula"] not in formulas():
        known = list(formulas())
        problems.append(
            Finding(f"task {name}", "formula", f"unknown formula '{overrides['formula']}'",
                    nearest(str(overrides["formula"]), known), "take one of feynman_formulas.yaml")
        )
    if problems:
        raise InvalidInput(problems)
    return {key: overrides.get(key, entry["default"]) for key, entry in info.settings.items()}
