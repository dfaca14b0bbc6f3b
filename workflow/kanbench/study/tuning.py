"""Random search with the same number of trials for every method, from the search space that it declares."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from kanbench.baselines.description import TRAINING_KNOBS
from kanbench.baselines.discovery import Method

DIGITS = 4
"""Significant digits of a drawn number: enough for a search, and short in a name or a table."""


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
