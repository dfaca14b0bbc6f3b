"""Peak memory of a training step against the number of edges and the grid size

A line a method; one panel a batch and grid size, and one for the network whose grid was swept. An edge is a connection
of two units: n_in times n_out of them a layer. Filled markers: the peak that the CUDA allocator measured; hollow
markers: simulated, where there was no GPU. The grey area lies below the MLP of the same widths, which has no grid.
Dashed lines: what devices of 24, 80 and 141 GB hold. A cross is a step that ran out of memory, at its simulated peak,
or at the upper edge where that is not known either.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import style, table

KIND = "figure"
EXPERIMENTS = ["E8", "E8grid", "E8headline", "E13"]
CATEGORY = "Memory and speed"
DEVICES = {"24 GB": 24e9, "80 GB": 80e9, "141 GB": 141e9}
FLOOR = "mlp"
AXES = {"edges": "number of edges", "grid_size": "grid size"}
TASK, METHOD = "spec.task.settings.", "spec.method.settings."
DEFAULTS = {"inputs": 784, "outputs": 10, "batch_size": 128}
"""Settings of the task that a record may leave out."""
GIB = 2**30


def edges(records: pd.DataFrame) -> pd.Series:
    """Return the number of edges of each run's network: the sum of n_l n_{l+1} over its layers."""
    inputs, outputs = (_setting(records, name) for name in ("inputs", "outputs"))
    width, depth = (records[METHOD + name].fillna(0) for name in ("hidden_width", "depth"))
    deep = inputs * width + (depth - 1) * width**2 + width * outputs
    return deep.where(depth > 0, inputs * outputs)


def _setting(records: pd.DataFrame, name: str) -> pd.Series:
    column = records[TASK + name] if TASK + name in records else pd.Series(float("nan"), records.index)
    return column.fillna(DEFAULTS[name])


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a panel, method and size: its peak (median over seeds), where that is from, and its outcome."""
    steps = records[records["spec.task.name"] == "step_cost"].reset_index(drop=True)
    if steps.empty:
        return pd.DataFrame()
    steps = steps.assign(edges=edges(steps), batch=_setting(steps, "batch_size"), grid=steps[f"{METHOD}grid_size"])
    rows = []
    for axis, batch, fixed, members in [*_panels(steps), *_grids(steps)]:
        keys = ["method", "label", "settings", "edges", "grid"]
        for (method, label, settings, count, grid), runs in members.groupby(keys, dropna=False):
            measured, simulated = (
                runs[f"memory.{name}_bytes"].median() for name in ("peak_allocated", "simulated_peak")
            )
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
                    "seeds": table.status_text(runs["status"]),
                    "runs": " ".join(runs["run"]),
                }
            )
    return pd.DataFrame(rows)


def _panels(steps: pd.DataFrame) -> list[tuple[str, float, float, pd.DataFrame]]:
    """Return the runs of each batch and grid size, methods without a grid in all; those of one size only if all are."""
    found = []
    for batch, same in steps.groupby("batch"):
        gridless = same[same["grid"].isna()]
        grids = sorted(same["grid"].dropna().unique()) or [float("nan")]
        found += [("edges", batch, grid, pd.concat([same[same["grid"] == grid], gridless])) for grid in grids]
    sweeps = [panel for panel in found if _sizes(panel[3]) > 1]
    return sweeps or found


def _grids(steps: pd.DataFrame) -> list[tuple[str, float, float, pd.DataFrame]]:
    """Return, for each batch size, the runs of the network with the most grid sizes, the larger one at a tie."""
    found = []
    for batch, same in steps.groupby("batch"):
        counts = same.groupby("edges")["grid"].nunique()
        if len(counts) and counts.max() > 1:
            network = counts[counts == counts.max()].index.max()
            found.append(("grid_size", batch, network, same[same["edges"] == network]))
    return found


def _sizes(members: pd.DataFrame) -> int:
    counts = members if members["grid"].isna().all() else members[members["grid"].notna()]
    return counts["edges"].nunique()


def draw(frame: pd.DataFrame):
    """Draw one panel a batch and grid size, or a batch and network; both axes logarithmic."""
    labels = sorted(frame["label"].unique())
    panels_of = list(frame.groupby(["axis", "batch_size", "fixed"], dropna=False))
    figure, panels = style.grid_of_axes(len(panels_of), columns=2, size=(4.2, 3.5), legend=0.75)
    for axes, ((axis, batch, fixed), members) in zip(panels, panels_of, strict=True):
        if axis == "edges":
            _floor(axes, members)
        for label, line in members.groupby("label"):
            look = style.colours(labels)[label], style.markers(labels)[label]
            if axis == "grid_size" and line["grid_size"].isna().all():
                axes.axhline(line["peak_bytes"].median() / GIB, color=look[0], linestyle="-.", linewidth=1.2)
                continue
            _line(axes, line.sort_values(axis), axis, *look)
        for name, size in DEVICES.items() if axis == "edges" else ():
            axes.axhline(size / GIB, color="#555555", linestyle="--", linewidth=0.9)
            where = {"transform": axes.get_yaxis_transform(), "fontsize": 7, "ha": "right", "va": "bottom"}
            axes.text(1.0, size / GIB, name, **where)
        style.logarithmic(axes)
        shown = f", grid size {fixed:g}" if axis == "edges" else f", {style.count(fixed)} edges"
        axes.set(xlabel=AXES[axis], ylabel="peak of a training step (GiB)")
        axes.set_title(f"batch {batch:g}" + (shown if fixed == fixed else ""))
        if axis == "grid_size":
            ticks = sorted(members["grid_size"].dropna().unique())
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        unknown = int(members["peak_bytes"].isna().sum())
        if unknown:
            style.note(axes, f"without a peak: {unknown}")
    style.method_legend(figure, labels, columns=2, line=True)
    return figure


def _floor(axes, members: pd.DataFrame) -> None:
    floor = members[(members["method"] == FLOOR) & members["peak_bytes"].notna()].sort_values("edges")
    if len(floor) > 1:
        lowest = members["peak_bytes"].min() / GIB / 2
        axes.fill_between(floor["edges"], lowest, floor["peak_bytes"] / GIB, color="#EEEEEE", zorder=0)


def _line(axes, line: pd.DataFrame, axis: str, colour: str, marker: str) -> None:
    sizes = line["peak_bytes"] / GIB
    axes.plot(line[axis], sizes, color=colour)
    for source, filling in (("measured", colour), ("simulated", "white")):
        shown = (line["source"] == source) & ~line["out_of_memory"]
        look = {"color": colour, "marker": marker, "linestyle": "", "markerfacecolor": filling}
        axes.plot(line[axis][shown], sizes[shown], **look)
    failed = line[line["out_of_memory"]]
    known = failed["peak_bytes"].notna()
    axes.plot(failed[axis][known], sizes[failed.index][known], "x", color=colour, markersize=8, markeredgewidth=2)
    edge = {"color": colour, "markersize": 8, "transform": axes.get_xaxis_transform()}
    axes.plot(failed[axis][~known], [0.98] * int((~known).sum()), "x", **edge)
