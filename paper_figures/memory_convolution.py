"""Peak memory of convolutional networks

One row a network, method and way of evaluating it: `auto` is the engine that recomputes basis and weights, and
`materialized` writes all of them out. Peaks of one training step, measured where there was a GPU, simulated anywhere.
The ratios, of simulated peaks, are to plain convolutions of the same channels and to the same method materialised.
"""

from __future__ import annotations

import math

import pandas as pd

from kanbench.pages import style, table
from kanbench.pages.table import Cell, Table

KIND = "table"
EXPERIMENTS = ["E8convolution"]
CATEGORY = "Memory and speed"
TASK, METHOD = "spec.task.settings.", "spec.method.settings."
NETWORK = ("image_size", "batch_size", "layers", "width_factor")
PEAKS = {"measured": "memory.peak_allocated_bytes", "simulated": "memory.simulated_peak_bytes"}
FLOOR, PLAIN = "cnn-plain", "materialized"
COLUMNS = ("Images", "Batch", "Layers", "Method", "Mode", "Parameters", "Measured (MiB)", "Simulated (MiB)")
RATIOS = {"to_floor": "/ CNN", "to_plain": "/ materialised"}


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a network, method and mode: peaks (medians over seeds) and the ratios to both references."""
    steps = records[records["spec.task.name"] == "step_cost_images"]
    if steps.empty:
        return pd.DataFrame()
    places = {name: (TASK if name in NETWORK[:2] else METHOD) + name for name in NETWORK}
    columns = {name: steps.get(place, pd.Series(math.nan, steps.index)) for name, place in places.items()}
    modes = steps.get(f"{METHOD}mode", pd.Series(None, steps.index, dtype=object)).fillna("")
    steps = steps.assign(**columns, mode=modes)
    rows = []
    for keys, runs in steps.groupby([*NETWORK, "label", "method", "mode"], dropna=False):
        row = dict(zip((*NETWORK, "label", "method", "mode"), keys, strict=True))
        row |= {name: runs[column].median() for name, column in PEAKS.items()}
        row |= {"parameters": runs["parameters.trainable"].median(), "seeds": table.status_text(runs["status"])}
        rows.append({**row, "runs": " ".join(runs["run"])})
    return pd.DataFrame([row | _ratios(row, rows) for row in rows])


def _ratios(row: dict, rows: list[dict]) -> dict:
    same = [other for other in rows if all(other[name] == row[name] for name in NETWORK)]
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
    ratios = [
        Cell("no reference", badge="absent")
        if math.isnan(row[name])
        else Cell(style.ratio(row[name]), table.run_names(row[f"{name}_runs"]), row[name])
        for name in RATIOS
    ]
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
