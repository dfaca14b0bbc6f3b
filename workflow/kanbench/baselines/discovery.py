"""Finds the baselines: every folder of `baselines/` with a `baseline.yaml`. Nothing is registered anywhere.

Reads descriptions only; `kanbench.baselines.build` imports the models.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from kanbench.base import paths, schema
from kanbench.base.errors import Finding, InvalidInput, nearest

DESCRIPTION, MODEL = "baseline.yaml", "model.py"
NAME = re.compile(r"[a-z][a-z0-9_]*")
AXES = ("grid_size", "spline_order", "hidden_width", "depth", "prompt_dim", "hidden_dim", "num_clusters")
AXIS_MINIMUM = {"depth": 0}
"""Least value of an axis that is written as a plain default; 1 for those not named here."""
TRAINING_KNOBS = ("learning_rate", "weight_decay")
"""What a search space may vary beside the settings, for all parameters or as `<group>.<knob>` for those of a group."""
ARCHITECTURE = "fully_connected"
"""Architecture of a baseline, and of an experiment's `all`, that names none."""
REST = "other"
"""Parameter group of the parameters that a baseline puts into none of its own."""
_TYPES = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"))
_NUMBER = (int, float)


@dataclass(frozen=True, eq=False)
class Method:
    """One row of the tables: a baseline, or one of its variants.

    Attributes:
        name: The baseline's name, or `<baseline>-<variant>`.
        variant: Name of the variant, or None.
        settings: Defaults with the variant's overrides laid over them, for any family of tasks.
        skip: Reason by family, for the families that it cannot run.
    """

    name: str
    baseline: Baseline
    variant: str | None
    label: str
    settings: Mapping[str, Any]
    cite: Mapping[str, str]
    axes: tuple[str, ...]
    skip: Mapping[str, str]

    def skip_reason(self, family: str) -> str | None:
        """Return why this method does not run on a family of tasks, or None where it does."""
        return self.skip.get(family)


@dataclass(frozen=True, eq=False)
class Baseline:
    """A validated `baseline.yaml`. `settings` holds the defaults and `schemas` the JSON Schema of every setting."""

    name: str
    path: Path
    label: str
    cite: Mapping[str, str]
    axes: tuple[str, ...]
    settings: Mapping[str, Any]
    schemas: Mapping[str, Mapping[str, Any]]
    help: Mapping[str, str]
    variants: Mapping[str, Mapping[str, Any]]
    tasks: Mapping[str, Mapping[str, Any]]
    search_space: Mapping[str, Any]
    architecture: str
    requires: tuple[str, ...]
    sources: tuple[str, ...]
    example: Mapping[str, Any]
    groups: tuple[str, ...] = ()
    limits: tuple[Mapping[str, Any], ...] = ()
    plain: bool = False
    implied: frozenset[str] = frozenset()

    @cached_property
    def file(self) -> str:
        """The description's path, as messages write it."""
        return paths.relative(self.path / DESCRIPTION)

    @cached_property
    def methods(self) -> dict[str, Method]:
        """The methods by name: the baseline itself where it has no variants or is `plain`, and one a variant."""
        skip = {family: entry["skip"] for family, entry in self.tasks.items() if "skip" in entry}
        common = {"baseline": self, "cite": self.cite, "axes": self.axes, "skip": skip}
        plain = Method(self.name, variant=None, label=self.label, settings=self.settings, **common)
        return ({self.name: plain} if self.plain or not self.variants else {}) | {
            (name := f"{self.name}-{variant}"): Method(
                name, variant=variant, label=entry["label"], settings={**self.settings, **entry["settings"]}, **common
            )
            for variant, entry in self.variants.items()
        }

    @cached_property
    def validators(self) -> dict[str, Draft202012Validator]:
        """A validator for every setting."""
        return {name: Draft202012Validator(dict(content)) for name, content in self.schemas.items()}


_FOUND: dict[Path, tuple[tuple, dict[str, Baseline]]] = {}


def discover(folder: Path | None = None) -> dict[str, Baseline]:
    """Return the baselines of a folder (default: `baselines/` of the suite) by name, in order of their names.

    Raises:
        InvalidInput: naming every problem of every baseline at once.
    """
    folder = Path(folder) if folder else paths.root() / "baselines"
    candidates = list(_candidates(folder))
    state = tuple(_state(candidate) for candidate in candidates)
    if folder in _FOUND and _FOUND[folder][0] == state:
        return dict(_FOUND[folder][1])
    found, problems = {}, []
    for candidate in candidates:
        baseline, broken = read(candidate)
        problems += broken
        if baseline is not None:
            found[candidate.name] = baseline
    if problems:
        raise InvalidInput(problems)
    _FOUND[folder] = (state, found)
    return dict(found)


def find(name: str) -> Baseline | None:
    """Return one baseline of the suite without reading the others; None where there is none, or something is wrong."""
    path = paths.root() / "baselines" / name
    if path in _candidates(path.parent) and _FOUND.get(path, (None,))[0] != _state(path):
        _FOUND[path] = (_state(path), {name: read(path)[0]})
    return _FOUND[path][1][name] if path in _FOUND else None


def _candidates(folder: Path) -> Iterator[Path]:
    """Yield the folders that are, or seem meant to be, a baseline."""
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        if entry.is_dir() and entry.name[0] not in "_." and any(entry.glob("*.y*ml")) | (entry / MODEL).is_file():
            yield entry


def _state(candidate: Path) -> tuple:
    """Return what tells whether a description has to be read again."""
    file = candidate / DESCRIPTION
    seen = file.stat() if file.is_file() else None
    return candidate.name, (candidate / MODEL).is_file(), seen and (seen.st_mtime_ns, seen.st_size)


def read(folder: Path) -> tuple[Baseline | None, list[Finding]]:
    """Return the baseline of one folder and all that is wrong with it; no baseline where something is wrong."""
    label, model = paths.relative(folder / DESCRIPTION), folder / MODEL
    problems = name_findings(folder.name, paths.relative(folder))
    if not model.is_file():
        step = "write `build(problem, settings)` in it"
        problems.append(Finding(paths.relative(model), "", "no such file", "the model beside baseline.yaml", step))
    if not (folder / DESCRIPTION).is_file():
        others = ", ".join(sorted(file.name for file in folder.glob("*.y*ml")))
        found = f"no such file, but {others}" if others else "no such file"
        return None, [*problems, Finding(label, "", found, DESCRIPTION, "rename the file, or start from the template")]
    try:
        content = schema.read_yaml(folder / DESCRIPTION, label)
    except InvalidInput as error:
        return None, [*problems, *error.findings]
    if not isinstance(content, dict):
        problems.append(Finding(label, "", repr(content)[:120], "a mapping of keys", "start from the template"))
        return None, problems
    problems += schema.findings(content, "baseline", label)
    problems += _Semantics(label, content).findings()
    return (None, problems) if problems else (_baseline(folder, content), [])


def name_findings(name: str, where: str) -> list[Finding]:
    """Return what is wrong with the name of a baseline's folder."""
    if NAME.fullmatch(name) and not keyword.iskeyword(name):
        return []
    expected = "a letter, then lower case letters, digits and _; no Python keyword"
    step = "choose another name for the folder; it becomes part of the names of runs"
    return [Finding(where, "", f"the name '{name}'", expected, step)]


def _baseline(folder: Path, content: Mapping[str, Any]) -> Baseline:
    settings = content["settings"]
    return Baseline(
        name=folder.name,
        path=folder.resolve(),
        label=content["label"],
        cite=content["cite"],
        axes=tuple(content["axes"]),
        settings={name: _default(entry) for name, entry in settings.items()},
        schemas={name: _setting_schema(name, entry) for name, entry in settings.items()},
        help={name: entry["help"] for name, entry in settings.items() if isinstance(entry, dict) and "help" in entry},
        variants=content.get("variants", {}),
        tasks=content.get("tasks", {}),
        search_space=content.get("search_space", {}),
        architecture=content.get("architecture", ARCHITECTURE),
        requires=tuple(content.get("requires", ())),
        sources=tuple(content.get("sources", ())),
        example=content["example"],
        groups=tuple(content.get("groups", ())),
        limits=tuple(content.get("limits", ())),
        plain=content.get("plain", False),
        implied=frozenset(n for n, entry in settings.items() if isinstance(entry, dict) and entry.get("implied")),
    )


def _default(entry: Any) -> Any:
    return entry["default"] if isinstance(entry, dict) else entry


def _setting_schema(name: str, entry: Any) -> dict[str, Any]:
    """Return the schema of a setting; that of a plain default is its type, and the least value of an axis."""
    if isinstance(entry, dict):
        return _mapping(entry.get("schema"))
    kind = next((text for python, text in _TYPES if isinstance(entry, python)), None)
    if kind is None:
        return {}
    return {"type": kind, "minimum": AXIS_MINIMUM.get(name, 1)} if name in AXES else {"type": kind}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


class _Semantics:
    """What the schema of the file cannot say: names that must be known, values that must fit, paths that must exist.

    Looks past parts of the wrong type, which the schema has reported, so that they hide nothing else.
    """

    def __init__(self, label: str, content: Mapping[str, Any]):
        self.label, self.content, self.problems = label, content, []
        self.settings = _mapping(content.get("settings"))
        self.schemas = {name: _setting_schema(name, entry) for name, entry in self.settings.items()}

    def findings(self) -> list[Finding]:
        """Return every problem."""
        self._check_settings()
        for axis in _list(self.content.get("axes")):
            if axis in AXES and axis not in self.settings:
                step = f"add '{axis}' to settings, or remove it from axes"
                self._add("axes", f"'{axis}' is no setting", nearest(axis, list(self.settings)), step)
        for kind in ("variants", "tasks"):
            for name, entry in _mapping(self.content.get(kind)).items():
                self._check_values(f"{kind}.{name}.settings", _mapping(_mapping(entry).get("settings")))
        self._check_search_space()
        self._check_sources()
        self._check_limits()
        self._check_example(_mapping(self.content.get("example")))
        return self.problems

    def _check_settings(self) -> None:
        for name, content in self.schemas.items():
            try:
                Draft202012Validator.check_schema(content)
            except SchemaError as error:
                self._add(f"settings.{name}.schema", error.message, "a JSON Schema", "correct the schema")
                self.schemas[name] = {}
        stated = {n: entry for n, entry in self.settings.items() if not isinstance(entry, dict) or "default" in entry}
        self._check_values("settings", {name: _default(entry) for name, entry in stated.items()})

    def _check_search_space(self) -> None:
        groups = [group for group in _list(self.content.get("groups")) if isinstance(group, str)]
        known = [*self.settings, *TRAINING_KNOBS, *(f"{group}.{knob}" for group in groups for knob in TRAINING_KNOBS)]
        for name, choices in _mapping(self.content.get("search_space")).items():
            key = f"search_space.{name}"
            if name not in known:
                self._add(key, f"unknown setting '{name}'", nearest(name, known))
            elif isinstance(choices, dict):
                low, high, log = choices.get("low"), choices.get("high"), choices.get("log", False)
                if isinstance(low, _NUMBER) and isinstance(high, _NUMBER) and (low >= high or (log and low <= 0)):
                    expected = "low < high" + (", both positive where log is true" if log else "")
                    self._add(key, f"low {low}, high {high}", expected, "correct the range")
            elif name in self.schemas:
                for value in _list(choices):
                    self._check_values("search_space", {name: value})

    def _check_example(self, example: Mapping[str, Any]) -> None:
        self._check_values("example.settings", _mapping(example.get("settings")))
        variants = list(_mapping(self.content.get("variants")))
        for name in _mapping(example.get("variants")):
            if name not in variants:
                self._add(f"example.variants.{name}", f"unknown variant '{name}'", nearest(name, variants))

    def _check_values(self, key: str, values: Mapping[str, Any]) -> None:
        for finding in value_findings(self.label, self.schemas, values, self._validator):
            self.problems.append(
                Finding(finding.file, f"{key}.{finding.key}", finding.found, finding.expected, finding.next_step)
            )

    def _validator(self, name: str) -> Draft202012Validator:
        return Draft202012Validator(self.schemas[name])

    def _check_sources(self) -> None:
        for source in _list(self.content.get("sources")):
            path = paths.root() / str(source)
            if not paths.exists(path):
                around = path.parent.glob("[!.]*") if paths.exists(path.parent) else []
                siblings = [other.name for other in around]
                expected = f"a path relative to the root of the repository; there, {nearest(path.name, siblings)}"
                self._add("sources", f"'{source}' does not exist", expected, "correct the path")

    def _check_limits(self) -> None:
        for number, limit in enumerate(map(_mapping, _list(self.content.get("limits")))):
            conditions = {f"when.{name}": name for name in _mapping(limit.get("when"))}
            for key, name in {"setting": limit.get("setting"), "at_most": limit.get("at_most"), **conditions}.items():
                if isinstance(name, str) and name not in self.settings:
                    self._add(f"limits.{number}.{key}", f"'{name}' is no setting", nearest(name, list(self.settings)))

    def _add(self, key: str, found: str, expected: str, step: str = "correct the name or remove it") -> None:
        self.problems.append(Finding(self.label, key, found, expected, step))


def value_findings(
    label: str,
    known: Mapping[str, Any],
    values: Mapping[str, Any],
    validator: Callable[[str], Draft202012Validator],
) -> Iterator[Finding]:
    """Yield what is wrong with values of settings; the key of a finding is the name of the setting."""
    for name, value in values.items():
        if name not in known:
            step = "correct the name or remove it"
            yield Finding(label, name, f"unknown setting '{name}'", nearest(name, list(known)), step)
            continue
        for error in validator(name).iter_errors(value):
            for finding in schema.explain(error, label):
                yield Finding(label, name, finding.found, finding.expected, finding.next_step)


def resolve(method: Method, family: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete settings of a method on a family of tasks.

    Defaults yield to the variant, that to the family's settings, those to `overrides`. A standard axis that does
    not apply to the method is dropped, so that runs which differ only in it are one run; so is an implied default.

    Raises:
        InvalidInput: naming every unknown setting, every value that does not fit and every limit of the description
            that is passed; the key is the setting.
    """
    baseline = method.baseline
    chosen = {k: v for k, v in overrides.items() if k in method.axes or k not in AXES}
    problems = list(value_findings(baseline.file, baseline.settings, chosen, baseline.validators.__getitem__))
    if problems:
        raise InvalidInput(problems)
    merged = {**method.settings, **baseline.tasks.get(family, {}).get("settings", {}), **chosen}
    problems = list(_exceeded(baseline, merged))
    if problems:
        raise InvalidInput(problems)
    exact = {name: _exact(value, baseline.schemas[name]) for name, value in merged.items()}
    return {n: value for n, value in exact.items() if n not in baseline.implied or value != baseline.settings[n]}


def _exceeded(baseline: Baseline, settings: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the limits of a description that settings pass; text, such as `per_layer`, has no size."""
    for limit in baseline.limits:
        value, bound, condition = settings[limit["setting"]], limit["at_most"], limit.get("when", {})
        plus, text, step = limit.get("plus", 0), f"at most {bound}", f"lower {limit['setting']}"
        if isinstance(bound, str):
            bound = settings[bound] + plus
            text += f"{f' + {plus}' if plus else ''}, which is {bound}"
            step += f" or raise {limit['at_most']}; lists can be split into two entries"
        applies = all(settings[name] == wanted for name, wanted in condition.items())
        if applies and isinstance(value, _NUMBER) and value > bound:
            where = " and ".join(f"{name} is {wanted}" for name, wanted in condition.items())
            why = f" ({limit['reason']})" if "reason" in limit else ""
            expected = text + (f" where {where}" if where else "") + why
            yield Finding(baseline.file, limit["setting"], repr(value), expected, step)


def _exact(value: Any, content: Mapping[str, Any]) -> Any:
    """Write 1 as 1.0 where a number is declared, and 1.0 as 1 for an integer: equal runs must have equal specs."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    kind = content.get("type")
    if kind == "number":
        return float(value)
    return int(value) if kind == "integer" else value


def code_files(baseline: Baseline) -> list[Path]:
    """Return the files that the runs of a baseline depend on, sorted: its folder, and the Python files of `sources`."""
    files = {path for path in baseline.path.rglob("*") if path.is_file()}
    for source in baseline.sources:
        path = (paths.root() / source).resolve()
        files |= {path} if path.is_file() else set(path.rglob("*.py"))
    generated = {path for path in files if "__pycache__" in path.parts or path.suffix == ".pyc" or path.name[0] == "."}
    return sorted(files - generated)
