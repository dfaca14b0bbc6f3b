"""Learning rates by name: a study says `learning_rate: tuned`, and `workflow/config/tuning.csv` has the number.

A rate that is typed beside one method and not beside another decides comparisons, so a published study types none:
`typed` finds those that are. Exempt are configurations that reproduce somebody's settings (`TYPED`), lists (a sweep
shows all that it tries), runs that train nothing, and studies that say `published: false`.

The table is written by `python -m kanbench choose` from the records of the study `tuning`, which tries the same number
of rates from the same range for every method (`kanbench.study.search`), by validation, on seeds of its own. A choice
belongs to an experiment of that study, a family of tasks, a method and a budget; a run takes the one whose budget is
nearest to its own.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from kanbench.base import paths
from kanbench.base.budget import nearest_budget, whole
from kanbench.base.errors import Finding, InvalidInput, nearest

FILE = "workflow/config/tuning.csv"
TUNED, SEARCHED = "tuned", "searched"
TYPED = ("paper", "upstream_default")
"""Configurations whose learning rates are somebody else's."""
RATE = "learning_rate"
UNTUNED = "*"
"""In the place of a method, the rate that all without a choice of their own had before there was a choice; tuning an
experiment removes it, and a method that is added later has to be tuned."""
UNUSED = {RATE: 0.01}
"""Of a method that does not run on a family of tasks: its record says so, and nothing is trained."""
COLUMNS = ("experiment", "family", "budget", "method", "settings", "chosen")


class Choices:
    """The chosen learning rates of a table.

    Args:
        path: The table, with at least `COLUMNS`. `settings` reads `learning_rate 0.01, meta_learners.learning_rate
            0.001`; rows without a method are other choices and are passed over.

    Raises:
        InvalidInput: columns are missing, or a chosen row cannot be read.
    """

    def __init__(self, path: Path):
        self.label = paths.relative(path)
        self.rates: dict[tuple[str, str, str], dict[int, dict[str, float]]] = {}
        problems = []
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
            for number, row in enumerate(rows if not missing else (), start=2):
                if row["chosen"] != "True" or not row["method"]:
                    continue
                try:
                    key = row["experiment"], row["family"], row["method"]
                    by_budget = self.rates.setdefault(key, {})
                    by_budget[int(row["budget"])] = parse(row["settings"])
                except ValueError as error:
                    step = "write the table again: `make tuning`"
                    problems.append(Finding(self.label, f"line {number}", str(error), "a budget and rates", step))
        step = "write the table again: `make tuning`"
        problems += [Finding(self.label, "", f"no column '{name}'", ", ".join(COLUMNS), step) for name in missing]
        if problems:
            raise InvalidInput(problems)

    def find(self, experiment: str, family: str, method: str, steps: int) -> dict[str, float] | None:
        """Return what was chosen for a method on a family of tasks, at the budget nearest to `steps`, or None."""
        by_budget = self._budgets(experiment, family, method)
        return by_budget[nearest_budget(by_budget, steps)] if by_budget else None

    def budget(self, experiment: str, family: str, method: str, steps: int) -> int | None:
        """Return the steps at which the rates were tuned that `find` returns, or None where nobody tuned them."""
        by_budget = self.rates.get((experiment, family, method))
        return nearest_budget(by_budget, steps) if by_budget else None

    def _budgets(self, experiment: str, family: str, method: str) -> dict[int, dict[str, float]]:
        return self.rates.get((experiment, family, method)) or self.rates.get((experiment, family, UNTUNED)) or {}

    @property
    def experiments(self) -> list[str]:
        """The experiments of the study `tuning` that have choices."""
        return sorted({experiment for experiment, _, _ in self.rates})


def parse(text: str) -> dict[str, float]:
    """Return rates by knob from `learning_rate 0.01, meta_learners.learning_rate 0.001`.

    Raises:
        ValueError: the text has another form, or a rate is not positive.
    """
    found = {}
    for part in text.split(", "):
        name, _, number = part.rpartition(" ")
        if name.rpartition(".")[2] != RATE or not 0 < float(number) < math.inf:
            raise ValueError(f"'{part}' is no learning rate")
        found[name] = float(number)
    return found


def text(rates: Mapping[str, float]) -> str:
    """Return rates as `parse` reads them."""
    return ", ".join(f"{name} {value:g}" for name, value in rates.items())


def load(path: Path | None = None) -> Choices:
    """Return the choices of a table (default: `FILE` of the suite), read again where the file has changed."""
    path = path or paths.root() / FILE
    if not path.is_file():
        step = "restore the file, or run `make tuning`"
        raise InvalidInput([Finding(FILE, "", "no such file", "the learning rates that were chosen", step)])
    seen = path.stat()
    return _read(path, seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> Choices:
    return Choices(path)


def beside(found: Mapping[str, float], training: Mapping[str, Any]) -> dict[str, float]:
    """Return chosen rates without those of groups whose rate the training settings give themselves."""
    given = {name for name, _ in _given(training)}
    return {name: value for name, value in found.items() if f"groups.{name}" not in given}


def source(key: str, experiment: Mapping[str, Any]) -> str:
    """Return the experiment of the study `tuning` whose choices an experiment takes: the one it names, or its own."""
    return experiment.get("rates", whole(key))


def missing(label: str, key: str, experiment: Mapping[str, Any], family: str, method: str, choices: Choices) -> Finding:
    """Return the finding of a rate that nobody has chosen."""
    name = source(key, experiment)
    if name not in choices.experiments:
        expected = nearest(name, choices.experiments)
        return Finding(label, f"experiments.{key}.rates", f"no rates of '{name}'", expected, "name where they are from")
    step = f"run `make tuning`, with the method in {name} of workflow/config/tuning.yaml"
    step += ", or type its rate in a study with `published: false`"
    found = f"no tuned learning rate of {method} for {name}, {family.replace('_', ' ')}"
    return Finding(label, f"experiments.{key}.methods", found, f"a choice in {choices.label}", step)


def typed(content: Mapping[str, Any], label: str, profiled: set[str]) -> Iterator[Finding]:
    """Yield a finding for every learning rate that a published study types, or leaves to the default.

    Args:
        content: A study that its schema accepts.
        profiled: Names of the tasks that train nothing.
    """
    if not content.get("published", True):
        return
    for key, experiment in content["experiments"].items():
        tasks = {task if isinstance(task, str) else task["name"] for task in experiment["tasks"]}
        theirs = experiment.get("configuration", content["configuration"]) in TYPED
        if theirs or tasks <= profiled:
            continue
        where = f"experiments.{key}"
        yield from _typed(experiment["training"], f"{where}.training", label)
        for position, entry in enumerate(experiment["methods"]):
            own = entry.get("training", {}) if isinstance(entry, Mapping) else {}
            yield from _typed(own, f"{where}.methods.{position}.training", label)
        if not any(_given(experiment["training"])) and RATE not in experiment["training"]:
            found = "no learning rate, which stands for a typed default"
            yield Finding(label, f"{where}.training.{RATE}", found, *_advice())


def _typed(training: Mapping[str, Any], where: str, label: str) -> Iterator[Finding]:
    for name, value in _given(training):
        if isinstance(value, (int, float)):
            yield Finding(label, f"{where}.{name}", f"{value}, typed", *_advice())


def _given(training: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the rates that training settings name, with their keys."""
    if RATE in training:
        yield RATE, training[RATE]
    for group, entry in training.get("groups", {}).items():
        if RATE in entry:
            yield f"groups.{group}.{RATE}", entry[RATE]


def _advice() -> tuple[str, str]:
    step = f"write `{RATE}: {TUNED}`; a study to try things out may say `published: false`"
    return f"`{TUNED}` ({FILE}), or a list that is swept", step
