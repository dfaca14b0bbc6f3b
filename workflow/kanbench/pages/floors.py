"""Trivial predictors as rows of a table: what a method has to beat, and whether it does."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from kanbench.pages import cells

LABEL = "floor: "
IS_ONE, BEATS_ALL, NONE, NO_VALUE = "is one", "beats all", "none declared", "no value"


def found(runs: pd.DataFrame, metric: str, purpose: str) -> Iterator[tuple[str, pd.DataFrame, dict[str, object]]]:
    """Yield the name of each floor of a problem, the runs that know it, and its row: the spread over seeds."""
    ending = f".{metric}"
    for column in (c for c in runs.columns if c.startswith("floors.") and c.endswith(ending)):
        known = runs[runs[column].notna()]
        if known.empty:
            continue
        name = column.removeprefix("floors.").removesuffix(ending)
        values = known.groupby("seed")[column].first()
        row = {"label": f"{LABEL}{name}", **cells.spread(values, f"{purpose} {name}", "median"), "canonical": True}
        yield name, known, row | {"kind": "floor", "seeds": f"{len(values)} seeds", "runs": " ".join(known["run"])}


def against(value: float, goal: str, floors: pd.DataFrame, loses_to: str = "not") -> str:
    """Return whether a median beats every one of `floors`, the rows of its problem, and which it does not."""
    if floors.empty:
        return NONE
    if math.isnan(value):
        return NO_VALUE
    sign = 1 if goal == "min" else -1
    lost = floors[sign * (value - floors["median"]) >= 0]["label"].str.removeprefix(LABEL)
    return BEATS_ALL if lost.empty else f"{loses_to} {', '.join(lost)}"


def is_floor(row: pd.Series) -> bool:
    """Return whether a row is a floor."""
    return str(row["label"]).startswith(LABEL)
