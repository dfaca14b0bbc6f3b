"""Names written beside what they name: at the end of a line, or near a marker, moved apart until none covers another.

A name is put where it belongs when it is drawn; `settle`, once the layout is known, moves those that would collide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox, Transform

from kanbench.pages.palette import INK

SIZE, SMALLEST = 6.5, 4.5
"""Points of a name, and of one that shares its margin with many others."""
_BESIDE, _NEAR = "named beside", "named near"
_LEADER = {"arrowstyle": "-", "color": "#BDBDBD", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2}


def beside(axes: Axes, x: float, y: float, text: str, *, colour: str = INK, at: str | Transform = "data") -> None:
    """Write a name to the right of the axes at the height of a line's last point, (`x`, `y`) in the coordinates `at`.

    `y` is a value on the vertical axis in any case.
    """
    axes.annotate(
        text,
        (x, y),
        xycoords=at,
        xytext=(1.03, y),
        textcoords=("axes fraction", "data"),
        fontsize=SIZE,
        color=colour,
        va="center",
        annotation_clip=False,
        arrowprops=_LEADER,
        gid=_BESIDE,
    )


def near(axes: Axes, x: float, y: float, text: str) -> None:
    """Write a name near a marker at (`x`, `y`)."""
    offset = {"xytext": (6, 4), "textcoords": "offset points", "annotation_clip": False}
    name = axes.annotate(text, (x, y), fontsize=SIZE, color=INK, arrowprops=_LEADER, gid=_NEAR, zorder=3, **offset)
    name.set_in_layout(False)  # it will stand inside the axes


def width(figure: Figure) -> float:
    """Return the inches that names beside the axes take, summed over the columns of axes."""
    columns: dict[int, float] = {}
    for axes in figure.axes:
        place = axes.get_subplotspec()
        names = _named(axes, _BESIDE)
        if place is not None and names:
            widest = max(inches(figure, name)[0] for name in names) + 0.1
            columns[place.colspan.start] = max(columns.get(place.colspan.start, 0.0), widest)
    return sum(columns.values())


def inches(figure: Figure, text: Text) -> tuple[float, float]:
    """Return width and height of a text in inches."""
    box = Text.get_window_extent(text, figure.canvas.get_renderer())
    return box.width / figure.dpi, box.height / figure.dpi


def settle(figure: Figure) -> None:
    """Move names apart; the layout must have been computed."""
    for axes in figure.axes:
        _spread(axes, _named(axes, _BESIDE))
        _place(axes, _named(axes, _NEAR))


def _named(axes: Axes, kind: str) -> list[Annotation]:
    return [text for text in axes.texts if text.get_gid() == kind]


def _spread(axes: Axes, names: Sequence[Annotation]) -> None:
    """Move names beside the axes up and down, in the order of their lines, until none covers another."""
    if not names:
        return
    frame, renderer = axes.get_window_extent(), axes.figure.canvas.get_renderer()
    step = max(Text.get_window_extent(name, renderer).height for name in names) * 1.05
    if step * len(names) > frame.height:
        shrunk = max(SMALLEST, SIZE * frame.height / (step * len(names)))
        step *= shrunk / SIZE
        for name in names:
            name.set_fontsize(shrunk)
    heights = [name.xy[1] for name in names]
    ends = axes.transData.transform(np.column_stack([np.full(len(heights), axes.get_xlim()[1]), heights]))[:, 1]
    order = np.argsort(np.clip(ends, frame.y0, frame.y1), kind="stable")
    places = apart(np.clip(ends, frame.y0, frame.y1)[order], step, frame.y0 + step / 2, frame.y1 - step / 2)
    for position, height in zip(order, places, strict=True):
        names[position].anncoords = "axes fraction"
        names[position].set_position((1.03, (height - frame.y0) / frame.height))


def apart(wanted: np.ndarray, step: float, low: float, high: float) -> np.ndarray:
    """Return places in ascending order as close as may be to `wanted` (ascending), `step` apart, in [low, high].

    Where they do not fit into that interval they stand `step` apart all the same, about its middle.
    """
    count = len(wanted)
    if step * (count - 1) >= high - low:
        return (low + high) / 2 + step * (np.arange(count) - (count - 1) / 2)
    places = np.maximum.accumulate(np.maximum(wanted, low) - step * np.arange(count)) + step * np.arange(count)
    upper = high - step * np.arange(count)[::-1]
    return np.minimum(places, upper)


def _place(axes: Axes, names: Sequence[Annotation]) -> None:
    """Put each name at the first place around its marker that covers neither another name nor a marker."""
    if not names:
        return
    renderer, frame = axes.figure.canvas.get_renderer(), axes.get_window_extent()
    points = [axes.transData.transform(np.column_stack(line.get_data())) for line in axes.lines]
    points = np.concatenate(points) if points else np.empty((0, 2))
    scale = axes.figure.dpi / 72
    others = [text for text in axes.texts if text not in names and text.get_text()]
    taken = [text.get_window_extent(renderer) for text in others]
    for name in names:
        wide = Text.get_window_extent(name, renderer).width
        if wide > frame.width:
            name.set_fontsize(max(SMALLEST, SIZE * frame.width / wide))
        size, anchor = Text.get_window_extent(name, renderer), axes.transData.transform(name.xy)
        tried = []
        for box, offset in _candidates(size.width, size.height, anchor, scale, frame):
            clashes = sum(box.overlaps(other) for other in taken)
            around = box.padded(2 * scale)
            covered = int(np.sum(np.all((points > around.min) & (points < around.max), axis=1)))
            tried.append((100 * clashes + covered, len(tried), box, offset))
            if tried[-1][0] == 0:
                break
        _, _, box, offset = min(tried, key=lambda entry: entry[:2])
        taken.append(box)
        name.set(position=offset, ha="left", va="bottom")


def _candidates(wide: float, high: float, anchor: np.ndarray, scale: float, frame: Bbox):
    """Yield boxes around a marker, near ones first, moved into the frame where they would leave it."""
    for radius in (5, 9, 14, 20, 28, 38, 50, 64, 80, 100, 130):
        for angle in np.arange(16) * math.pi / 8:
            x = anchor[0] + radius * scale * math.cos(angle) - (wide if math.cos(angle) < -0.1 else 0)
            y = anchor[1] + radius * scale * math.sin(angle) - high / 2
            if abs(math.cos(angle)) <= 0.1:
                x -= wide / 2
            x = max(min(x, frame.x1 - wide), frame.x0)
            y = max(min(y, frame.y1 - high), frame.y0)
            yield Bbox.from_bounds(x, y, wide, high), ((x - anchor[0]) / scale, (y - anchor[1]) / scale)
