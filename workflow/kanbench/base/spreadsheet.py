"""Text in CSV files that spreadsheets open: what they would run as a formula is marked as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

RUN = ("=", "+", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a cell begins with that a spreadsheet runs; a minus counts where the cell is no number."""
MARK = "'"


def neutral(cell: Any) -> Any:
    """Return a cell with `'` before text that a spreadsheet would run; numbers and all other text stay as they are.

    A carriage return is written as a line feed: inside a cell, Python's writer would leave it unquoted, as a new row.
    """
    if isinstance(cell, str) and "\r" in cell:
        return neutral(cell.replace("\r\n", "\n").replace("\r", "\n"))
    if isinstance(cell, str) and (cell.startswith(RUN) or (cell.startswith("-") and not _is_number(cell))):
        return MARK + cell
    return cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def to_csv(frame: pd.DataFrame, **options: Any) -> str:
    """Return a frame as CSV, without its index, with headings and text neutralised; `options` are those of pandas."""
    return neutralised(frame).to_csv(index=False, lineterminator="\n", **options)


def neutralised(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose headings and text a spreadsheet will not run; columns of numbers are left alone."""
    columns: Mapping[int, pd.Series] = {
        position: frame.iloc[:, position].map(neutral)
        for position in range(frame.shape[1])
        if not pd.api.types.is_numeric_dtype(frame.dtypes.iloc[position])
    }
    found = frame.copy()
    for position, column in columns.items():
        found.isetitem(position, column)
    return found.rename(columns=neutral)
