"""The analysis `symbolic` of a record set as rows: one a run and way of choosing symbols. Needs no torch."""

from __future__ import annotations

import pandas as pd

WAYS = {"isolated": "edge by edge", "in_context": "by the network's loss"}
"""The keys of the analysis under which the two ways of choosing symbols stand, in words."""
PREFIX = "analyses.symbolic."
FORMULA, NOISE = "spec.task.settings.formula", "spec.task.settings.noise"
FLAGS = ("exact", "equal_inside", "equal_outside")
NUMBERS = ("score_truth", "score_network", "operations", "edge_r2_median")
SHARES = {"unexplained_truth": "score_truth", "unexplained_network": "score_network"}
"""What a formula leaves unexplained: 1 less the score of the R², so 1 where no formula came out."""
TEXTS = ("snapped", "equivalence", "reason")


def analysed(records: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that were analysed to the end."""
    column = f"{PREFIX}status"
    if column not in records:
        return records.iloc[:0]
    return records[(records["status"] == "ok") & (records[column] == "ok")]


def readings(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a planned run and way: formula, noise, method, label, seed, status, run, and what was read.

    Flags are 0 or 1 and missing where a run was not analysed; `SHARES` are 1 where no formula came out.
    """
    if f"{PREFIX}status" not in records:
        return pd.DataFrame()
    known = set(analysed(records)["run"])
    columns = {"formula": FORMULA, "noise": NOISE, "method": "method", "label": "label", "seed": "seed"}
    columns |= {"run": "run", "status": "status"}
    parts = []
    for way in WAYS:
        rows = pd.DataFrame({name: records[column] for name, column in columns.items()})
        rows["way"], rows["analysed"] = way, rows["run"].isin(known)
        for name in ("edges_before", "edges_after"):
            rows[name] = pd.to_numeric(_column(records, name), errors="coerce")
        for name in (*FLAGS, *NUMBERS):
            rows[name] = pd.to_numeric(_column(records, f"{way}.{name}"), errors="coerce").astype(float)
        for name, score in SHARES.items():
            rows[name] = 1 - rows[score]
        for name in TEXTS:
            rows[name] = _column(records, f"{way}.{name}")
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def _column(records: pd.DataFrame, name: str) -> pd.Series:
    column = f"{PREFIX}{name}"
    return records[column] if column in records else pd.Series([None] * len(records), index=records.index, dtype=object)
