"""Measured against predicted peak memory

Each marker is one training step. Left: the peak against the closed form of the method, with the line of equality.
Right: the prediction's relative error. Filled markers: peak measured by the CUDA allocator; hollow markers: simulated,
where there was no GPU, against the closed form for a processor. Steps without a prediction are counted.
"""

from __future__ import annotations

import math

import pandas as pd

from kanbench.pages import drawing, naming, palette, steps, style

KIND = "figure"
EXPERIMENTS = ["E8", "E8grid", "E8headline", "E13"]
CATEGORY = "Memory and speed"
PREDICTED = {"measured": "memory.predicted.total", "simulated": "memory.predicted.total_cpu"}


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a profiled step with a peak: the peak, its source, the prediction and its relative error."""
    rows = []
    for _, run in steps.profiled(records).iterrows():
        source = "simulated" if math.isnan(run["measured"]) else "measured"
        peak = run["simulated"] if source == "simulated" else run["measured"]
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
    looks = palette.looks(frame["label"])
    figure, (left, right) = drawing.grid_of_axes(2, columns=2, size=(4.0, 3.5))
    for (label, source), members in known.groupby(["label", "source"]):
        look = looks[label]
        filling = look.colour if source == "measured" else "white"
        marks = {"color": look.colour, "marker": look.marker, "linestyle": "", "markerfacecolor": filling}
        peaks, errors = members["peak_bytes"] / style.MIB, 100 * members["relative_error"]
        left.plot(members["predicted_bytes"] / style.MIB, peaks, **marks)
        right.plot(peaks, errors, **marks)
        if not look.highlighted:
            naming.near(right, peaks.iloc[0], errors.iloc[0], label)
    if len(known):
        both = known[["predicted_bytes", "peak_bytes"]] / style.MIB
        ends = [both.min().min() / 1.3, both.max().max() * 1.3]
        left.plot(ends, ends, color="#555555", linewidth=0.9)
        drawing.logarithmic(left)
        drawing.logarithmic(right, "x")
    right.axhline(0, color="#555555", linewidth=0.9)
    peak = steps.peak_name(frame["source"])
    left.set(xlabel="predicted peak (MiB)", ylabel=f"{peak} (MiB)", title="Peak of a training step")
    right.set(xlabel=f"{peak} (MiB)", ylabel="error of the prediction (%)", title="Relative error")
    if len(known) < len(frame):
        drawing.note(left, f"without a prediction: {len(frame) - len(known)} of {len(frame)} steps")
    drawing.method_legend(figure, looks)
    drawing.key(figure, steps.key(frame["source"]), "line: prediction and peak are equal")
    return figure
