"""What a `baseline.yaml` has to say beyond its schema: names that are known, values that fit, paths that exist."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from kanbench.base import paths, schema
from kanbench.base.errors import Finding, nearest

NAME = re.compile(r"[a-z][a-z0-9_]*")
AXES = ("grid_size", "spline_order", "hidden_width", "depth", "prompt_dim", "hidden_dim", "num_clusters")
AXIS_MINIMUM = {"depth": 0}
"""Least value of an axis that is written as a plain default; 1 for those not named here."""
_TYPES = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"))
NUMBER = (int, float)


def name_findings(name: str, where: str) -> list[Finding]:
    """Return what is wrong with the name of a baseline's folder."""
    if NAME.fullmatch(name) and not keyword.iskeyword(name):
        return []
    expected = "a letter, then lower case letters, digits and _; no Python keyword"
    step = "choose another name for the folder; it becomes part of the names of runs"
    return [Finding(where, "", f"the name '{name}'", expected, step)]


def default(entry: Any) -> Any:
    """Return the default of a setting, written plainly or as `{default, schema, help}`."""
    return entry["default"] if isinstance(entry, dict) else entry


def setting_schema(name: str, entry: Any) -> dict[str, Any]:
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


class Semantics:
    """What the schema of the file cannot say: names that must be known, values that must fit, paths that must exist.

    Looks past parts of the wrong type, which the schema has reported, so that they hide nothing else.
    """

    def __init__(self, label: str, content: Mapping[str, Any]):
        self.label, self.content, self.problems = label, content, []
        self.settings = _mapping(content.get("settings"))
        self.schemas = {name: setting_schema(name, entry) for name, entry in self.settings.items()}

    def findings(self) -> list[Finding]:
        """Return every problem."""
        self._check_settings()
        self._check_axes("axes", self.content.get("axes"))
        self._check_limits("limits", self.content.get("limits"))
        for name, entry in _mapping(self.content.get("variants")).items():
            self._check_axes(f"variants.{name}.axes", _mapping(entry).get("axes"))
            self._check_limits(f"variants.{name}.limits", _mapping(entry).get("limits"))
        for kind in ("variants", "tasks"):
            for name, entry in _mapping(self.content.get(kind)).items():
                self._check_values(f"{kind}.{name}.settings", _mapping(_mapping(entry).get("settings")))
        self._check_sources()
        self._check_example(_mapping(self.content.get("example")))
        return self.problems

    def _check_axes(self, where: str, axes: Any) -> None:
        for axis in _list(axes):
            if axis in AXES and axis not in self.settings:
                step = f"add '{axis}' to settings, or remove it from axes"
                self._add(where, f"'{axis}' is no setting", nearest(axis, list(self.settings)), step)

    def _check_settings(self) -> None:
        for name, content in self.schemas.items():
            try:
                Draft202012Validator.check_schema(content)
            except SchemaError as error:
                self._add(f"settings.{name}.schema", error.message, "a JSON Schema", "correct the schema")
                self.schemas[name] = {}
        stated = {n: entry for n, entry in self.settings.items() if not isinstance(entry, dict) or "default" in entry}
        self._check_values("settings", {name: default(entry) for name, entry in stated.items()})

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

    def _check_limits(self, where: str, limits: Any) -> None:
        for number, limit in enumerate(map(_mapping, _list(limits))):
            conditions = {f"when.{name}": name for name in _mapping(limit.get("when"))}
            for key, name in {"setting": limit.get("setting"), "at_most": limit.get("at_most"), **conditions}.items():
                if isinstance(name, str) and name not in self.settings:
                    self._add(f"{where}.{number}.{key}", f"'{name}' is no setting", nearest(name, list(self.settings)))

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
