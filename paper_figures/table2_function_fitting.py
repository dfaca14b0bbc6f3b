"""Table 2: function fitting

One row a formula, grid size, depth and method. RMSE: median over seeds of the test error at the step chosen on
validation; MSE is its square, the quantity that the paper prints. Ratios are RMSE of a method over that of the KAN (of
an MLP: over MetaKAN) with its interval (square brackets, from six seeds on) or range; the margin is a factor of 1.1.
The last rows take each formula as one value: all formulas run, and the thirteen that the KAN paper has in common with
the released list. A geometric mean takes the formulas for which every row of its block has a value; a row that lacks
some says so, and in its ratio a run without a value counts as a pair against it. I.12.1 and I.12.5 are one function,
which counts twice among all. Published and released settings are rows of their own.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from kanbench.pages import cells, published, shared_tasks, style, table
from kanbench.pages.table import Cell, Table
from kanbench.verdicts import comparison

KIND = "table"
EXPERIMENTS = ["E1", "E1grid", "E1extended", "E1released", "E1tuned"]
CATEGORY = "Accuracy"
FORMULA = "spec.task.settings.formula"
GRID, DEPTH = "spec.method.settings.grid_size", "spec.method.settings.depth"
PARTNERS = {"metakan-relu": "efficient_kan", "metakan-linear": "efficient_kan", "mlp": "metakan-relu"}
MARGIN = 0.1
BLOCK = ("configuration", "grid_size", "depth")
"""What the rows of one block of averages have in common."""
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
    default = published.declared_references(records, "dense", EXPERIMENTS)
    options = {"dataset": FORMULA, "by": (GRID, DEPTH), "item": "Table 2", "metric": "mse", "margin": MARGIN}
    found = published.against_partners(records, PARTNERS, ratio=True, default=default, **options)
    if found.empty:
        return found
    found = published.without_published(found.assign(kind="formula"), found["grid_size"] != 5)
    return pd.concat([found, _averages(records, found, default)], ignore_index=True)


def _averages(records: pd.DataFrame, found: pd.DataFrame, default: list[str]) -> pd.DataFrame:
    rows = []
    for name, chosen in (("all formulas", set(found["dataset"])), ("13-formula core", set(CORE))):
        inside = found[found["dataset"].isin(chosen)]
        for _, block in inside.groupby(list(BLOCK), dropna=False):
            shared = shared_tasks.of_rows(block, ["method"], "dataset", "median")
            every = sorted(set(block["dataset"]))
            present = set(block["method"])
            for method, members in block.groupby("method"):
                reference = published.partner(method, PARTNERS, default, present)
                average = _average(records, members, reference, shared, every)
                if average:
                    rows.append({"dataset": f"{name} ({len(shared)})", **average})
    return pd.DataFrame(rows)


def _average(
    records: pd.DataFrame, members: pd.DataFrame, reference: str | None, shared: list[str], every: list[str]
) -> dict[str, object]:
    """Return the mean of one method over the formulas that all rows of its block have; nothing without runs."""
    configuration, grid, depth, method = (members[key].iloc[0] for key in (*BLOCK, "method"))
    network = records[records[FORMULA].isin(set(members["dataset"])) & (records[DEPTH] == depth)]
    network = network[(network[GRID] == grid) | network[GRID].isna()]
    network = network[network[published.CONFIGURATION] == configuration]
    mine, others = (network[network["method"] == which] for which in (method, reference))
    if mine.empty:
        return {}
    result = comparison.Comparison()
    if len(others):
        result = comparison.compare(mine, others, "error", margin=MARGIN)
    kept = members[members["dataset"].isin(shared)]
    logs, own = np.log(kept["median"].to_numpy(float)), members.dropna(subset="median")["dataset"].nunique()
    apart = f", {own} of {len(every)} formulas" if own < len(every) else ""
    return {
        "grid_size": grid,
        "depth": depth,
        "configuration": configuration,
        "method": method,
        "label": mine["label"].iloc[0],
        "parameters": (kept if len(kept) else members)["parameters"].median(),
        "published": math.nan,
        "published_parameters": math.nan,
        "published_for": "",
        "source": "",
        "median": math.exp(logs.mean()) if logs.size else math.nan,
        "interval": "geometric mean",
        "partner": others["label"].iloc[0] if len(others) else "",
        **published.comparison_columns(result),
        "seeds": table.status_text(mine["status"]) + apart,
        "canonical": True,
        "runs": " ".join(mine["run"]),
        "kind": "average",
        "formulas": " ".join(shared),
        "every_formula": " ".join(every),
    }


def rows(frame: pd.DataFrame) -> Table:
    """Return the table: formulas, then averages."""
    body = tuple(_row(row) for _, row in frame.iterrows())
    notes = (*published.notes(frame), *_notes(frame))
    made = Table(COLUMNS, body, frame, frozenset({"Grid", "Depth"}), notes=notes)
    return cells.emphasised(made, "RMSE", ["dataset", "grid_size", "depth", "configuration"])


def _notes(frame: pd.DataFrame) -> list[str]:
    """Return which formulas the averages take, where they are not all that were run."""
    if "formulas" not in frame:
        return []
    averages, found = frame[frame["kind"] == "average"], []
    for _, row in averages.drop_duplicates(["dataset", *BLOCK]).iterrows():
        where = f"{row['dataset'].partition(' (')[0]}, {row['configuration']}"
        where += "".join(f", {name} {row[key]:g}" for name, key in (("grid", "grid_size"), ("depth", "depth"))
                         if not math.isnan(row[key]))  # fmt: skip
        found.append(shared_tasks.note(where, row["formulas"].split(), row["every_formula"].split()))
    return list(dict.fromkeys(text for text in found if text))


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
