"""Partial differential equations

One row an equation, dimension and method: relative L2 and L1 error on the fixed test points at the step chosen on
validation, median over seeds. Floors are rows: what the best constant, affine or quadratic factor beside the boundary
factor reaches. A method that does not beat a floor is told so. The ratio is in the L2 error, against the KAN (of an MLP
against MetaKAN); the margin is a factor of 1.1.
"""

from __future__ import annotations

import math

import pandas as pd

from kanbench.pages import published, style, table
from kanbench.pages.table import Cell, Table

KIND = "table"
EXPERIMENTS = ["E7", "E7exact", "E7high", "E7paper", "E7released"]
CATEGORY = "Accuracy"
DIMENSION, LAPLACIAN = "spec.task.settings.dimension", "spec.task.settings.laplacian"
L1 = "metrics.selected.test.relative_l1"
PARTNERS = {
    "metakan-relu": "efficient_kan",
    "metakan-linear": "efficient_kan",
    **dict.fromkeys(("mlp", "mlp_matched", "shared_kan", "low_rank_kan"), "metakan-relu"),
}
COLUMNS = (
    *("Equation", "Dimension", "Laplacian", "Configuration", "Method", "Parameters", "Relative L2", "Relative L1"),
    *("L2 ratio", "Verdict", "Floors", "Runs ok"),
)


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row an equation, dimension and method, and one a floor."""
    chosen = records[records["family"] == "pde"]
    if chosen.empty:
        return pd.DataFrame()
    options = {"dataset": "spec.task.name", "by": (DIMENSION, LAPLACIAN), "item": "PDE", "margin": 0.1}
    found = published.against_partners(chosen, PARTNERS, ratio=True, **options)
    l1 = chosen.set_index("run")[L1] if L1 in chosen else pd.Series(math.nan, index=chosen["run"])
    found["relative_l1"] = [l1[list(table.run_names(runs))].median() for runs in found["runs"]]
    floors = _floors(chosen)
    found["floors"] = [_against(row, floors) for _, row in found.iterrows()]
    everything = pd.concat([found.assign(kind="method"), floors], ignore_index=True) if len(floors) else found
    order = ["dataset", "dimension", "kind", "method"] if len(floors) else ["dataset", "dimension", "method"]
    return everything.sort_values(order, kind="stable", ignore_index=True)


def _floors(records: pd.DataFrame) -> pd.DataFrame:
    rows = []
    columns = [c for c in records if c.startswith("floors.") and c.endswith(".relative_l2")]
    for (name, dimension), runs in records.groupby(["spec.task.name", DIMENSION]):
        for column in columns:
            known = runs[runs[column].notna()]
            if known.empty:
                continue
            floor = column.removeprefix("floors.").removesuffix(".relative_l2")
            middle, low, high, interval = table.spread(
                known.groupby("seed")[column].first(), f"pde {name} {dimension} {floor}"
            )
            other = f"floors.{floor}.relative_l1"
            rows.append(
                {
                    "dataset": name,
                    "dimension": dimension,
                    "kind": "floor",
                    "method": floor,
                    "label": f"floor: {floor}",
                    "median": middle,
                    "low": low,
                    "high": high,
                    "interval": interval,
                    "relative_l1": known[other].median() if other in known else math.nan,
                    "parameters": math.nan,
                    "published": math.nan,
                    "published_parameters": math.nan,
                    "source": "",
                    "canonical": True,
                    "partner": "",
                    "floors": "is one",
                    "seeds": f"{known['seed'].nunique()} seeds",
                    "runs": " ".join(known["run"]),
                }
            )
    return pd.DataFrame(rows)


def _against(row: pd.Series, floors: pd.DataFrame) -> str:
    """Return whether a method beats every floor of its problem, and which it does not."""
    if floors.empty:
        return "none declared"
    if math.isnan(row["median"]):
        return "no value"
    mine = floors[(floors["dataset"] == row["dataset"]) & (floors["dimension"] == row["dimension"])]
    lost = mine[mine["median"] <= row["median"]]["method"]
    return "beats all" if lost.empty else "does not beat " + ", ".join(lost)


def rows(frame: pd.DataFrame) -> Table:
    """Return the table: methods, then floors, problem by problem."""
    numeric = frozenset({"Dimension", "Relative L1"})
    return Table(COLUMNS, tuple(_row(row) for _, row in frame.iterrows()), frame, numeric)


def _row(row: pd.Series) -> tuple[Cell, ...]:
    runs = table.run_names(row["runs"])
    l1 = row["relative_l1"]
    return (
        Cell(row["dataset"].replace("_", " ")),
        Cell(f"{row['dimension']:g}", sort=row["dimension"]),
        Cell(row["laplacian"] if isinstance(row["laplacian"], str) else "any"),
        published.configuration_cell(row),
        Cell(row["label"]),
        Cell("none") if row["label"].startswith("floor: ") else published.parameters_cell(row),
        published.ours_cell(row),
        Cell(style.number(l1), runs, None if math.isnan(l1) else l1),
        published.against_cell(row),
        published.verdict_cell(row),
        Cell(row["floors"], badge="fails" if row["floors"].startswith("does not") else ""),
        Cell(row["seeds"], runs),
    )
