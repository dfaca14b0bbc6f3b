"""Table 2: function fitting

One row a formula, grid size, depth and method. RMSE: median over seeds of the test error at the step chosen on
validation; MSE is its square, the quantity that the paper prints. Ratios are RMSE of MetaKAN over that of the KAN with
its interval (square brackets, from six seeds on) or range; the margin is a factor of 1.1. The last rows take each
formula as one value: all formulas run, and the thirteen that the KAN paper has in common with the released list.
I.12.1 and I.12.5 are one function, which counts twice among all. Published and released settings are rows of their
own.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from kanbench.pages import published, style, table
from kanbench.pages.table import Cell, Table
from kanbench.verdicts import comparison

KIND = "table"
EXPERIMENTS = ["E1", "E1grid", "E1extended", "E1released", "E1tuned"]
CATEGORY = "Accuracy"
FORMULA = "spec.task.settings.formula"
GRID, DEPTH = "spec.method.settings.grid_size", "spec.method.settings.depth"
PARTNERS = {"metakan-relu": "efficient_kan", "metakan-linear": "efficient_kan", "mlp": "metakan-relu"}
MARGIN = 0.1
CORE = (
    *("I.6.20", "I.6.20b", "I.9.18", "I.12.11", "I.13.12", "I.15.3x", "I.16.6", "I.18.4"),
    *("I.26.2", "I.27.6", "I.29.16", "I.30.3", "I.37.4"),
)
COLUMNS = (
    *("Formula", "Grid", "Depth", "Configuration", "Method", "Parameters", "Published MSE", "MSE", "RMSE"),
    *("RMSE ratio", "Verdict", "Runs ok"),
)


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a formula, grid size, depth and method, and the averages over formulas."""
    if FORMULA not in records:
        return pd.DataFrame()
    records = records[records[FORMULA].notna()]
    options = {"dataset": FORMULA, "by": (GRID, DEPTH), "item": "Table 2", "metric": "mse", "margin": MARGIN}
    found = published.against_partners(records, PARTNERS, ratio=True, **options)
    if found.empty:
        return found
    found = found.assign(kind="formula", published=found["published"].where(found["grid_size"] == 5))
    found["published_parameters"] = found["published_parameters"].where(found["grid_size"] == 5)
    return pd.concat([found, _averages(records, found)], ignore_index=True)


def _averages(records: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name, chosen in (("all formulas", set(found["dataset"])), ("13-formula core", set(CORE))):
        inside = found[found["dataset"].isin(chosen)]
        for (configuration, grid, depth, method), cells in inside.groupby(
            ["configuration", "grid_size", "depth", "method"], dropna=False
        ):
            network = records[records[FORMULA].isin(set(cells["dataset"])) & (records[DEPTH] == depth)]
            network = network[(network[GRID] == grid) | network[GRID].isna()]
            network = network[network[published.CONFIGURATION] == configuration]
            mine, others = (network[network["method"] == which] for which in (method, PARTNERS.get(method)))
            if mine.empty:
                continue
            purpose = f"table 2 {name} {configuration} {grid} {depth} {method}"
            result = comparison.Comparison()
            if len(others):
                result = comparison.compare(mine, others, "error", margin=MARGIN, purpose=purpose)
            logs = np.log(cells["median"].dropna().to_numpy(float))
            rows.append(
                {
                    "dataset": f"{name} ({cells['dataset'].nunique()})",
                    "grid_size": grid,
                    "depth": depth,
                    "configuration": configuration,
                    "method": method,
                    "label": mine["label"].iloc[0],
                    "parameters": cells["parameters"].median(),
                    "published": math.nan,
                    "published_parameters": math.nan,
                    "source": "",
                    "median": math.exp(logs.mean()) if logs.size else math.nan,
                    "interval": "geometric mean",
                    "partner": others["label"].iloc[0] if len(others) else "",
                    **published.comparison_columns(result),
                    "seeds": table.status_text(mine["status"]),
                    "canonical": True,
                    "runs": " ".join(mine["run"]),
                    "kind": "average",
                }
            )
    return pd.DataFrame(rows)


def rows(frame: pd.DataFrame) -> Table:
    """Return the table: formulas, then averages."""
    body = tuple(_row(row) for _, row in frame.iterrows())
    return Table(COLUMNS, body, frame, frozenset({"Grid", "Depth"}), notes=published.notes(frame))


def _row(row: pd.Series) -> tuple[Cell, ...]:
    runs = table.run_names(row["runs"])
    average = row["kind"] == "average"
    ours = published.ours_cell(row)
    if average and not math.isnan(row["median"]):
        ours = Cell(f"{style.number(row['median'])} (geometric mean)", runs, row["median"])
    square = row["median"] ** 2
    return (
        Cell(row["dataset"]),
        Cell("none" if math.isnan(row["grid_size"]) else f"{row['grid_size']:g}", sort=row["grid_size"]),
        Cell("none" if math.isnan(row["depth"]) else f"{row['depth']:g}", sort=row["depth"]),
        published.configuration_cell(row),
        Cell(row["label"]),
        published.parameters_cell(row),
        Cell("an average of ours") if average else published.published_cell(row),
        Cell("no ok run", runs) if math.isnan(square) else Cell(style.number(square), runs, square),
        ours,
        published.against_cell(row),
        published.verdict_cell(row),
        Cell(row["seeds"], runs),
    )
