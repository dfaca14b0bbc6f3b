"""Measured against predicted peak memory

Each marker is one training step. Left: the peak against the closed form of the method, with the line of equality.
Right: the prediction's relative error. Filled markers: peak measured by the CUDA allocator; hollow markers: simulated,
where there was no GPU, against the closed form for a processor. Steps without a prediction are counted.
"""

from __future__ import annotations

import math

import pandas as pd

from kanbench.pages import style

KIND = "figure"
EXPERIMENTS = ["E8", "E8grid", "E8headline", "E13"]
CATEGORY = "Memory and speed"
MEASURED, SIMULATED = "memory.peak_allocated_bytes", "memory.simulated_peak_bytes"
PREDICTED = {"measured": "memory.predicted.total", "simulated": "memory.predicted.total_cpu"}


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a profiled step with a peak: the peak, its source, the prediction and its relative error."""
    steps = records[records["spec.task.name"] == "step_cost"]
    rows = []
    for _, run in steps.iterrows():
        source = "simulated" if math.isnan(run[MEASURED]) else "measured"
        peak = run[SIMULATED] if source == "simulated" else run[MEASURED]
        if math.isnan(peak):
            continue
        predicted = float(run.get(PREDICTED[source], math.nan))
        rows.append(
            {
                "method": run["method"],
                "label": run["label"],
                "settings": run["settings"],
                "task": run["task"],
                "source": source,
                "peak_bytes": peak,
                "predicted_bytes": predicted,
                "relative_error": predicted / peak - 1,
                "runs": run["run"],
            }
        )
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame):
    """Draw peak against prediction, and the error of the prediction against the peak."""
    known = frame[frame["predicted_bytes"].notna()]
    labels = sorted(frame["label"].unique())
    figure, (left, right) = style.grid_of_axes(2, columns=2, size=(4.0, 3.5), legend=0.75)
    for (label, source), steps in known.groupby(["label", "source"]):
        colour = style.colours(labels)[label]
        look = {"color": colour, "marker": style.markers(labels)[label], "linestyle": ""}
        look["markerfacecolor"] = colour if source == "measured" else "white"
        left.plot(steps["predicted_bytes"] / style.MIB, steps["peak_bytes"] / style.MIB, **look)
        right.plot(steps["peak_bytes"] / style.MIB, 100 * steps["relative_error"], **look)
    if len(known):
        both = known[["predicted_bytes", "peak_bytes"]] / style.MIB
        ends = [both.min().min() / 1.3, both.max().max() * 1.3]
        left.plot(ends, ends, color="#555555", linewidth=0.9)
        style.logarithmic(left)
        style.logarithmic(right, "x")
    right.axhline(0, color="#555555", linewidth=0.9)
    left.set(
        xlabel="predicted peak (MiB)",
        ylabel="measured or simulated peak (MiB)",
        title="Peak of a training step",
    )
    right.set(
        xlabel="measured or simulated peak (MiB)",
        ylabel="error of the prediction (%)",
        title="Relative error",
    )
    if len(known) < len(frame):
        style.note(left, f"without a prediction: {len(frame) - len(known)} of {len(frame)} steps")
    style.method_legend(figure, labels, columns=3)
    return figure
