"""What is known of a task without loading it: family, metric, settings. Read from `kanbench/tasks/*.yaml`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from kanbench.base import paths, schema
from kanbench.base.errors import Finding, InvalidInput, nearest

FOLDER = Path(__file__).parent
FORMULAS = FOLDER / "feynman_formulas.yaml"
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
FORMULA_SETS = ("runnable", "extended", "variant", "example")
CORE = "core"


@dataclass(frozen=True)
class TaskInfo:
    """A task as its YAML file describes it.

    Attributes:
        name: Name of the file.
        label: Name for people.
        family: `function_fitting`, `classification` or `pde`.
        module: Module of `kanbench.tasks` that loads it.
        metric: Test metric that tables report, and `goal` (`min` or `max`) which way is better.
        selection: `{"metric", "goal"}` on the validation split, by which the step is chosen.
        settings: A setting's name to its default, JSON Schema and help text.
        cite: Key of `paper_figures/references.bib`.
        data: Data set that has to be on disk, or None.
        constants: Facts about the data that are not settings.
        limits: Pairs of settings of which the first may not exceed the second.
        data_only: Settings that change nothing but the numbers of the data; formulas also change the inputs.
        code_files: Files whose change makes a run of the task stale, its data files among them.
    """

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
    limits: tuple[Mapping[str, Any], ...]
    code_files: tuple[Path, ...]
    profile: bool = False
    data_only: tuple[str, ...] = ()


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
            known = nearest(content["module"], sorted(entry.stem for entry in FOLDER.glob("[!_]*.py")))
            problems.append(Finding(label, "module", f"no file {paths.relative(module)}", known, "correct the name"))
        further = [FOLDER.parent / source for source in content.pop("sources", ())]
        for source in further:
            if not source.is_file():
                known = "a file of kanbench, such as data/datasets.py"
                problems.append(
                    Finding(label, "sources", f"no file {paths.relative(source)}", known, "correct the name")
                )
        for name in set(content.get("data_only", ())) - set(content["settings"]):
            known = nearest(name, list(content["settings"]))
            problems.append(Finding(label, "data_only", f"unknown setting '{name}'", known, "correct the name"))
        chosen = any("choices" in entry for entry in content["settings"].values())
        options = {"data": None, "constants": {}, **content, "limits": tuple(content.get("limits", ()))}
        options["data_only"] = tuple(content.get("data_only", ()))
        code = (path, module, *further, *((FORMULAS,) if chosen else ()))
        code += tuple(each for each in data_files(path.parent, code) if each not in code)
        found[path.stem] = TaskInfo(name=path.stem, code_files=code, **options)
    if problems:
        raise InvalidInput(problems)
    return found


def data_files(folder: Path, code: Sequence[Path]) -> list[Path]:
    """Return the data files in a folder of tasks that belong to one of them, sorted.

    A file belongs to a task that is called like it or lies in a folder that is, or whose code or description mentions
    its name, the folder that it lies in, or at least its suffix, as `f"{name}.csv"` does.

    Args:
        folder: Where the tasks are.
        code: The description, the module and the further sources of the task.
    """
    names = {path.stem for path in code[:2]}
    words = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in code if path.is_file())
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if len(inside) == 1 and path.suffix in (".py", ".yaml"):
            continue  # a module or the description of a task
        if not path.is_file() or any(part[0] == "." or part == "__pycache__" for part in inside):
            continue
        own = any(part.partition(".")[0] in names for part in (inside[0], inside[-1]))
        if own or any(part in words for part in inside) or (path.suffix and path.suffix in words):
            found.append(path)
    return found


@cache
def formulas() -> Mapping[str, Mapping[str, Any]]:
    """Return the function-fitting formulas by id.

    Each has `expression` (text that sympy reads), `variables` (name to [lower, upper], in the order of the inputs; a
    bound is a number or text such as `2*pi`), `set` (one of `FORMULA_SETS`), `core` and `note`.
    """
    content = schema.read_yaml(FORMULAS, paths.relative(FORMULAS))
    return {name: {"core": False, "note": "", **entry} for name, entry in content.items()}


def formula_ids(kind: str | None = None, *, core: bool = False) -> list[str]:
    """Return the ids of one set of formulas in the order of the file; `core` keeps those that the KAN paper reports."""
    return [name for name, entry in formulas().items() if kind in (None, entry["set"]) and (entry["core"] or not core)]


def expand_sets(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's settings with the name of a set of formulas written as the ids of the set.

    Sets are those of `FORMULA_SETS`, and `core`. Anything else stays, for `resolve` to judge.
    """
    chosen = {key for key, entry in discover()[name].settings.items() if entry.get("choices") == "formulas"}
    return {key: _expanded(value) if key in chosen else value for key, value in settings.items()}


def _expanded(value: Any) -> Any:
    if isinstance(value, list):
        return list(dict.fromkeys(part for each in value for part in _listed(_expanded(each))))
    if value == CORE:
        return formula_ids(core=True)
    return formula_ids(value) if value in FORMULA_SETS else value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@cache
def _validator(task: str, setting: str) -> Draft202012Validator:
    return Draft202012Validator(dict(discover()[task].settings[setting]["schema"]))


def resolve(name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete settings of a task: defaults with `overrides` laid over them.

    Numbers are brought to the type of their setting, so that 4 and 4.0 are one spec.

    Raises:
        InvalidInput: naming the unknown task, or every unknown setting and every value that is refused.
    """
    if name not in discover():
        known = nearest(name, list(discover()))
        raise InvalidInput([Finding("tasks", "name", f"unknown task '{name}'", known, "correct the name")])
    info = discover()[name]
    problems, settings = [], {key: entry["default"] for key, entry in info.settings.items()}
    for key, value in overrides.items():
        found = list(_problems(info, key, value))
        problems += found
        if not found:
            settings[key] = _number(value, info.settings[key]["schema"])
    if not problems:
        problems = list(_exceeded(info, settings))
    if problems:
        raise InvalidInput(problems)
    return settings


def _problems(info: TaskInfo, key: str, value: Any) -> Iterator[Finding]:
    """Yield what is wrong with one setting."""
    where = f"task {info.name}"
    if key not in info.settings:
        known = nearest(key, list(info.settings))
        yield Finding(where, key, f"unknown setting '{key}'", known, "correct the name or remove it")
        return
    entry = info.settings[key]
    if isinstance(value, float) and not math.isfinite(value):
        yield Finding(where, key, str(value), "a finite number", entry["help"])
        return
    if not _validator(info.name, key).is_valid(value):
        yield Finding(where, key, repr(value), _described(entry["schema"], value), entry["help"])
    elif entry.get("choices") == "formulas" and value not in formulas():
        near = ", ".join(difflib.get_close_matches(value, list(formulas()), n=3, cutoff=0.5))
        sets = ", ".join((*FORMULA_SETS, CORE))
        known = f"an id of {paths.relative(FORMULAS)} or a set of them ({sets})" + (
            f"; nearest: {near}" if near else ""
        )
        yield Finding(where, key, f"unknown formula '{value}'", known, "correct the id")


def _described(kind: Mapping[str, Any], value: Any) -> str:
    """Return in words what a setting's schema accepts."""
    if "enum" in kind:
        return nearest(str(value), [str(option) for option in kind["enum"]])
    types = kind.get("type", "value")
    text = types if isinstance(types, str) else " or ".join(types)
    return ", ".join([text, *(f"{word} {kind[key]:g}" for key, word in _BOUNDS.items() if key in kind)])


def _exceeded(info: TaskInfo, settings: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the limits between two settings that do not hold."""
    for limit in info.limits:
        small, large = limit["setting"], limit["at_most"]
        applies = all(settings[key] == value for key, value in limit.get("when", {}).items())
        if applies and settings[small] > settings[large]:
            expected = f"at most {large}, which is {settings[large]}"
            yield Finding(f"task {info.name}", small, repr(settings[small]), expected, info.settings[small]["help"])


def _number(value: Any, kind: Mapping[str, Any]) -> Any:
    """Return `value` as an int where its schema says integer, as a float where it says number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        types = kind.get("type", ())
        types = (types,) if isinstance(types, str) else types
        if "integer" in types:
            return int(value)
        if "number" in types:
            return float(value)
    return value
