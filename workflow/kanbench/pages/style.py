"""How figures look and how numbers are written: one theme over seaborn's, one colour a method, units, same bytes."""

from __future__ import annotations

import hashlib
import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from kanbench.base.atomic import replacing

COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"),
    *("#332288", "#882255", "#8A8A2B", "#3D3D3D", "#9A9A9A", "#9A6324"),
)
"""Okabe and Ito (2008) without black and yellow, then Tol's muted tones: told apart under colour-blindness."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*", "p")
CATEGORIES = {
    "parameter": "#0072B2",
    "gradient": "#56B4E9",
    "optimiser": "#009E73",
    "activation": "#E69F00",
    "temporary": "#CC79A7",
    "buffer": "#8A8A2B",
    "other": "#9A9A9A",
}
FAMILIES = {
    "function_fitting": "Function fitting",
    "classification": "Classification",
    "pde": "Partial differential equations",
}
MIB = 2**20
CHARACTERS_AN_INCH = 13
_THEME = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.0,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.hashsalt": "kanbench",
}
_labels: ContextVar[tuple[str, ...]] = ContextVar("labels", default=())


@contextmanager
def theme(labels: Iterable[str] = ()) -> Iterator[None]:
    """Apply the theme, and fix the methods among which colours are dealt out.

    Give all method labels of a record set, so that a method has one colour in every figure of the set.
    """
    import seaborn

    token = _labels.set(tuple(sorted(set(labels))))
    try:
        with mpl.rc_context({**seaborn.axes_style("ticks"), **seaborn.plotting_context("paper"), **_THEME}):
            yield
    finally:
        _labels.reset(token)


def slots(labels: Iterable[str]) -> dict[str, int]:
    """Return a place in the palette for each label: its hash decides, a taken place moves it on to the next one."""
    everyone = sorted({*labels, *_labels.get()})
    taken: dict[str, int] = {}
    for position, label in enumerate(everyone):
        start = int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "big")
        # Beyond one palette's worth of methods a colour comes back, with another marker.
        round_number = position // len(COLOURS)
        used = {slot % len(COLOURS) for slot in taken.values() if slot // len(COLOURS) == round_number}
        place = next(
            (start + step) % len(COLOURS) for step in range(len(COLOURS)) if (start + step) % len(COLOURS) not in used
        )
        taken[label] = place + round_number * len(COLOURS)
    return taken


def colours(labels: Iterable[str]) -> dict[str, str]:
    """Return the colour of each method label."""
    return {label: COLOURS[slot % len(COLOURS)] for label, slot in slots(labels).items()}


def markers(labels: Iterable[str]) -> dict[str, str]:
    """Return the marker of each method label, so that colour never carries a meaning alone."""
    count = len(COLOURS)
    return {label: MARKERS[(slot % count + 5 * (slot // count)) % count] for label, slot in slots(labels).items()}


def grid_of_axes(
    count: int, *, columns: int = 3, size: tuple[float, float] = (3.1, 2.7), legend: float = 0.6, **options: object
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` axes of `size` inches each, with room for a legend of `legend` inches below."""
    columns = max(1, min(columns, count))
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(max(size[0] * columns, 4.6), size[1] * rows + legend), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def title(text: str, *, inches: float = 3.1) -> str:
    """Return `text` broken into lines that fit above axes of a width, so that titles never run into each other."""
    return textwrap.fill(text, max(16, int(inches * CHARACTERS_AN_INCH)))


def rows_of_axes(
    bars: Sequence[int], *, width: float = 6.6, bar: float = 0.27, legend: float = 0.45
) -> tuple[Figure, list[Axes]]:
    """Return axes below each other for horizontal bars, as high as their number of `bars` asks for."""
    heights = [bar * number + 0.75 for number in bars]
    figure = Figure(figsize=(width, sum(heights) + legend), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(len(bars), 1, squeeze=False, height_ratios=heights).ravel().tolist()


def logarithmic(axes: Axes, which: str = "xy") -> None:
    """Make axes logarithmic with plain labels at 1, 2 and 5 times the powers of ten, fewer over many decades."""
    for name in which:
        getattr(axes, f"set_{name}scale")("log")
        axis = getattr(axes, f"{name}axis")
        low, high = sorted(getattr(axes, f"get_{name}lim")())
        decades = math.log10(high / low)
        if decades < 0.7:  # too narrow for these labels: widen about the middle
            widen = 10 ** ((0.7 - decades) / 2)
            getattr(axes, f"set_{name}lim")(low / widen, high * widen)
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,), numticks=15))
        axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axis.set_minor_locator(NullLocator())


def note(axes: Axes, text: str) -> None:
    """Write `text` small into the lower left corner: what a panel does not show, and why."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
    axes.text(0.015, 0.02, text, transform=axes.transAxes, fontsize=7, color="#555555", bbox=box)


def mark(axes: Axes, x: float, y: float, text: str) -> None:
    """Write `text` small above a point."""
    axes.annotate(text, (x, y), xytext=(0, 6), textcoords="offset points", fontsize=6.5, ha="center", color="#555555")


def method_legend(figure: Figure, labels: Sequence[str], *, columns: int = 4, line: bool = False) -> None:
    """Put one legend with the colour and the marker of every method below the axes."""
    colour, marker = colours(labels), markers(labels)
    width = "-" if line else ""
    handles = [
        Line2D([], [], color=colour[label], marker=marker[label], linestyle=width, label=label)
        for label in sorted(labels)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, max(len(handles), 1)))


def family(name: str) -> str:
    """Return the name of a task family as a heading."""
    return FAMILIES.get(name, name.replace("_", " ").capitalize())


def placeholder(title: str, text: str) -> Figure:
    """Return a figure that says in words why there is nothing to draw."""
    figure, (axes,) = grid_of_axes(1, size=(6.0, 2.0), legend=0)
    axes.set_axis_off()
    axes.text(0.5, 0.62, title, ha="center", va="center", fontsize=11, weight="bold", wrap=True)
    axes.text(0.5, 0.34, text, ha="center", va="center", fontsize=9, color="#555555", wrap=True)
    return figure


def settle(figure: Figure) -> None:
    """Compute the layout once and for all, instead of anew for every file type."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as the type its suffix names; equal figures give equal files."""
    metadata = {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}
    if path.suffix == ".png":
        metadata = {"Software": None}
    with mpl.rc_context(_THEME), replacing(path) as temporary:
        figure.savefig(temporary, metadata=metadata, dpi=180)


def number(value: float, digits: int = 3) -> str:
    """Return `value` with `digits` significant digits: 0.0123, 98.4, 1.23e-05; inf and NaN in words."""
    if value is None or math.isnan(value):
        return "not measured"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded value: 9.996 is 10.0
    if -4 <= exponent < 6:
        decimals = max(digits - 1 - exponent, 0)
        return f"{value:,.{decimals}f}" if exponent >= 4 else f"{value:.{decimals}f}"
    return f"{value:.{digits - 1}e}"


def count(value: float) -> str:
    """Return a count in short: 361, 25.8 k, 3.49 M."""
    if value is None or math.isnan(value):
        return "not counted"
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.0f}"


def short(value: float) -> str:
    """Return a tick label: 0.02, 5, 200, 20 k, 1e-6."""
    if value >= 1000:
        return count(value)
    return f"{value:g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")


def exact(value: float) -> str:
    """Return a count in full with thousands separated: 254,080."""
    return "not counted" if value is None or math.isnan(value) else f"{value:,.0f}"


def mebibytes(value: float) -> str:
    """Return bytes in MiB with three significant digits, without the unit."""
    return "not measured" if value is None or math.isnan(value) else number(value / MIB)


def milliseconds(value: float) -> str:
    """Return seconds in milliseconds with three significant digits, without the unit."""
    return "not measured" if value is None or math.isnan(value) else number(value * 1000)


def ratio(value: float) -> str:
    """Return a ratio: 0.112, 9.88, 17.2 (three significant digits)."""
    return number(value)
