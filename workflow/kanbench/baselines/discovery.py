"""Finds the baselines: every folder of `baselines/` with a `baseline.yaml`. Nothing is registered anywhere.

Reads descriptions only; `kanbench.baselines.build` imports the models.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from kanbench.base import paths, schema
from kanbench.base.errors import Finding, InvalidInput, nearest
from kanbench.baselines.description import (
    AXES,
    NUMBER,
    Semantics,
    default,
    name_findings,
    setting_schema,
    value_findings,
)

DESCRIPTION, MODEL = "baseline.yaml", "model.py"
ARCHITECTURE = "fully_connected"
"""Architecture of a baseline, and of an experiment's `all`, that names none."""
ALL = "all"
"""What an experiment calls the methods of its architecture."""
DENSE_REFERENCE = "dense_reference"
"""Role of a dense KAN that generated ones are compared with; of all of them the strongest decides."""
REST = "other"
"""Parameter group of the parameters that a baseline puts into none of its own."""
MODULE, ESTIMATOR = "module", "estimator"
"""Contracts: a network that the harness trains, and an object with `fit` and `predict` that trains itself."""
NO_DERIVATIVES = "an estimator offers no derivatives, of which the equation is made"


@dataclass(frozen=True, eq=False)
class Method:
    """One row of the tables: a baseline, or one of its variants.

    Attributes:
        name: The baseline's name, or `<baseline>-<variant>`.
        variant: Name of the variant, or None.
        settings: Defaults with the variant's overrides laid over them, for any family of tasks.
        axes: Standard sweep axes that mean something to it, those of its variant where that declares its own.
        skip: Reason by family, for the families that it cannot run.
        limits: Those of the baseline, then those of its variant.
        role: What comparisons take it for, such as `DENSE_REFERENCE`; empty where its description names none.
    """

    name: str
    baseline: Baseline
    variant: str | None
    label: str
    settings: Mapping[str, Any]
    cite: Mapping[str, str]
    axes: tuple[str, ...]
    skip: Mapping[str, str]
    limits: tuple[Mapping[str, Any], ...] = ()
    role: str = ""

    def skip_reason(self, family: str) -> str | None:
        """Return why this method does not run on a family of tasks, or None where it does."""
        return self.skip.get(family)


@dataclass(frozen=True, eq=False)
class Baseline:
    """A validated `baseline.yaml`. `settings` holds the defaults and `schemas` the JSON Schema of every setting.

    `waivers` names the rules of the contract that the published method breaks, with the reason; `environment` is the
    file of requirements of a baseline whose runs are made in an environment of their own.
    """

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
    architecture: str
    requires: tuple[str, ...]
    prefers: tuple[str, ...]
    sources: tuple[str, ...]
    example: Mapping[str, Any]
    groups: tuple[str, ...] = ()
    limits: tuple[Mapping[str, Any], ...] = ()
    plain: bool = False
    role: str = ""
    implied: frozenset[str] = frozenset()
    waivers: Mapping[str, str] = field(default_factory=dict)
    contract: str = MODULE
    environment: str = ""

    @property
    def fits_itself(self) -> bool:
        """Whether it is an estimator, which the harness does not train step by step."""
        return self.contract == ESTIMATOR

    @cached_property
    def file(self) -> str:
        """The description's path, as messages write it."""
        return paths.relative(self.path / DESCRIPTION)

    @cached_property
    def methods(self) -> dict[str, Method]:
        """The methods by name: the baseline itself where it has no variants or is `plain`, and one a variant."""
        skip = {family: entry["skip"] for family, entry in self.tasks.items() if "skip" in entry}
        skip = {"pde": NO_DERIVATIVES, **skip} if self.fits_itself else skip
        common = {"baseline": self, "cite": self.cite, "skip": skip}
        whole = {"variant": None, "label": self.label, "settings": self.settings}
        plain = Method(self.name, axes=self.axes, limits=self.limits, role=self.role, **whole, **common)
        return ({self.name: plain} if self.plain or not self.variants else {}) | {
            (name := f"{self.name}-{variant}"): Method(
                name,
                variant=variant,
                label=entry["label"],
                settings={**self.settings, **entry["settings"]},
                axes=tuple(entry.get("axes", self.axes)),
                limits=(*self.limits, *entry.get("limits", ())),
                role=entry.get("role", self.role),
                **common,
            )
            for variant, entry in self.variants.items()
        }

    @cached_property
    def validators(self) -> dict[str, Draft202012Validator]:
        """A validator for every setting."""
        return {name: Draft202012Validator(dict(content)) for name, content in self.schemas.items()}


@dataclass(frozen=True)
class Refused:
    """A folder whose description is refused. `architecture` is the one that it names, as far as that can be read."""

    name: str
    architecture: str
    findings: tuple[Finding, ...]

    def stands_for(self, name: str, architecture: str) -> bool:
        """Tell whether a method that a study names, with the architecture of its `all`, would be of this folder."""
        own = name == self.name or name.startswith(f"{self.name}-")
        return own or (name == ALL and architecture == self.architecture)


_FOUND: dict[Path, tuple[tuple, dict[str, Baseline], list[Refused]]] = {}


def survey(folder: Path | None = None) -> tuple[dict[str, Baseline], list[Refused]]:
    """Return the baselines of a folder (default: `baselines/` of the suite) by name, and what is refused there."""
    folder = Path(folder) if folder else paths.root() / "baselines"
    candidates = list(_candidates(folder))
    state = tuple(_state(candidate) for candidate in candidates)
    if folder not in _FOUND or _FOUND[folder][0] != state:
        found, refused = {}, []
        for candidate in candidates:
            baseline, broken = read(candidate)
            if baseline is not None:
                found[candidate.name] = baseline
            else:
                refused.append(Refused(candidate.name, _architecture(candidate), tuple(broken)))
        _FOUND[folder] = (state, found, refused)
    return dict(_FOUND[folder][1]), list(_FOUND[folder][2])


def discover(folder: Path | None = None) -> dict[str, Baseline]:
    """Return the baselines of a folder (default: `baselines/` of the suite) by name, in order of their names.

    Raises:
        InvalidInput: naming every problem of every baseline at once.
    """
    found, refused = survey(folder)
    if refused:
        raise InvalidInput(finding for each in refused for finding in each.findings)
    return found


def warn(refused: Iterable[Refused]) -> None:
    """Say on standard error which baselines are left out, and why: nothing that was asked for needs them."""
    for each in refused:
        print(f"warning: '{each.name}' is left out:", file=sys.stderr)
        for finding in each.findings:
            print(f"  {finding}", file=sys.stderr)


def names(folder: Path | None = None) -> list[str]:
    """Return the names of the folders that are, or seem meant to be, a baseline."""
    return [candidate.name for candidate in _candidates(folder or paths.root() / "baselines")]


def _architecture(folder: Path) -> str:
    try:
        content = schema.read_yaml(folder / DESCRIPTION, "")
    except InvalidInput:
        return ARCHITECTURE
    named = content.get("architecture") if isinstance(content, dict) else None
    return named if isinstance(named, str) else ARCHITECTURE


def find(name: str) -> Baseline | None:
    """Return one baseline of the suite without reading the others; None where there is none, or something is wrong."""
    path = paths.root() / "baselines" / name
    if path in _candidates(path.parent) and _FOUND.get(path, (None,))[0] != _state(path):
        _FOUND[path] = (_state(path), {name: read(path)[0]}, [])
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
    problems += Semantics(label, content).findings()
    problems += _requirements(folder, label, content.get("environment"))
    return (None, problems) if problems else (_baseline(folder, content), [])


def _requirements(folder: Path, label: str, named: object) -> Iterator[Finding]:
    """Yield a finding where the requirements file that a description names is not there."""
    if isinstance(named, str) and not (folder / named).is_file():
        there = [file.name for file in folder.glob("*.txt")] or ["requirements.txt"]
        yield Finding(label, "environment", f"no file {named}", nearest(named, there), "write it beside baseline.yaml")


def _baseline(folder: Path, content: Mapping[str, Any]) -> Baseline:
    settings = content["settings"]
    return Baseline(
        name=folder.name,
        path=folder.resolve(),
        label=content["label"],
        cite=content["cite"],
        axes=tuple(content["axes"]),
        settings={name: default(entry) for name, entry in settings.items()},
        schemas={name: setting_schema(name, entry) for name, entry in settings.items()},
        help={name: entry["help"] for name, entry in settings.items() if isinstance(entry, dict) and "help" in entry},
        variants=content.get("variants", {}),
        tasks=content.get("tasks", {}),
        architecture=content.get("architecture", ARCHITECTURE),
        requires=tuple(content.get("requires", ())),
        prefers=tuple(content.get("prefers", ())),
        sources=tuple(content.get("sources", ())),
        example=content["example"],
        groups=tuple(content.get("groups", ())),
        limits=tuple(content.get("limits", ())),
        plain=content.get("plain", False),
        role=content.get("role", ""),
        waivers=content.get("waivers", {}),
        contract=content.get("contract", MODULE),
        environment=content.get("environment", ""),
        implied=frozenset(n for n, entry in settings.items() if isinstance(entry, dict) and entry.get("implied")),
    )


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
    problems = list(_exceeded(method, merged))
    if problems:
        raise InvalidInput(problems)
    exact = {name: _exact(value, baseline.schemas[name]) for name, value in merged.items()}
    return {n: value for n, value in exact.items() if n not in baseline.implied or value != baseline.settings[n]}


def _exceeded(method: Method, settings: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the limits of a description that settings pass; text, such as `per_layer`, has no size."""
    for limit in method.limits:
        value, condition, least = settings[limit["setting"]], limit.get("when", {}), "at_least" in limit
        bound, plus = limit["at_least" if least else "at_most"], limit.get("plus", 0)
        text, step = f"at {'least' if least else 'most'} {bound}", f"{'raise' if least else 'lower'} {limit['setting']}"
        if isinstance(bound, str):
            bound = settings[bound] + plus
            text += f"{f' + {plus}' if plus else ''}, which is {bound}"
            step += f" or raise {limit['at_most']}; lists can be split into two entries"
        applies = all(settings[name] == wanted for name, wanted in condition.items())
        if applies and isinstance(value, NUMBER) and (value < bound if least else value > bound):
            where = " and ".join(f"{name} is {wanted}" for name, wanted in condition.items())
            why = f" ({limit['reason']})" if "reason" in limit else ""
            expected = text + (f" where {where}" if where else "") + why
            yield Finding(method.baseline.file, limit["setting"], repr(value), expected, step)


def _exact(value: Any, content: Mapping[str, Any]) -> Any:
    """Write 1 as 1.0 where a number is declared, and 1.0 as 1 for an integer: equal runs must have equal specs."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    kind = content.get("type")
    if kind == "number":
        return float(value)
    return int(value) if kind == "integer" else value
