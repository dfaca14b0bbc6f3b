"""Loads a study from `workflow/config`, applies overrides and refuses what it does not know."""

from __future__ import annotations

import copy
import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kanbench.base import paths, schema
from kanbench.base.budget import quarter, whole
from kanbench.base.errors import Finding, InvalidInput, nearest
from kanbench.baselines.discovery import REST, Baseline
from kanbench.records.collect import RECORDS
from kanbench.study import looks, quarters

DEFAULT_STUDY = "workflow/config/laptop.yaml"
PUBLISHED = "results/reference"
TRAINING_DEFAULTS: dict[str, Any] = {
    "optimiser": "adam",
    "learning_rate": 0.01,
    "weight_decay": 0.0,
    "schedule": "constant",
    "batch_size": None,
    "evaluations": 10,
    "timeout_seconds": None,
}
GAMMA_DEFAULT = 0.975
BUDGET = ("steps", "epochs", "batch_size")
OWN = "own"
"""In the place of an optimiser, that a method trains itself."""
CAPTURE_DEFAULT = "auto"
"""Left out of the settings, so that a run is the same one whether its study says so or not: it changes no number."""


@dataclass(frozen=True)
class Study:
    """A validated study. `label` names the file for messages; `content` is what the file and the overrides say."""

    label: str
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.content["study"]

    @property
    def experiments(self) -> Mapping[str, Any]:
        """The experiments to plan, by id: all, or those that `only` names, with their quarters."""
        chosen = selected(self.content.get("only"))
        everything = self.content["experiments"]
        return {key: value for key, value in everything.items() if not chosen or {key, whole(key)} & {*chosen}}

    @property
    def folder(self) -> str:
        """Where records and everything rendered from them go, relative to the repository."""
        return self.content.get("records", f"results/{self.name}").rstrip("/")

    @property
    def data_flags(self) -> str:
        """The arguments of `kanbench data`: nothing is downloaded unless the study says `download: true`."""
        root = self.content.get("data_root")
        return " ".join(
            (["--root", shlex.quote(root)] if root else []) + (["--download"] if self.content.get("download") else [])
        )

    @property
    def rendering_only(self) -> bool:
        """True where an existing record set is rendered and nothing is trained."""
        return "records" in self.content

    @property
    def compared_with(self) -> str | None:
        """The folder of the published record set that the study is compared with; None where there is no other set.

        Studies that say `published: false` try something out, and are compared with nothing.
        """
        published, folder = paths.root() / PUBLISHED, paths.root() / self.folder
        there = (published / RECORDS).is_file() and folder.resolve() != published.resolve()
        return PUBLISHED if there and self.content.get("published", True) else None


def selected(only: str | list[str] | None) -> list[str]:
    """Return the experiment ids of the `only` setting, given as a list or as comma-separated text."""
    if only is None:
        return []
    return [part.strip() for part in (only.split(",") if isinstance(only, str) else only) if part.strip()]


def load(path: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> Study:
    """Return the study of a YAML file with `overrides` laid over its top-level keys.

    Raises:
        InvalidInput: naming every unknown or ill-typed key at once.
    """
    file = Path(path) if path else paths.root() / DEFAULT_STUDY
    label = paths.relative(file)
    content = schema.read_yaml(file, label)
    if not isinstance(content, dict):
        raise InvalidInput([Finding(label, "", repr(content), "a mapping of keys", "start from smoke.yaml")])
    return from_content({**content, **(overrides or {})}, label)


def from_content(content: Mapping[str, Any], label: str) -> Study:
    """Return the study of an already parsed config, as Snakemake hands it over. Raises InvalidInput."""
    content = copy.deepcopy(dict(content))
    problems = schema.findings(content, "config", label)
    problems += _name_findings(content, label)
    if not problems:
        problems = [*quarters.findings(content["experiments"], label), *looks.findings(content, label)]
    if problems:
        raise InvalidInput(problems)
    return Study(label, {**content, "experiments": quarters.added(content["experiments"])})


def _name_findings(content: Mapping[str, Any], label: str) -> list[Finding]:
    """Return which experiments of `only`, and which record set, do not exist; parts of a wrong type are passed over."""
    only, records, experiments = (content.get(key) for key in ("only", "records", "experiments"))
    known = list(experiments) if isinstance(experiments, Mapping) else []
    described = {key: experiments[key] for key in known if isinstance(experiments[key], Mapping)}
    known += [quarter(key) for key, experiment in described.items() if experiment.get("quarter")]
    listed = isinstance(only, list) and all(isinstance(name, str) for name in only)
    names = selected(only) if isinstance(only, str) or listed else []
    problems = [
        Finding(label, "only", name, nearest(name, known), "name experiments of this study")
        for name in names
        if name not in known
    ]
    for key in ("records", "data_root"):
        value = content.get(key)
        if isinstance(value, str) and any(brace in value for brace in "{}"):
            expected = "a path without { and }, which Snakemake takes for wildcards"
            problems.append(Finding(label, key, value, expected, "rename the folder, or link to it under another name"))
    if isinstance(records, str) and not paths.exists(paths.root() / records):
        problems.append(Finding(label, "records", records, "a folder with records.jsonl.gz", "correct the path"))
    return problems


def from_snakemake(config: Mapping[str, Any], configfiles: list[str]) -> Study:
    """Return the study that a Snakemake call asks for.

    `--configfile` would be merged *into* a file that the Snakefile names, experiment by experiment, so the
    Snakefile names none: without `--configfile` the default study is read here and `--config` overlays it.
    Snakemake has read the files by then, and its reader lets the last of two equal keys win: they are read again here.

    Raises:
        InvalidInput: as `load`, or a file is refused by `schema.read_yaml`.
    """
    for file in configfiles:
        schema.read_yaml(Path(file), paths.relative(Path(file)))
    if "experiments" in config:
        label = ", ".join(paths.relative(Path(file)) for file in configfiles) or "--config"
        return from_content(config, label)
    return load(None, config)


def trainings(
    parts: list[Mapping[str, Any] | None], label: str, key: str
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Merge training settings, later parts winning, and return one complete mapping for every combination of lists.

    `groups` are merged group by group. What a schema cannot say is checked here. A learning rate may be a name.

    Returns:
        The complete settings, in the order of the lists, and the findings about them.
    """
    merged: dict[str, Any] = dict(TRAINING_DEFAULTS)
    groups: dict[str, dict[str, Any]] = {}
    for part in parts:
        part = dict(part or {})
        for name, entry in part.pop("groups", {}).items():
            groups[name] = {**groups.get(name, {}), **entry}
        if "steps" in part:
            merged.pop("epochs", None)
        if "epochs" in part:
            merged.pop("steps", None)
        merged.update(part)
    problems = []
    if ("steps" in merged) == ("epochs" in merged):
        found = "both" if "steps" in merged else "neither"
        problems.append(Finding(label, key, f"{found} of steps and epochs", "exactly one", "write `steps` or `epochs`"))
    swept = {(None, name): value for name, value in merged.items()}
    swept |= {(group, name): value for group, entry in groups.items() for name, value in entry.items()}
    found = [_training(chosen) for chosen in combinations(swept)]
    for each in found:
        problems += _lbfgs_findings(each, label, key)
    return found, problems


def combinations(settings: Mapping[Any, Any]) -> Iterator[dict[Any, Any]]:
    """Yield every choice of one value a key, where a list is a choice and any other value stands for itself."""
    choices = [value if isinstance(value, list) else [value] for value in settings.values()]
    for values in itertools.product(*choices):
        yield dict(zip(settings, values, strict=True))


def _training(chosen: Mapping[tuple[str | None, str], Any]) -> dict[str, Any]:
    """Return settings from `{(group or None, name): value}`."""
    top = {name: value for (group, name), value in chosen.items() if group is None}
    groups: dict[str, dict[str, Any]] = {}
    for (group, name), value in chosen.items():
        if group is not None:
            groups.setdefault(group, {})[name] = value
    return _tidy(top, groups)


def _tidy(top: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Write `gamma` where a schedule is exponential, `groups` where there are any, `capture` where it is chosen."""
    result = _with_gamma(top, top["schedule"], GAMMA_DEFAULT)
    if result.get("capture") == CAPTURE_DEFAULT:
        del result["capture"]
    entries = {
        name: _with_gamma(entry, entry.get("schedule", top["schedule"]), result.get("gamma", GAMMA_DEFAULT))
        for name, entry in groups.items()
    }
    entries = {name: entry for name, entry in entries.items() if entry}
    return {**result, "groups": entries} if entries else result


def _with_gamma(entry: Mapping[str, Any], schedule: str, default: float) -> dict[str, Any]:
    kept = {name: value for name, value in entry.items() if name != "gamma"}
    if schedule != "exponential" or ("schedule" not in entry and "gamma" not in entry):
        return kept
    return {**kept, "gamma": entry.get("gamma", default)}


def _lbfgs_findings(training: Mapping[str, Any], label: str, key: str) -> Iterator[Finding]:
    if training["optimiser"] != "lbfgs":
        return
    if training["batch_size"] is not None:
        expected = "the full batch (null): its line search compares losses of one batch"
        found = f"lbfgs with batch_size {training['batch_size']}"
        yield Finding(label, key, found, expected, "set batch_size: null or take adam")
    if "groups" in training:
        found = f"lbfgs with settings for the groups {', '.join(training['groups'])}"
        expected = "one learning rate: L-BFGS moves all parameters along one direction"
        yield Finding(label, f"{key}.groups", found, expected, "remove groups, or take adam or adamw")


def for_method(training: Mapping[str, Any], baseline: Baseline) -> dict[str, Any]:
    """Return training settings as they apply to the methods of a baseline.

    Of an estimator, which trains itself, those alone remain by which its runs are paired with runs of others.
    """
    if not baseline.fits_itself:
        return for_groups(training, baseline.groups)
    kept = {name: training[name] for name in (*BUDGET, "timeout_seconds") if name in training}
    return {**kept, "optimiser": OWN, "evaluations": 1}


def for_groups(training: Mapping[str, Any], groups: Sequence[str]) -> dict[str, Any]:
    """Return training settings as they apply to a method with the parameter groups `groups`.

    Settings for groups that it lacks are dropped, so that runs which differ only in them are one run. The rest of the
    parameters is the group `other`: where a method has no groups that is all of them, and its settings become the
    general ones.
    """
    top = {name: value for name, value in training.items() if name != "groups"}
    kept = {name: entry for name, entry in training.get("groups", {}).items() if name in (*groups, REST)}
    if not groups:
        top.update(kept.pop(REST, {}))
    return _tidy(top, kept)


def with_knobs(training: Mapping[str, Any], knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Return training settings with what a trial drew laid over them: `<knob>`, or `<group>.<knob>` for one group.

    L-BFGS has one learning rate, so draws for a group do not reach it, and a method that trains itself has none.
    """
    if training["optimiser"] == OWN:
        return dict(training)
    top = {name: value for name, value in training.items() if name != "groups"}
    groups = {name: dict(entry) for name, entry in training.get("groups", {}).items()}
    for name, value in knobs.items():
        group, _, knob = name.rpartition(".")
        if not group:
            top[knob] = value
        elif training["optimiser"] != "lbfgs":
            groups.setdefault(group, {})[knob] = value
    return _tidy(top, groups)
