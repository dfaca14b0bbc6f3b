"""What a study leaves open about a method: learning rates by name, or settings that a random search draws.

The random search (`trials`) makes the same number of trials for every method, from the search space that it declares.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from kanbench.base.errors import InvalidInput
from kanbench.baselines.description import TRAINING_KNOBS
from kanbench.baselines.discovery import Method
from kanbench.study import cost, rates, search
from kanbench.study.config import Study
from kanbench.tasks.taskinfo import TaskInfo

DIGITS = 4
"""Significant digits of a drawn number: enough for a search, and short in a name or a table."""


def drawn(
    study: Study, key: str, task: tuple[TaskInfo, Mapping[str, Any]], method: tuple, rounds: search.Rounds
) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Yield what each run of a method adds to a spec, its settings, and its training settings by knob.

    Args:
        key: The experiment.
        task: A task and its settings.
        method: The method, its settings and its training settings.
        rounds: The trials of learning rates that were added to the first ones.

    Raises:
        InvalidInput: the study asks for a rate that nobody has chosen.
    """
    (info, _), (which, overrides, training, *_) = task, method
    experiment, rate = study.content["experiments"][key], training[rates.RATE]
    if rate == rates.SEARCHED:
        names = search.knobs(which.baseline.groups, training["optimiser"])
        made = rounds.of(key, info.family, which.name)
        yield from (({}, overrides, found) for found in search.trials(names, experiment["search"], made))
    elif rate == rates.TUNED:
        choices, steps = rates.load(), cost.steps(*task, training)
        found = choices.find(rates.source(key, experiment), info.family, which.name, steps)
        if found is None and not which.skip_reason(info.family):
            raise InvalidInput([rates.missing(study.label, key, experiment, info.family, which.name, choices)])
        yield {}, overrides, rates.beside(found or rates.UNUSED, training)
    else:
        yield from trials(which, overrides, experiment.get("trials"))


def trials(
    method: Method, overrides: Mapping[str, Any], count: int | None
) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Yield what each trial adds to a spec, its settings, and its training settings.

    Without a `count` there is one, with nothing drawn. The draws depend on the name of the method and the number of
    the trial only: every seed and task tries the same settings, and more trials begin with the same ones.
    """
    if count is None:
        yield {}, dict(overrides), {}
        return
    for trial in range(count):
        drawn = draw(method, trial)
        knobs = {name: drawn.pop(name) for name in list(drawn) if name.rpartition(".")[2] in TRAINING_KNOBS}
        yield {"trial": trial, "configuration": "tuned"}, {**overrides, **drawn}, knobs


def draw(method: Method, trial: int) -> dict[str, Any]:
    """Return the settings of a trial: one value, or a number (log-)uniform in [low, high], for each entry."""
    seed = hashlib.sha256(f"{method.name}/{trial}".encode()).digest()
    generator = random.Random(seed)
    return {name: _value(choices, generator) for name, choices in sorted(method.baseline.search_space.items())}


def _value(choices: Any, generator: random.Random) -> Any:
    if not isinstance(choices, Mapping):
        return generator.choice(list(choices))
    low, high = choices["low"], choices["high"]
    if choices.get("log"):
        return float(f"{math.exp(generator.uniform(math.log(low), math.log(high))):.{DIGITS}g}")
    return float(f"{generator.uniform(low, high):.{DIGITS}g}")
