"""Profiled training steps: the networks they were of, and their peaks by where these are from."""

from __future__ import annotations

import math

import pandas as pd

TASK, METHOD = "spec.task.settings.", "spec.method.settings."
DEFAULTS = {"inputs": 784, "outputs": 10, "batch_size": 128}
"""Settings of the task that a record may leave out."""
MEASURED, SIMULATED = "memory.peak_allocated_bytes", "memory.simulated_peak_bytes"
PEAKS = {"measured": MEASURED, "simulated": SIMULATED, "predicted": "memory.predicted.total"}
"""Peaks by what they are: of CUDA's allocator, of the simulation, of the closed form. They never stand in one name."""
MARKS = {
    "measured": "filled markers: measured by the CUDA allocator",
    "simulated": "hollow markers: simulated, without a GPU",
}


def profiled(records: pd.DataFrame, name: str = "step_cost") -> pd.DataFrame:
    """Return the runs that measure a step, with their network: `inputs`, `outputs`, `batch_size`, `hidden_width`, ...

    Further columns: `depth`, `grid_size`, `edges` (connections of two units: the sum of n_l n_{l+1} over the layers)
    and the `PEAKS`.
    """
    steps = records[records["spec.task.name"] == name].reset_index(drop=True)
    if steps.empty:
        return steps
    columns = {key: _column(steps, TASK + key).fillna(value) for key, value in DEFAULTS.items()}
    columns |= {key: _column(steps, METHOD + key) for key in ("hidden_width", "depth", "grid_size")}
    columns |= {key: _column(steps, column) for key, column in PEAKS.items()}
    return steps.assign(**columns, edges=edges(columns))


def edges(network: dict[str, pd.Series]) -> pd.Series:
    """Return the number of edges of networks of these widths; no depth is one layer."""
    inputs, outputs = network["inputs"], network["outputs"]
    width, depth = network["hidden_width"].fillna(0), network["depth"].fillna(0)
    deep = inputs * width + (depth - 1) * width**2 + width * outputs
    return deep.where(depth > 0, inputs * outputs)


def _column(steps: pd.DataFrame, name: str) -> pd.Series:
    return steps[name] if name in steps else pd.Series(math.nan, steps.index)


def key(sources: pd.Series) -> str:
    """Return what filled and hollow markers stand for, as far as a figure has both."""
    return "; ".join(MARKS[source] for source in MARKS if source in set(sources))


def peak_name(sources: pd.Series) -> str:
    """Return what the peaks of a figure are: "measured peak", "simulated peak", or both by name."""
    return " or ".join(source for source in MARKS if source in set(sources)) + " peak"
