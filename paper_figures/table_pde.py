"""Partial differential equations

One row an equation, dimension and method: relative L2 and L1 error on the fixed test points at the step chosen on
validation, median over seeds. Floors are rows: what the constant, affine or quadratic factor of least error beside the
boundary factor reaches; a column says which of them a method is ahead of. The ratio is in the L2 error, against the KAN
(of an MLP against MetaKAN); the margin is a factor of 1.1.
"""

from __future__ import annotations

import math

import pandas as pd

from kanbench.pages import cells, floors, published, style, table
from kanbench.pages.table import Cell, Table

KIND = "table"
EXPERIMENTS = ["E7", "E7exact", "E7high", "E7paper", "E7released"]
CATEGORY = "Accuracy"
DIMENSION, LAPLACIAN = "spec.task.settings.dimension", "spec.task.settings.laplacian"
LOSES_TO = "does not beat"
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
    default = published.declared_references(chosen, "dense", EXPERIMENTS)
    found = published.against_partners(chosen, PARTNERS, ratio=True, default=default, **options)
    l1 = chosen.set_index("run")[L1] if L1 in chosen else pd.Series(math.nan, index=chosen["run"])
    found["relative_l1"] = [l1[list(table.run_names(runs))].median() for runs in found["runs"]]
    trivial = _floors(chosen)
    found["floors"] = [_against(row, trivial) for _, row in found.iterrows()]
    everything = pd.concat([found.assign(kind="method"), trivial], ignore_index=True) if len(trivial) else found
    order = ["dataset", "dimension", "kind", "method"] if len(trivial) else ["dataset", "dimension", "method"]
    return everything.sort_values(order, kind="stable", ignore_index=True)


def _floors(records: pd.DataFrame) -> pd.DataFrame:
    rows = []
    absent = {**dict.fromkeys(("parameters", "published", "published_parameters"), math.nan), "published_for": ""}
    for (name, dimension), runs in records.groupby(["spec.task.name", DIMENSION]):
        for floor, known, row in floors.found(runs, "relative_l2", f"pde {name} {dimension}"):
            other = f"floors.{floor}.relative_l1"
            about = {"dataset": name, "dimension": dimension, "method": floor, "source": "", "partner": ""}
            about |= {"relative_l1": known[other].median() if other in known else math.nan, "floors": floors.IS_ONE}
            rows.append(about | absent | row)
    return pd.DataFrame(rows)


def _against(row: pd.Series, trivial: pd.DataFrame) -> str:
    if len(trivial):
        trivial = trivial[(trivial["dataset"] == row["dataset"]) & (trivial["dimension"] == row["dimension"])]
    return floors.against(row["median"], "min", trivial, LOSES_TO)


def rows(frame: pd.DataFrame) -> Table:
    """Return the table: methods, then floors, problem by problem."""
    numeric = frozenset({"Dimension", "Relative L1"})
    made = Table(COLUMNS, tuple(_row(row) for _, row in frame.iterrows()), frame, numeric)
    return cells.emphasised(made, "Relative L2", ["dataset", "dimension", "laplacian", "configuration"])


def _row(row: pd.Series) -> tuple[Cell, ...]:
    runs = table.run_names(row["runs"])
    l1 = row["relative_l1"]
    return (
        Cell(row["dataset"].replace("_", " ")),
        Cell(f"{row['dimension']:g}", sort=row["dimension"]),
        Cell(row["laplacian"] if isinstance(row["laplacian"], str) else "any"),
        published.configuration_cell(row),
        Cell(row["label"]),
        Cell("none") if floors.is_floor(row) else published.parameters_cell(row),
        published.ours_cell(row),
        Cell(style.number(l1), runs, None if math.isnan(l1) else l1),
        published.against_cell(row),
        published.verdict_cell(row),
        Cell(row["floors"], badge="fails" if row["floors"].startswith(LOSES_TO) else ""),
        Cell(row["seeds"], runs),
    )
