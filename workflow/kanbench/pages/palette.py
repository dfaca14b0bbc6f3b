"""Who is drawn in which colour: at most eight methods of a figure have one of their own, the others are grey."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#332288", "#8A8A2B")
"""Okabe and Ito (2008) without black and yellow, then two of Tol's muted tones: told apart under colour-blindness."""
MOST = len(COLOURS)
"""As many lines as a reader can tell apart by colour."""
GREY, INK = "#A3A3A3", "#5A5A5A"
"""Of the marks of a method without a colour, and of its name beside them."""
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
_prominence: ContextVar[tuple[str, ...]] = ContextVar("prominence", default=())


@dataclass(frozen=True)
class Look:
    """How a method is drawn. Not `highlighted`: in grey and below the others, so that it is to be named directly."""

    colour: str
    marker: str
    highlighted: bool = True

    @property
    def zorder(self) -> float:
        return 2.2 if self.highlighted else 1.8


@contextmanager
def of_methods(labels: Iterable[str]) -> Iterator[None]:
    """Fix the methods of a record set, the most prominent first: these have one colour in every figure of the set."""
    token = _prominence.set(tuple(dict.fromkeys(labels)))
    try:
        yield
    finally:
        _prominence.reset(token)


def looks(labels: Iterable[str], order: Sequence[str] | None = None) -> dict[str, Look]:
    """Return the look of each label: a colour for the first `MOST` of them, grey for the others.

    Args:
        order: Labels by importance; default the prominence of methods in the record set, then the alphabet.
    """
    labels, prominent = set(labels), _prominence.get()
    ranks = {label: rank for rank, label in enumerate(prominent if order is None else order)}
    ranked = sorted(labels, key=lambda label: (ranks.get(label, len(ranks)), label))
    owners = _dealt(sorted(prominent[:MOST]), {})
    chosen = ranked[:MOST]
    places = _dealt(chosen, {label: owners[label] for label in chosen if label in owners})
    found = {label: Look(COLOURS[place], MARKERS[place]) for label, place in places.items()}
    for position, label in enumerate(sorted(labels - set(chosen))):
        found[label] = Look(GREY, MARKERS[(MOST + position) % len(MARKERS)], highlighted=False)
    return {label: found[label] for label in sorted(labels)}


def ordered(values: Iterable[float]) -> dict[float, Look]:
    """Return looks of an ordered quantity, dark to light: in colour as far as `MOST` go, the largest in grey."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    values = sorted(set(values))
    coloured = values[:MOST]
    shades = [to_hex(colormaps["viridis"](0.8 * place / max(1, len(coloured) - 1))) for place in range(len(coloured))]
    found = {
        value: Look(shade, MARKERS[place]) for place, (value, shade) in enumerate(zip(coloured, shades, strict=True))
    }
    return found | {value: Look(GREY, "o", highlighted=False) for value in values[MOST:]}


def _dealt(labels: Sequence[str], taken: dict[str, int]) -> dict[str, int]:
    """Return a place in the palette for each label: its hash decides, a taken place moves it on to the next one."""
    taken = dict(taken)
    for label in labels:
        if label not in taken:
            start = int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "big")
            used = set(taken.values())
            taken[label] = next((start + step) % MOST for step in range(MOST) if (start + step) % MOST not in used)
    return taken
