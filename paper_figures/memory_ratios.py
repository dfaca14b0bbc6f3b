"""Peak memory: measured, simulated, predicted, and against four references

One block a network: equal widths, batch size and grid size. A ratio is method over reference on the same network,
of measured peaks where both were measured and of simulated ones otherwise. Four references stand side by side because
the denominator makes the headline: an MLP of the same widths, efficient-KAN, pykan in its fast mode, and a dense KAN
in the engine that recomputes its basis. A measured peak exists only where there is a GPU.
"""

from __future__ import annotations

import math

import pandas as pd

from kanbench.pages import style, table
from kanbench.pages.table import Cell, Table

KIND = "table"
EXPERIMENTS = ["E8", "E8grid", "E8headline", "E13"]
CATEGORY = "Memory and speed"
REFERENCES = {
    "mlp": "MLP",
    "efficient_kan": "efficient-KAN",
    "pykan-fast": "pykan-fast",
    "tiled_kan": "tiled KAN",
}
PEAKS = {
    "measured": "memory.peak_allocated_bytes",
    "simulated": "memory.simulated_peak_bytes",
    "predicted": "memory.predicted.total",
}
TASK, METHOD = "spec.task.settings.", "spec.method.settings."
DEFAULTS = {"inputs": 784, "outputs": 10, "batch_size": 128}
"""Settings of the task that a record may leave out."""
NETWORK = ("inputs", "outputs", "hidden_width", "depth", "batch_size")


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a network and method: three peaks (medians over seeds) and the ratios to the references."""
    steps = records[records["spec.task.name"] == "step_cost"].reset_index(drop=True)
    if steps.empty:
        return pd.DataFrame()
    steps = _with_network(steps)
    rows = []
    for network, same in steps.groupby(list(NETWORK), dropna=False):
        gridless = same["grid_size"].isna()
        for grid in sorted(same["grid_size"].dropna().unique()) or [math.nan]:
            rows += _block(
                dict(zip(NETWORK, network, strict=True), grid_size=grid),
                same[gridless | (same["grid_size"] == grid)],
            )
    return pd.DataFrame(rows)


def _with_network(steps: pd.DataFrame) -> pd.DataFrame:
    columns = {name: steps.get(TASK + name, pd.Series(math.nan, steps.index)).fillna(v) for name, v in DEFAULTS.items()}
    columns |= {name: steps[METHOD + name] for name in ("hidden_width", "depth", "grid_size")}
    columns |= {name: steps.get(column, pd.Series(math.nan, steps.index)) for name, column in PEAKS.items()}
    return steps.assign(**columns)


def _edges(network: dict) -> float:
    """Return the sum of n_l n_{l+1} over the layers."""
    depth, width = (0 if math.isnan(network[name]) else network[name] for name in ("depth", "hidden_width"))
    if depth == 0:
        return network["inputs"] * network["outputs"]
    return network["inputs"] * width + (depth - 1) * width**2 + width * network["outputs"]


def _block(network: dict, members: pd.DataFrame) -> list[dict]:
    cells = []
    for (method, label, settings), runs in members.groupby(["method", "label", "settings"]):
        cells.append(
            {
                "edges": _edges(network),
                **network,
                "method": method,
                "label": label,
                "settings": settings,
                **{name: runs[name].median() for name in PEAKS},
                "status": "out_of_memory" if (runs["status"] == "out_of_memory").any() else "ok",
                "seeds": table.status_text(runs["status"]),
                "runs": " ".join(runs["run"]),
            }
        )
    for cell in cells:
        for reference in REFERENCES:
            cell.update(_ratio(cell, [other for other in cells if other["method"] == reference], reference))
    return cells


def _ratio(cell: dict, references: list[dict], name: str) -> dict:
    """Return the ratio to a reference: of measured peaks where both have one, else of simulated ones."""
    for source in ("measured", "simulated"):
        for reference in references:
            value = cell[source] / reference[source]
            if not math.isnan(value):
                runs = f"{cell['runs']} {reference['runs']}"
                return {f"to_{name}": value, f"to_{name}_of": source, f"to_{name}_runs": runs}
    return {f"to_{name}": math.nan, f"to_{name}_of": "", f"to_{name}_runs": ""}


def rows(frame: pd.DataFrame) -> Table:
    """Return the table, networks by size, methods in the order of their labels."""
    peaks = [f"{name.capitalize()} (MiB)" for name in PEAKS]
    ratios = [f"/ {name}" for name in REFERENCES.values()]
    columns = ("Edges", "Batch", "Grid", "Method", *peaks, *ratios, "Runs ok")
    numeric = frozenset({"Edges", "Batch", "Grid", *peaks, *ratios})
    order = frame.sort_values(["edges", "batch_size", "grid_size", "label", "settings"], kind="stable")
    return Table(columns, tuple(_row(row) for _, row in order.iterrows()), frame, numeric)


def _row(row: pd.Series) -> tuple[Cell, ...]:
    runs = table.run_names(row["runs"])
    peaks = [Cell(style.mebibytes(row[name]), runs, row[name]) for name in PEAKS]
    if row["status"] == "out_of_memory" and math.isnan(row["measured"]):
        peaks[0] = Cell("out of memory", runs, badge="out_of_memory")
    ratios = []
    for reference, name in REFERENCES.items():
        value = row[f"to_{reference}"]
        if math.isnan(value):
            ratios.append(Cell(f"no {name} peak", badge="absent"))
        else:
            ratios.append(Cell(style.ratio(value), table.run_names(row[f"to_{reference}_runs"]), value))
    grid = "none" if math.isnan(row["grid_size"]) else f"{row['grid_size']:g}"
    return (
        Cell(style.count(row["edges"]), sort=row["edges"]),
        Cell(f"{row['batch_size']:g}", sort=row["batch_size"]),
        Cell(grid, sort=row["grid_size"]),
        Cell(row["label"]),
        *peaks,
        *ratios,
        Cell(row["seeds"], runs),
    )
