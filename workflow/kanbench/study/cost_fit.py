"""The two constants of the cost model, fitted on records: seconds of overhead a layer and pass, and seconds a FLOP.

Small networks show the overhead, large ones the throughput, and only a fit to both carries from one to the other.
Fitted are logarithms of seconds, with a loss that bounds what a run counts that was slowed by others. A method with few
sizes leans on what its baseline shows, a baseline on all methods, and these on the constants of `cost.DEVICES`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kanbench.study import cost

LEAN = 0.5
"""Weight of what a group leans on, against that of one record."""
MOST = 7.0
"""Largest change of the logarithm of a constant against what it leans on."""
FITTED = 3
"""Fewest records that are worth a fit of their own."""


class Constants:
    """Constants by device, optimiser with or without line search, baseline and method.

    Args:
        records: Any records; those without times are passed over.

    Attributes:
        counted: How many records were fitted, by processor or GPU.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]]):
        self.counted: Counter[str] = Counter()
        rows: dict[tuple, list[tuple[float, float, float]]] = defaultdict(list)
        for record in records:
            seconds = cost.train_seconds(record)
            if seconds is None or not cost.known(record["spec"]):
                continue
            environment = record.get("environment") or {}
            self.counted[environment.get("gpu") or environment.get("cpu") or "a machine without a name"] += 1
            for key in _keys(record["spec"]):
                rows[key].append((*cost.model_terms(record["spec"]), seconds))
        self._found: dict[tuple, tuple[float, float]] = {}
        for key in sorted(rows, key=len):
            if len(rows[key]) >= FITTED:
                self._found[key] = _fit(np.array(rows[key]), self._above(key))

    def _above(self, key: tuple) -> tuple[float, float]:
        for shorter in (key[:length] for length in range(len(key) - 1, 1, -1)):
            if shorter in self._found:
                return self._found[shorter]
        overhead, throughput, _ = cost.DEVICES[key[0]]
        return overhead, 1 / throughput

    def of(self, spec: Mapping[str, Any]) -> tuple[float, float]:
        """Return seconds of overhead a layer and pass, and seconds a FLOP, of a run."""
        longest = _keys(spec)[-1]
        return self._found.get(longest) or self._above(longest)

    def seconds(self, spec: Mapping[str, Any]) -> float:
        """Return the seconds of a run by these constants."""
        return float(np.dot(self.of(spec), cost.model_terms(spec)))

    @property
    def basis(self) -> str:
        """What the constants rest on, in words."""
        if not self.counted:
            return "constants of study/cost.py: there are no records"
        machines = ", ".join(f"{count:,} on {name}" for name, count in self.counted.most_common())
        return f"constants fitted on {sum(self.counted.values()):,} records ({machines})"


def _keys(spec: Mapping[str, Any]) -> list[tuple]:
    """Return the groups that a run belongs to, each within the one before."""
    method = spec["method"]
    line_search = spec["training"]["optimiser"] == "lbfgs"
    whole = (spec["device"].partition(":")[0], line_search, method["baseline"], method["name"])
    return [whole[:length] for length in (2, 3, 4)]


def _fit(rows: np.ndarray, lean: tuple[float, float]) -> tuple[float, float]:
    """Return the two constants of rows of overhead, FLOP and seconds, near `lean` where they leave it open."""
    from scipy.optimize import least_squares

    scaled, target = rows[:, :2] * np.array(lean), np.log(rows[:, 2])

    def residuals(logs: np.ndarray) -> np.ndarray:
        return np.concatenate([np.log(scaled @ np.exp(logs)) - target, LEAN * logs])

    found = least_squares(residuals, np.zeros(2), loss="soft_l1", bounds=(-MOST, MOST))
    return tuple(float(each) for each in lean * np.exp(found.x))
