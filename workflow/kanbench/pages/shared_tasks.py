"""Means over tasks: those that all rows of a block have, so that rows which stand together are means of the same."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def of_rows(block: pd.DataFrame, rows: Sequence[str], task: str, value: str) -> list[str]:
    """Return, sorted, the tasks for which every row of a block has a value.

    Args:
        block: One line a row and task; a value that is null is none.
        rows: Columns that tell the rows apart. A row without any value has no mean, and takes no task from the others.
        task, value: Columns of the task and of the value.
    """
    known = block[block[value].notna()]
    sets = [set(own[task]) for _, own in known.groupby(list(rows), dropna=False)]
    return sorted(set.intersection(*sets)) if sets else []


def note(name: str, shared: Sequence[str], every: Sequence[str]) -> str:
    """Return the sentence that says which tasks a block of means takes; empty where these are all there are."""
    if len(shared) == len(every):
        return ""
    which = ", ".join(shared) if shared else "none"
    return f"{name}: means over {len(shared)} of {len(every)} tasks, those of which every row has a value: {which}."
