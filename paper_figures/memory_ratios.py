"""Peak memory: measured, simulated, predicted, and against four references

One block a network: equal widths, batch size and grid size. A ratio is method over reference on the same network, of
simulated peaks; where both peaks were measured it is of these, and the cell says so. Four references stand side by
side: an MLP of the same widths, efficient-KAN, pykan in its fast mode, and a dense KAN in the engine that recomputes
its basis. A measured peak exists only where there is a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from kanbench.pages import cells, steps, style, table
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
NETWORK = ("inputs", "outputs", "hidden_width", "depth", "batch_size")


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a network and method: three peaks (medians over seeds) and the ratios to the references."""
    profiled = steps.profiled(records)
    if profiled.empty:
        return pd.DataFrame()
    rows = []
    for network, same in profiled.groupby(list(NETWORK), dropna=False):
        gridless = same["grid_size"].isna()
        for grid in sorted(same["grid_size"].dropna().unique()) or [math.nan]:
            members = same[gridless | (same["grid_size"] == grid)]
            rows += _block({**dict(zip(NETWORK, network, strict=True)), "grid_size": grid}, members)
    return pd.DataFrame(rows)


def _block(network: dict, members: pd.DataFrame) -> list[dict]:
    found = []
    for (method, label, settings), runs in members.groupby(["method", "label", "settings"]):
        found.append(
            {
                "edges": float(runs["edges"].iloc[0]),
                **network,
                "method": method,
                "label": label,
                "settings": settings,
                **{name: runs[name].median() for name in steps.PEAKS},
                "status": "out_of_memory" if (runs["status"] == "out_of_memory").any() else "ok",
                **cells.outcome(runs),
            }
        )
    for cell in found:
        for reference in REFERENCES:
            cell.update(_ratio(cell, [other for other in found if other["method"] == reference], reference))
    return found


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
    peaks = [f"{name.capitalize()} (MiB)" for name in steps.PEAKS]
    ratios = [f"/ {name}" for name in REFERENCES.values()]
    columns = ("Edges", "Batch", "Grid", "Method", *peaks, *ratios, "Runs ok")
    numeric = frozenset({"Edges", "Batch", "Grid", *peaks, *ratios})
    order = frame.sort_values(["edges", "batch_size", "grid_size", "label", "settings"], kind="stable")
    body = tuple(_row(row) for _, row in order.iterrows())
    return Table(columns, body, frame, numeric, notes=tuple(_notes(order)))


def _notes(frame: pd.DataFrame) -> Iterator[str]:
    """Yield, for every size of network at its smallest grid, each method's peak over those of the first references."""
    first = dict(list(REFERENCES.items())[:2])
    for (edges, batch), members in frame.groupby(["edges", "batch_size"], sort=True):
        grid = members["grid_size"].min()
        shown = members[(members["grid_size"] == grid) & ~members["method"].isin(first)]
        parts, sources = [], set()
        for _, row in shown.sort_values(f"to_{next(iter(first))}", kind="stable").iterrows():
            known = {key: name for key, name in first.items() if row[f"to_{key}_of"]}
            sources |= {row[f"to_{key}_of"] for key in known}
            ratios = [f"{style.ratio(row[f'to_{key}'])} × {name}" for key, name in known.items()]
            parts += [f"{row['label']} {', '.join(ratios)}"] if ratios else []
        if parts:
            size = f"{style.count(edges)} edges, batch {batch:g}" + (f", grid size {grid:g}" if grid == grid else "")
            peaks = " or ".join(sorted(sources)).capitalize()
            yield f"{peaks} peaks as multiples, {size}: {'; '.join(parts)}."


def _row(row: pd.Series) -> tuple[Cell, ...]:
    runs = table.run_names(row["runs"])
    peaks = [Cell(style.mebibytes(row[name]), runs, row[name]) for name in steps.PEAKS]
    if row["status"] == "out_of_memory" and math.isnan(row["measured"]):
        peaks[0] = Cell("out of memory", runs, badge="out_of_memory")
    ratios = [_ratio_cell(row, reference, name) for reference, name in REFERENCES.items()]
    return (
        Cell(style.count(row["edges"]), sort=row["edges"]),
        Cell(f"{row['batch_size']:g}", sort=row["batch_size"]),
        cells.setting(row["grid_size"]),
        Cell(row["label"]),
        *peaks,
        *ratios,
        Cell(row["seeds"], runs),
    )


def _ratio_cell(row: pd.Series, reference: str, name: str) -> Cell:
    measured = " (measured)" if row[f"to_{reference}_of"] == "measured" else ""
    runs, absent = row[f"to_{reference}_runs"], f"no {name} peak"
    return cells.ratio(row[f"to_{reference}"], runs, absent, lambda value: style.ratio(value) + measured)
