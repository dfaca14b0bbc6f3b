"""Peak memory of convolutional networks

One row a network, method and way of evaluating it: `auto` is the engine that recomputes basis and weights, and
`materialized` writes all of them out. Peaks of one training step, measured where there was a GPU, simulated anywhere.
The ratios, of simulated peaks, are to plain convolutions of the same channels and to the same method materialised.
"""

from __future__ import annotations

import math

import pandas as pd

from kanbench.pages import cells, steps, style, table
from kanbench.pages.table import Cell, Table

KIND = "table"
EXPERIMENTS = ["E8convolution"]
CATEGORY = "Memory and speed"
NETWORK = ("image_size", "batch_size", "layers", "width_factor")
PEAKS = {"measured": steps.MEASURED, "simulated": steps.SIMULATED}
FLOOR, PLAIN = "cnn-plain", "materialized"
COLUMNS = ("Images", "Batch", "Layers", "Method", "Mode", "Parameters", "Measured (MiB)", "Simulated (MiB)")
RATIOS = {"to_floor": "/ CNN", "to_plain": "/ materialised"}


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a network, method and mode: peaks (medians over seeds) and the ratios to both references."""
    profiled = steps.profiled(records, "step_cost_images")
    if profiled.empty:
        return pd.DataFrame()
    places = {name: (steps.TASK if name in NETWORK[:2] else steps.METHOD) + name for name in NETWORK}
    columns = {name: profiled.get(place, pd.Series(math.nan, profiled.index)) for name, place in places.items()}
    modes = profiled.get(f"{steps.METHOD}mode", pd.Series(None, profiled.index, dtype=object)).fillna("")
    profiled = profiled.assign(**columns, mode=modes)
    rows = []
    for keys, runs in profiled.groupby([*NETWORK, "label", "method", "mode"], dropna=False):
        row = dict(zip((*NETWORK, "label", "method", "mode"), keys, strict=True))
        row |= {name: runs[column].median() for name, column in PEAKS.items()}
        rows.append(row | {"parameters": runs["parameters.trainable"].median()} | cells.outcome(runs))
    return pd.DataFrame([row | _ratios(row, rows) for row in rows])


def _ratios(row: dict, rows: list[dict]) -> dict:
    same = cells.places(rows, NETWORK, row)
    floors = [other for other in same if other["method"] == FLOOR]
    plain = [other for other in same if (other["method"], other["mode"]) == (row["method"], PLAIN)]
    found = {}
    for name, references in (("to_floor", floors), ("to_plain", plain)):
        value = row["simulated"] / references[0]["simulated"] if references else math.nan
        runs = f"{row['runs']} {references[0]['runs']}" if references else ""
        found |= {name: value, f"{name}_runs": runs}
    return found


def rows(frame: pd.DataFrame) -> Table:
    """Return the table, networks by size, methods in the order of their labels."""
    numeric = frozenset({"Batch", "Layers", *COLUMNS[5:], *RATIOS.values()})
    columns = (*COLUMNS, *RATIOS.values(), "Runs ok")
    return Table(columns, tuple(_row(row) for _, row in frame.iterrows()), frame, numeric)


def _row(row: pd.Series) -> tuple[Cell, ...]:
    runs = table.run_names(row["runs"])
    ratios = [cells.ratio(row[name], row[f"{name}_runs"], "no reference") for name in RATIOS]
    return (
        Cell(f"{row['image_size']:g} x {row['image_size']:g}"),
        Cell(f"{row['batch_size']:g}", sort=row["batch_size"]),
        Cell(f"{row['layers']:g}", sort=row["layers"]),
        Cell(row["label"]),
        Cell(row["mode"] or "plain"),
        Cell(style.exact(row["parameters"]), runs, row["parameters"]),
        *(Cell(style.mebibytes(row[name]), runs, row[name]) for name in PEAKS),
        *ratios,
        Cell(row["seeds"], runs),
    )
