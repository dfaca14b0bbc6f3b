"""How long a run trains, as studies, choices and verdicts name it: budgets in steps, and quarters of them."""

from __future__ import annotations

from collections.abc import Iterable

QUARTER = "quarter"
"""Ending of the id of an experiment that is another one at a quarter of its budget: `E1quarter` beside `E1`."""


def quarter(key: str) -> str:
    """Return the id of an experiment at a quarter of its budget."""
    return f"{key}{QUARTER}"


def is_quarter(key: str) -> bool:
    """Tell whether an id is that of an experiment at a quarter of its budget."""
    return key.endswith(QUARTER)


def whole(key: str) -> str:
    """Return the id of the experiment at its whole budget."""
    return key.removesuffix(QUARTER)


def nearest_budget(budgets: Iterable[int], wanted: int) -> int:
    """Return the budget whose ratio to the wanted one is nearest to 1; of two as near, the larger."""
    return min(budgets, key=lambda budget: (max(budget / wanted, wanted / budget), -budget))
