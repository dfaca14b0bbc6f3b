"""What figures are made of: panels, axes, lines with their spread, names, keys. Nothing is ever cut off.

A figure grows with its legend and with the names beside its axes, so that panels keep the size they were asked for.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from kanbench.pages import naming, style, table
from kanbench.pages.palette import GREY, INK, Look

CHARACTERS_AN_INCH = 13
NARROWEST = 4.6
"""Inches: of a figure with one panel, so that title and legend have room."""
NOTHING = "no ok run to draw"
SPREADS = {table.INTERVAL: "95 % interval of the median", "range": "range over {units}"}


def grid_of_axes(
    count: int, *, columns: int = 3, size: tuple[float, float] = (3.1, 2.7), **options: object
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` axes of `size` inches each, in rows of `columns`."""
    columns = max(1, min(columns, count))
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(max(size[0] * columns, NARROWEST), size[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def rows_of_axes(bars: Sequence[int], *, width: float = 6.6, bar: float = 0.27) -> tuple[Figure, list[Axes]]:
    """Return axes below each other for horizontal bars, as high as their number of `bars` asks for."""
    heights = [bar * number + 0.75 for number in bars]
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(len(bars), 1, squeeze=False, height_ratios=heights).ravel().tolist()


def title(text: str, *, inches: float = 3.1) -> str:
    """Return `text` broken into lines that fit above axes of a width, so that titles never run into each other."""
    return textwrap.fill(text, max(16, int(inches * CHARACTERS_AN_INCH)))


def logarithmic(axes: Axes, which: str = "xy") -> None:
    """Make axes logarithmic with plain labels at 1, 2 and 5 times the powers of ten, fewer over many decades.

    Where a panel has no positive number to show, they go from 1 to 10.
    """
    for name in which:
        getattr(axes, f"set_{name}scale")("log")
        axis = getattr(axes, f"{name}axis")
        low, high = sorted(getattr(axes, f"get_{name}lim")())
        if not 0 < low < high < math.inf:
            low, high = 1.0, 10.0
            getattr(axes, f"set_{name}lim")(low, high)
        decades = math.log10(high / low)
        if decades < 0.7:  # too narrow for these labels: widen about the middle
            widen = 10 ** ((0.7 - decades) / 2)
            getattr(axes, f"set_{name}lim")(low / widen, high * widen)
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,), numticks=15))
        axis.set_major_formatter(FuncFormatter(lambda value, _: style.short(value)))
        axis.set_minor_locator(NullLocator())


def ticks_at(axes: Axes, values: pd.Series) -> None:
    """Put ticks of the horizontal axis at the values that occur, and nowhere else."""
    places = sorted(values.dropna().unique())
    axes.set_xticks(places, [f"{place:g}" for place in places])


def note(axes: Axes, text: str) -> None:
    """Write `text` small into the lower left corner: what a panel does not show, and why."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
    axes.text(0.015, 0.02, text, transform=axes.transAxes, fontsize=7, color=INK, bbox=box)


def mark(axes: Axes, x: float, y: float, text: str) -> None:
    """Write `text` small above a point."""
    axes.annotate(text, (x, y), xytext=(0, 6), textcoords="offset points", fontsize=6.5, ha="center", color=INK)


def curve(
    axes: Axes, x: str, rows: pd.DataFrame, look: Look, *, middle: str = "median", name: str = "", **options: object
) -> None:
    """Draw `middle` over the column `x` as a line, from `low` to `high` as a band.

    Args:
        name: Written beside a line that is not highlighted, whose band is left out.
        options: Of the line.
    """
    rows = rows.sort_values(x)
    if look.highlighted:
        axes.fill_between(rows[x], rows["low"], rows["high"], color=look.colour, alpha=0.15, linewidth=0)
    options = {"marker": look.marker, **options}
    axes.plot(rows[x], rows[middle], color=look.colour, zorder=look.zorder, **options)
    known = rows.dropna(subset=[middle])
    if name and not look.highlighted and len(known):
        naming.beside(axes, known[x].iloc[-1], known[middle].iloc[-1], name)


def level(axes: Axes, y: float, look: Look, name: str) -> None:
    """Draw a value that does not depend on the horizontal axis as a dashed line with its name beside it."""
    if math.isnan(y):
        return
    axes.axhline(y, color=look.colour, linestyle="--", linewidth=1.2, zorder=look.zorder)
    naming.beside(axes, 1.0, y, name, colour=look.colour if look.highlighted else INK, at=axes.get_yaxis_transform())


def spans(axes: Axes, x: pd.Series, rows: pd.DataFrame, look: Look, **options: object) -> None:
    """Draw the spread of points at `x` as upright lines from `low` to `high`."""
    alpha = 0.35 if look.highlighted else 0.2
    axes.vlines(x, rows["low"], rows["high"], color=look.colour, zorder=1.5, **{"alpha": alpha, **options})


def spread_text(intervals: pd.Series, units: str = "seeds") -> str:
    """Return in words what the spread of a figure is: interval, range, or both by their number of units."""
    kinds = [text.format(units=units) for kind, text in SPREADS.items() if kind in set(intervals)]
    return " or ".join(kinds) if len(kinds) < 2 else f"{kinds[0]}, {kinds[1]} where they are fewer than six"


def spread_key(mark: str, intervals: pd.Series, units: str = "seeds") -> str:
    """Return what a mark of the spread stands for, "bar: range over seeds"; nothing where there are no spreads."""
    text = spread_text(intervals, units)
    return f"{mark}: {text}" if text else ""


def key(figure: Figure, *sentences: str) -> None:
    """Write below the panels what their marks stand for, in small print; after the legend, if there is one."""
    text = "; ".join(sentence for sentence in sentences if sentence)
    if not text:
        return
    made = figure.legends[0] if figure.legends else figure.legend(handles=[], loc="outside lower center")
    before = _inches(figure, made)[1] if made.get_lines() or made.get_patches() else 0.0
    wrapped = textwrap.fill(text, max(40, int(figure.get_figwidth() * 17)))
    made.set_title(wrapped, prop={"size": 7})
    made.get_title().set(color=INK, ha="center", multialignment="center")
    _grow(figure, _inches(figure, made)[1] - before + (0.0 if before else 0.1))


def method_legend(figure: Figure, looks: Mapping[str, Look], *, line: bool = False, others: str = "") -> None:
    """Put one legend with colour and marker of every highlighted method below the axes.

    Args:
        line: Whether methods are lines.
        others: What grey marks are, where there are any: they are named directly.
    """
    width = "-" if line else ""
    shown = {label: look for label, look in looks.items() if look.highlighted}
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=width, label=label)
        for label, look in shown.items()
    ]
    if len(shown) < len(looks) and others:
        handles.append(Line2D([], [], color=GREY, marker="o", linestyle=width, label=others))
    legend(figure, handles)


def legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Put a legend below the axes, in as many columns as fit; the figure grows by its height."""
    if not handles:
        return
    place = {"handles": list(handles), "loc": "outside lower center"}
    for columns in range(min(len(handles), 6), 0, -1):
        made = figure.legend(ncols=columns, **place)
        wide, high = _inches(figure, made)
        if wide <= figure.get_figwidth() - 0.1 or columns == 1:
            break
        made.remove()
    figure.set_figwidth(max(figure.get_figwidth(), wide + 0.1))
    _grow(figure, high + 0.1)


def _inches(figure: Figure, made: Legend) -> tuple[float, float]:
    box = made.get_window_extent(figure.canvas.get_renderer())
    return box.width / figure.dpi, box.height / figure.dpi


def _grow(figure: Figure, inches: float) -> None:
    figure.set_figheight(figure.get_figheight() + inches)


def placeholder(heading: str, text: str) -> Figure:
    """Return a figure that says in words why there is nothing to draw."""
    figure, (axes,) = grid_of_axes(1, size=(6.0, 2.0))
    axes.set_axis_off()
    axes.text(0.5, 0.62, title(heading, inches=5.0), ha="center", va="center", fontsize=11, weight="bold")
    axes.text(0.5, 0.34, title(text, inches=6.5), ha="center", va="center", fontsize=9, color=INK)
    return figure


def _has_data(axes: Axes) -> bool:
    return all(math.isfinite(number) for point in axes.dataLim.get_points() for number in point)


def settle(figure: Figure) -> None:
    """Compute the layout once and for all, instead of anew for every file type; then move names apart.

    An empty panel that does not say why says that it is one.
    """
    for axes in figure.axes:
        if axes.axison and not axes.texts and not _has_data(axes):
            note(axes, NOTHING)
    figure.set_figwidth(figure.get_figwidth() + naming.width(figure))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    naming.settle(figure)
