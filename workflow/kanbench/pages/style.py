"""How figures look and how numbers are written: one theme over seaborn's, units, same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from kanbench.base.atomic import replacing
from kanbench.pages import palette

FAMILIES = {
    "function_fitting": "Function fitting",
    "classification": "Classification",
    "pde": "Partial differential equations",
}
MIB = 2**20
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


@contextmanager
def theme(labels: Iterable[str] = ()) -> Iterator[None]:
    """Apply the theme. `labels`: the methods of the record set, the most prominent first (`palette.of_methods`)."""
    import seaborn

    looks = {**seaborn.axes_style("ticks"), **seaborn.plotting_context("paper"), **_THEME}
    with mpl.rc_context(looks), palette.of_methods(labels):
        yield


def family(name: str) -> str:
    """Return the name of a task family as a heading."""
    return FAMILIES.get(name, name.replace("_", " ").capitalize())


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
