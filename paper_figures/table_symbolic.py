"""Formulas read off the networks, by target, noise, method and way of choosing symbols

Exact: sympy proves the formula, its numbers replaced by exact ones nearby, equal to the target. Equal inside and
outside: the largest error in (and in a box of twice the width around) the training range is at most 1 % of the
target's standard deviation. R² is on noise-free test points, against the truth and against the trained network, and
counts as 0 where no formula came out; shown is what it leaves unexplained. Operations are those of the formula. Edge
R²: how well the chosen symbols fit the learned edges, the median edge. Same formula: runs that share the commonest
formula, over seeds. Medians over seeds; square brackets are 95 % intervals, round ones the range. Source: experiments
E12 and E12deep.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import style, table
from kanbench.pages.table import Cell, Table
from kanbench.records import symbolic_runs as runs

KIND = "table"
EXPERIMENTS = ["E12", "E12deep"]
CATEGORY = "Open questions"
COUNTED = {"exact": "Exact", "equal_inside": "Equal inside", "equal_outside": "Equal outside"}
MEASURED = {
    "unexplained_truth": "1 - R², truth",
    "unexplained_network": "1 - R², network",
    "operations": "Operations",
    "edge_r2_median": "Edge R²",
}
COLUMNS = (
    *("Target", "Noise", "Method", "Symbols chosen", *COUNTED.values(), *MEASURED.values()),
    *("Edges", "Same formula", "Commonest formula", "Runs ok"),
)


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a target, noise level, method and way."""
    readings = runs.readings(records)
    if readings.empty or not readings["analysed"].any():
        return pd.DataFrame()
    keys = ["formula", "noise", "label", "way"]
    return pd.DataFrame([dict(zip(keys, key, strict=True)) | _row(key, group) for key, group in readings.groupby(keys)])


def _row(key: tuple, group: pd.DataFrame) -> dict:
    known = group[group["analysed"]]
    row = {"n_analysed": len(known), "n_planned": len(group), "status": table.status_text(group["status"])}
    row |= {flag: int(known[flag].fillna(0).sum()) for flag in COUNTED}
    for name in MEASURED:
        middle, low, high, interval = table.spread(known[name], f"symbolic {name} {key}")
        row |= {name: middle, f"{name}_low": low, f"{name}_high": high, f"{name}_interval": interval}
    formulas = known["snapped"].dropna().value_counts()
    row |= {
        "edges_before": known["edges_before"].median(),
        "edges_after": known["edges_after"].median(),
        "score_truth_deviation": known["score_truth"].std(),
        "same_formula": int(formulas.iloc[0]) if len(formulas) else 0,
        "commonest": sorted(formulas[formulas == formulas.iloc[0]].index)[0] if len(formulas) else "",
        "reasons": "; ".join(sorted(set(known["reason"].dropna()))),
        "runs": " ".join(sorted(group["run"])),
    }
    return row


def rows(frame: pd.DataFrame) -> Table:
    """Return the table."""
    numeric = frozenset({"Noise", "Operations"})
    return Table(COLUMNS, tuple(_cells(row) for _, row in frame.iterrows()), frame, numeric)


def _cells(row: pd.Series) -> tuple[Cell, ...]:
    names = table.run_names(row["runs"])
    counted = [Cell(f"{row[flag]} / {row['n_analysed']}", names, row[flag]) for flag in COUNTED]
    measured = [_measured(row, name, names) for name in MEASURED]
    edges = f"{row['edges_before']:.0f} to {row['edges_after']:.0f}" if pd.notna(row["edges_after"]) else "none left"
    return (
        Cell(row["formula"]),
        Cell(f"{row['noise']:g}", sort=row["noise"]),
        Cell(row["label"]),
        Cell(runs.WAYS[row["way"]]),
        *counted,
        *measured,
        Cell(edges),
        Cell(f"{row['same_formula']} / {row['n_analysed']}", names, row["same_formula"]),
        Cell(row["commonest"] or row["reasons"] or "none"),
        Cell(row["status"], names),
    )


def _measured(row: pd.Series, name: str, names: tuple[str, ...]) -> Cell:
    if pd.isna(row[name]):
        return Cell("no formula", names)
    if name == "operations":
        return Cell(style.number(row[name]), names, row[name])
    return Cell(
        table.spread_text(row[name], row[f"{name}_low"], row[f"{name}_high"], row[f"{name}_interval"]), names, row[name]
    )
