"""Which learning rates the study `tuning` tries: the same number for every method, from the same range.

`learning_rate: searched` stands for the trials of a method. A method has a rate for all of its parameters, and one more
for each of its groups after the first (what it puts into no group moves with the first). The first trials are a
lattice in the logarithms of the rates, in which every rate takes every level of the range once: with one rate its
levels, with two the points of a plane that lie farthest apart. Then come rounds of `further` trials, made from the
scores so far and kept beside the records: where the best trial has a rate on the edge of what was tried, outward, so
that the range widens; else closer around the best, one rate a round. In a round every method gets as many trials.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kanbench.base.atomic import write_text
from kanbench.study.rates import RATE

DIGITS = 3
"""Significant digits of a rate: finer than any choice, and short in a name or a table."""
ROUNDS_FILE = "rounds.json"


def knobs(groups: Sequence[str], optimiser: str) -> tuple[str, ...]:
    """Return the names of a method's learning rates; L-BFGS moves all parameters along one direction with one rate."""
    further = () if optimiser == "lbfgs" else groups[1:]
    return (RATE, *(f"{group}.{RATE}" for group in further))


def spacing(search: Mapping[str, Any]) -> float:
    """Return the distance of two levels of a range, as a difference of logarithms."""
    return math.log(search["high"] / search["low"]) / (search["trials"] - 1)


def lattice(names: Sequence[str], search: Mapping[str, Any]) -> list[dict[str, float]]:
    """Return the first trials: a rank-1 lattice of `trials` levels, its middle in the middle.

    The generator is that of the plane whose points lie farthest apart; rate j has level middle + i·generator^j.
    """
    count = search["trials"]
    middle = (count - 1) // 2
    generator = max((a for a in range(1, count) if math.gcd(a, count) == 1), key=lambda a: (_distance(a, count), -a))
    low, step = math.log(search["low"]), spacing(search)
    return [
        {
            name: rounded(math.exp(low + step * ((middle + (i - middle) * generator**j) % count)))
            for j, name in enumerate(names)
        }
        for i in range(count)
    ]


def _distance(generator: int, count: int) -> int:
    """Return the smallest squared distance of two points (i, generator·i mod count), in levels."""
    points = [(i, generator * i % count) for i in range(count)]
    return min((a - c) ** 2 + (b - d) ** 2 for a, b in points for c, d in points if (a, b) != (c, d))


def further(
    best: Mapping[str, float], edges: Mapping[str, int], done: int, search: Mapping[str, Any]
) -> list[dict[str, float]]:
    """Return the trials of the next round of a method.

    Args:
        best: Rates of its best trial.
        edges: -1 or 1 for each rate of it that is the lowest or the highest tried.
        done: Rounds before this one.
    """
    count, step, names = search["further"], spacing(search), list(best)
    if edges:
        moves = [{name: side * step * (1 + trial) for name, side in edges.items()} for trial in range(count)]
    else:
        name, narrower = names[done % len(names)], 2 ** (done // len(names))
        size = step / (narrower * (1 + math.ceil(count / 2)))
        moves = [{name: size * (1 + trial // 2) * (-1 if trial % 2 == 0 else 1)} for trial in range(count)]
    return [{name: rounded(best[name] * math.exp(move.get(name, 0.0))) for name in names} for move in moves]


def rounded(value: float) -> float:
    """Return a rate with `DIGITS` significant digits."""
    return float(f"{value:.{DIGITS}g}")


class Rounds:
    """The trials after the first ones, by experiment, family of tasks and method; kept beside the records."""

    def __init__(self, folder: Path):
        self.path = folder / ROUNDS_FILE
        found = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
        self.content: dict[str, dict[str, dict[str, list[list[dict[str, float]]]]]] = found

    def of(self, key: str, family: str, method: str) -> list[list[dict[str, float]]]:
        """Return the rounds of a method, each a list of trials."""
        return self.content.get(key, {}).get(family, {}).get(method, [])

    def add(self, key: str, family: str, method: str, trials: list[dict[str, float]]) -> None:
        """Append a round."""
        self.content.setdefault(key, {}).setdefault(family, {}).setdefault(method, []).append(trials)

    def write(self) -> None:
        """Write the rounds where the plan reads them."""
        write_text(self.path, json.dumps(self.content, indent=1, sort_keys=True))


def trials(
    names: Sequence[str], search: Mapping[str, Any], rounds: Sequence[Sequence[dict[str, float]]]
) -> Iterator[dict[str, float]]:
    """Yield the rates of all trials of a method: the first ones, then those of its rounds; none twice."""
    seen = []
    for trial in [*lattice(names, search), *(trial for each in rounds for trial in each)]:
        if trial not in seen:
            seen.append(trial)
            yield trial
