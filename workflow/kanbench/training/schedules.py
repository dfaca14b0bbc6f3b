"""Learning-rate schedules as factors of the base rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def factor(name: str, steps: int, steps_per_epoch: int, gamma: float = 1.0) -> Callable[[int], float]:
    """Return the function from the number of finished steps to the factor of the learning rate.

    Args:
        name: `constant`; `linear` and `cosine` fall to zero at the last step; `exponential` multiplies by
            `gamma` after every epoch; `alternating` is 1 and 0 in turn, epoch by epoch, which is what
            `CosineAnnealingLR(T_max=-1)` of the released MetaKAN code does.
        steps: Number of steps of the whole run.
        steps_per_epoch: Number of steps in an epoch; 1 for full-batch training.
        gamma: Factor an epoch of the exponential schedule.

    Raises:
        ValueError: the name is unknown.
    """
    known: dict[str, Callable[[int], float]] = {
        "constant": lambda step: 1.0,
        "linear": lambda step: 1.0 - step / steps,
        "cosine": lambda step: 0.5 * (1.0 + math.cos(math.pi * min(step / steps, 1.0))),
        "exponential": lambda step: gamma ** (step // steps_per_epoch),
        "alternating": lambda step: float((step // steps_per_epoch) % 2 == 0),
    }
    if name not in known:
        raise ValueError(f"unknown schedule '{name}'; known: {', '.join(known)}")
    return known[name]


def of_groups(
    training: Mapping[str, Any], names: Sequence[str | None], steps: int, steps_per_epoch: int
) -> list[Callable[[int], float]]:
    """Return a factor function for each parameter group: its own schedule where `training.groups` has one for it."""
    chosen = [{**training, **training.get("groups", {}).get(name, {})} for name in names]
    return [factor(each["schedule"], steps, steps_per_epoch, each.get("gamma", 1.0)) for each in chosen]
