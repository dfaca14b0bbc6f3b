"""Peak memory of a training step against the size of the network

One panel for each size that is swept, all else equal. Lines: simulated peak; markers on a dotted line: the peak that
the CUDA allocator measured, where there is a GPU. Methods without a grid are dashed lines in the panel of the grid
size. A cross at the upper edge is a step that ran out of memory.
"""

from __future__ import annotations

import pandas as pd

from kanbench import style, table

KIND = "figure"
EXPERIMENTS = ["E8", "E8grid"]
CATEGORY = "Memory and speed"
SIZES = {"hidden_width": "hidden width", "grid_size": "grid size"}
SIMULATED, MEASURED = "memory.simulated_peak_bytes", "memory.peak_allocated_bytes"


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a swept size, method and value of that size: simulated and measured peak, medians over seeds."""
    rows = []
    for size in SIZES:
        column = f"spec.method.settings.{size}"
        for title, runs in _sweeps(records, column):
            for (label, settings), mine in runs.groupby(["label", "settings"], dropna=False):
                first = mine.iloc[0]
                rows.append(
                    {
                        "size": size,
                        "panel": title,
                        "label": label,
                        "settings": settings,
                        "value": first[column],
                        "simulated_peak_bytes": mine[SIMULATED].median(),
                        "measured_peak_bytes": mine[MEASURED].median(),
                        "out_of_memory": bool((mine["status"] == "out_of_memory").any()),
                        "seeds": table.status_text(mine["status"]),
                        "runs": " ".join(mine["run"]),
                    }
                )
    return pd.DataFrame(rows)


def _sweeps(records: pd.DataFrame, column: str):
    """Yield, for every task, the runs in which only `column` varies: the sweep with the most values of it."""
    others = [f"spec.method.settings.{axis}" for axis in ("hidden_width", "grid_size", "depth")]
    others.remove(column)
    for task, runs in records.groupby("task"):
        has_grid = runs[runs["spec.method.settings.grid_size"].notna()]
        if has_grid[column].nunique() < 2:
            continue
        counts = has_grid.groupby(others, dropna=False)[column].nunique().sort_values(kind="stable")
        fixed = dict(zip(others, counts.index[-1], strict=True))
        if counts.iloc[-1] < 2:
            continue
        chosen = runs
        for other, value in fixed.items():
            gridless = chosen["spec.method.settings.grid_size"].isna() & other.endswith("grid_size")
            chosen = chosen[(chosen[other] == value) | gridless]
        shown = ", ".join(f"{other.rpartition('.')[2]}={value:g}" for other, value in fixed.items() if value == value)
        yield f"{task}, {shown}", chosen


def draw(frame: pd.DataFrame):
    """Draw one panel a sweep, both axes logarithmic."""
    labels = sorted(frame["label"].unique())
    colours, markers = style.colours(labels), style.markers(labels)
    sweeps = list(frame.groupby(["size", "panel"], sort=False))
    figure, panels = style.grid_of_axes(len(sweeps), columns=2, size=(4.2, 3.3), legend=0.75)
    for axes, ((size, title), sweep) in zip(panels, sweeps, strict=True):
        for (label, _), line in sweep.groupby(["label", sweep["value"].isna()]):
            line = line.sort_values(["settings", "value"])
            look = {"color": colours[label], "marker": markers[label]}
            simulated, measured = (line[f"{kind}_peak_bytes"] / style.MIB for kind in ("simulated", "measured"))
            if line["value"].isna().all():
                axes.axhline(simulated.median(), color=colours[label], linestyle="--", linewidth=1.2)
                continue
            axes.plot(line["value"], simulated, **look, markerfacecolor="white" if measured.notna().any() else None)
            axes.plot(line["value"], measured, linestyle=":", **look)
            failed = line[line["out_of_memory"]]
            axes.plot(
                failed["value"], [0.98] * len(failed), "x", color=colours[label], transform=axes.get_xaxis_transform()
            )
        style.logarithmic(axes)
        ticks = sorted(sweep["value"].dropna().unique())
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set(xlabel=SIZES[size], ylabel="peak of a training step (MiB)", title=title)
        unknown = int(sweep["simulated_peak_bytes"].isna().sum())
        if unknown:
            style.note(axes, f"not drawn: {unknown} without a simulated peak")
    style.method_legend(figure, labels, columns=3, line=True)
    return figure
