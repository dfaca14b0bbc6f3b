"""Loads a study from `workflow/config`, applies overrides and refuses what it does not know."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kanbench import paths, schema
from kanbench.errors import Finding, InvalidInput, nearest

DEFAULT_STUDY = "workflow/config/laptop.yaml"
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
        """The experiments to plan, by id: all, or those that `only` names."""
        chosen = selected(self.content.get("only"))
        everything = self.content["experiments"]
        return {key: value for key, value in everything.items() if not chosen or key in chosen}

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
    known = list(content.get("experiments") or {})
    for name in selected(content.get("only")):
        if name not in known:
            problems.append(Finding(label, "only", name, nearest(name, known), "name experiments of this study"))
    if "records" in content and not (paths.root() / content["records"]).exists():
        problems.append(
            Finding(label, "records", content["records"], "a folder with records.jsonl.gz", "correct the path")
        )
    if problems:
        raise InvalidInput(problems)
    return Study(label, content)


def from_snakemake(config: Mapping[str, Any], configfiles: list[str]) -> Study:
    """Return the study that a Snakemake call asks for.

    `--configfile` would be merged *into* a file that the Snakefile names, experiment by experiment, so the
    Snakefile names none: without `--configfile` the default study is read here and `--config` overlays it.
    """
    if "experiments" in config:
        label = ", ".join(paths.relative(Path(file)) for file in configfiles) or "--config"
        return from_content(config, label)
    return load(None, config)


def training(parts: list[Mapping[str, Any] | None], label: str, key: str) -> tuple[dict[str, Any], list[Finding]]:
    """Merge training settings, later parts winning, and check what a schema cannot say.

    Returns:
        The complete settings and the findings about them.
    """
    merged = dict(TRAINING_DEFAULTS)
    for part in parts:
        part = part or {}
        if "steps" in part:
            merged.pop("epochs", None)
        if "epochs" in part:
            merged.pop("steps", None)
        merged.update(part)
    problems = []
    if ("steps" in merged) == ("epochs" in merged):
        found = "both" if "steps" in merged else "neither"
        problems.append(Finding(label, key, f"{found} of steps and epochs", "exactly one", "write `steps` or `epochs`"))
    if merged["schedule"] == "exponential":
        merged.setdefault("gamma", GAMMA_DEFAULT)
    else:
        merged.pop("gamma", None)
    if merged["optimiser"] == "lbfgs" and merged["batch_size"] is not None:
        problems.append(
            Finding(
                label,
                key,
                f"lbfgs with batch_size {merged['batch_size']}",
                "the full batch (null): its line search compares losses of one batch",
                "set batch_size: null or take adam",
            )
        )
    return merged, problems
