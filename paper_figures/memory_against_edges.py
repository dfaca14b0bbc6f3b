"""Peak memory of a training step, measured or simulated, against the number of edges and the grid size

A line a method; one panel a batch and grid size, and one for the network whose grid was swept. An edge is a connection
of two units: n_in times n_out of them a layer. Filled markers: the peak that the CUDA allocator measured; hollow
markers: simulated, where there was no GPU. The grey area lies below the MLP of the same widths, which has no grid.
Dashed lines: what devices of 24, 80 and 141 GB hold. A cross is a step that ran out of memory, at its simulated peak,
or at the upper edge where that is not known either.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import cells, drawing, naming, palette, steps, style

KIND = "figure"
EXPERIMENTS = ["E8", "E8grid", "E8headline", "E13"]
CATEGORY = "Memory and speed"
DEVICES = {"24 GB": 24e9, "80 GB": 80e9, "141 GB": 141e9}
FLOOR = "mlp"
AXES = {"edges": "number of edges", "grid_size": "grid size"}
GIB = 2**30


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a panel, method and size: its peak (median over seeds), where that is from, and its outcome."""
    profiled = steps.profiled(records)
    if profiled.empty:
        return pd.DataFrame()
    rows = []
    for axis, batch, fixed, members in [*_panels(profiled), *_grids(profiled)]:
        keys = ["method", "label", "settings", "edges", "grid_size"]
        for (method, label, settings, count, grid), runs in members.groupby(keys, dropna=False):
            measured, simulated = runs["measured"].median(), runs["simulated"].median()
            rows.append(
                {
                    "axis": axis,
                    "batch_size": batch,
                    "fixed": fixed,
                    "method": method,
                    "label": label,
                    "settings": settings,
                    "edges": count,
                    "grid_size": grid,
                    "peak_bytes": simulated if pd.isna(measured) else measured,
                    "source": "simulated" if pd.isna(measured) else "measured",
                    "out_of_memory": bool((runs["status"] == "out_of_memory").any()),
                    **cells.outcome(runs),
                }
            )
    return pd.DataFrame(rows)


def _panels(profiled: pd.DataFrame) -> list[tuple[str, float, float, pd.DataFrame]]:
    """Return the runs of each batch and grid size, methods without a grid in all; those of one size only if all are."""
    found = []
    for batch, same in profiled.groupby("batch_size"):
        gridless = same[same["grid_size"].isna()]
        grids = sorted(same["grid_size"].dropna().unique()) or [float("nan")]
        found += [("edges", batch, grid, pd.concat([same[same["grid_size"] == grid], gridless])) for grid in grids]
    sweeps = [panel for panel in found if _sizes(panel[3]) > 1]
    return sweeps or found


def _grids(profiled: pd.DataFrame) -> list[tuple[str, float, float, pd.DataFrame]]:
    """Return, for each batch size, the runs of the network with the most grid sizes, the larger one at a tie."""
    found = []
    for batch, same in profiled.groupby("batch_size"):
        counts = same.groupby("edges")["grid_size"].nunique()
        if len(counts) and counts.max() > 1:
            network = counts[counts == counts.max()].index.max()
            found.append(("grid_size", batch, network, same[same["edges"] == network]))
    return found


def _sizes(members: pd.DataFrame) -> int:
    counts = members if members["grid_size"].isna().all() else members[members["grid_size"].notna()]
    return counts["edges"].nunique()


def draw(frame: pd.DataFrame):
    """Draw one panel a batch and grid size, or a batch and network; both axes logarithmic."""
    looks, peak = palette.looks(frame["label"]), steps.peak_name(frame["source"])
    panels_of = list(frame.groupby(["axis", "batch_size", "fixed"], dropna=False))
    figure, panels = drawing.grid_of_axes(len(panels_of), columns=2, size=(4.2, 3.5))
    for axes, ((axis, batch, fixed), members) in zip(panels, panels_of, strict=True):
        if axis == "edges":
            _floor(axes, members)
        for label, line in members.groupby("label"):
            if axis == "grid_size" and line["grid_size"].isna().all():
                drawing.level(axes, line["peak_bytes"].median() / GIB, looks[label], label)
                continue
            _line(axes, line.sort_values(axis), axis, looks[label])
        for name, size in DEVICES.items() if axis == "edges" else ():
            axes.axhline(size / GIB, color="#555555", linestyle="--", linewidth=0.9)
            where = {"transform": axes.get_yaxis_transform(), "fontsize": 7, "ha": "right", "va": "bottom"}
            axes.text(1.0, size / GIB, name, **where)
        drawing.logarithmic(axes)
        shown = f", grid size {fixed:g}" if axis == "edges" else f", {style.count(fixed)} edges"
        axes.set(xlabel=AXES[axis], ylabel=f"{peak} of a training step (GiB)")
        axes.set_title(f"batch {batch:g}" + (shown if fixed == fixed else ""))
        if axis == "grid_size":
            drawing.ticks_at(axes, members["grid_size"])
        unknown = int(members["peak_bytes"].isna().sum())
        if unknown:
            drawing.note(axes, f"without a peak: {unknown}")
    drawing.method_legend(figure, looks, line=True)
    crosses = "cross: ran out of memory" if frame["out_of_memory"].any() else ""
    area = "grey area: below the MLP of the same widths" if (frame["method"] == FLOOR).any() else ""
    drawing.key(figure, steps.key(frame["source"]), crosses, area, "dashed: what a device holds")
    return figure


def _floor(axes, members: pd.DataFrame) -> None:
    floor = members[(members["method"] == FLOOR) & members["peak_bytes"].notna()].sort_values("edges")
    if len(floor) > 1:
        lowest = members["peak_bytes"].min() / GIB / 2
        axes.fill_between(floor["edges"], lowest, floor["peak_bytes"] / GIB, color="#EEEEEE", zorder=0)


def _line(axes, line: pd.DataFrame, axis: str, look: palette.Look) -> None:
    sizes = line["peak_bytes"] / GIB
    axes.plot(line[axis], sizes, color=look.colour, zorder=look.zorder)
    for source, filling in (("measured", look.colour), ("simulated", "white")):
        shown = (line["source"] == source) & ~line["out_of_memory"]
        marks = {"color": look.colour, "marker": look.marker, "linestyle": "", "markerfacecolor": filling}
        axes.plot(line[axis][shown], sizes[shown], zorder=look.zorder, **marks)
    if not look.highlighted and sizes.notna().any():
        naming.beside(axes, line[axis][sizes.notna()].iloc[-1], sizes.dropna().iloc[-1], line["label"].iloc[0])
    failed = line[line["out_of_memory"]]
    known = failed["peak_bytes"].notna()
    axes.plot(failed[axis][known], sizes[failed.index][known], "x", color=look.colour, markersize=8, markeredgewidth=2)
    edge = {"color": look.colour, "markersize": 8, "transform": axes.get_xaxis_transform()}
    axes.plot(failed[axis][~known], [0.98] * int((~known).sum()), "x", **edge)
