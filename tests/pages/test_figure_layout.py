"""Figures of every size: nothing is cut off, nothing covers anything else, at most eight colours, grey means named."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from kanbench.pages import drawing, naming, palette, recipes, style
from kanbench.records import frame as frames
from kanbench.statistics import partitions

SERIES = {
    "break_even_size": ("label", "reference"),
    "clustering_accuracy": ("strategy", "task"),
    "figure2_error_against_parameters": ("label", "family"),
    "functional_diversity": ("line", "shape"),
    "grid_and_depth": ("label", "depth"),
    "learned_activations": ("label", "task"),
    "learning_curves": ("label", "comparison"),
    "learning_rate_balance": ("label", "task"),
    "memory_against_edges": ("label", "fixed"),
    "memory_predicted": ("label", "settings"),
    "meta_learners_sweep": ("label", "task"),
    "prompt_and_hidden_sweep": ("label", "task"),
    "prompt_collapse": ("label", "task"),
    "pruning": ("label", "task"),
    "schedules": ("label", "task"),
    "step_time": ("label", "comparison"),
    "symbolic_edges": ("label", "edge"),
    "symbolic_fidelity": ("label", "way"),
}
"""The columns whose values a figure tells apart by colour, and by panel."""
FEW = ("learning_rate_balance", "learned_activations", "symbolic_edges")
"""Figures with panels of their own for every method, of which there are a few."""
OTHERS = {"layer_distances", "meta_transfer", "peak_memory_by_category", "prompt_axis"}
"""Heat maps, bars by category and lines by prompt: drawn as they are."""
NAMES = "KAN of a name that is long enough to be trouble (variant {})"


def data_of(name: str, frame: pd.DataFrame) -> tuple[object, pd.DataFrame]:
    recipe = recipes.discover()[name]
    module = recipe.load()
    return module, module.data(frames.of_experiments(frame, recipe.experiments))


def copies(frame: pd.DataFrame, column: str, count: int, rename) -> pd.DataFrame:
    """Return a frame with `count` values in a column: the first ones, and copies of them under other names."""
    values = list(dict.fromkeys(frame[column]))
    found = [frame[frame[column].isin(values[:count])]]
    for number in range(len(values), count):
        of_one = frame[frame[column] == values[number % len(values)]]
        found.append(of_one.assign(**{column: rename(number)}))
    return pd.concat(found, ignore_index=True)


def settled(draw, frame: pd.DataFrame, order: list[str]) -> Figure:
    with style.theme(order):
        figure = draw(frame)
        drawing.settle(figure)
        figure.draw_without_rendering()
    return figure


def faults(figure: Figure) -> list[str]:
    """Return what is cut off or covered."""
    renderer, found = figure.canvas.get_renderer(), []
    whole = figure.bbox.padded(1.5)
    boxes = {f"axes {number}": axes.get_tightbbox(renderer) for number, axes in enumerate(figure.axes)}
    legends = {f"legend {number}": made.get_tightbbox(renderer) for number, made in enumerate(figure.legends)}
    for name, box in {**boxes, **legends}.items():
        if box.x0 < whole.x0 or box.x1 > whole.x1 or box.y0 < whole.y0 or box.y1 > whole.y1:
            found.append(f"{name} is cut off: {box.extents.round()} in {whole.extents.round()}")
    for (name, box), (other, place) in itertools.product(legends.items(), boxes.items()):
        if box.overlaps(place):
            found.append(f"{name} covers {other}")
    titles = [axes.title for axes in figure.axes if axes.get_title()]
    names = [text for axes in figure.axes for text in axes.texts if text.get_gid() == "named beside"]
    for kind in (titles, names):
        extents = [(text.get_text(), Text.get_window_extent(text, renderer).padded(-0.5)) for text in kind]
        for (text, box), (other, place) in itertools.combinations(extents, 2):
            if box.overlaps(place):
                found.append(f"{text!r} covers {other!r}")
    return found


def coloured(figure: Figure) -> set[str]:
    """Return the palette's colours of lines."""
    return {to_hex(line.get_color()).upper() for axes in figure.axes for line in axes.lines} & set(palette.COLOURS)


def words(figure: Figure) -> str:
    texts = [text.get_text() for axes in figure.axes for text in (*axes.texts, *axes.get_yticklabels(), axes.title)]
    texts += [axes.get_ylabel() for axes in figure.axes]
    return " ".join(texts).replace("\n", " ")


@pytest.mark.parametrize(
    ("name", "series", "panels"),
    [
        *((name, *size) for name in SERIES for size in ((1, 1), (8, 2), (15, 1)) if name not in FEW),
        *((name, *size) for name in FEW for size in ((1, 1), (3, 2))),
        *((name, 2, 8) for name in ("learning_curves", "meta_learners_sweep", "step_time")),
    ],
)
def test_at_any_size_nothing_is_cut_off_and_grey_is_named(name, series, panels, everything):
    module, data = data_of(name, everything)
    by, panel = SERIES[name]
    numbered = pd.api.types.is_numeric_dtype(data[panel])
    data = copies(data, panel, panels, lambda number: number + 1 if numbered else f"{data[panel].iloc[0]} {number}")
    if name != "clustering_accuracy":
        data = copies(data, by, series, NAMES.format)
    if name == "memory_predicted":
        data = data.assign(predicted_bytes=1.01 * data["peak_bytes"], relative_error=0.01)
    order = sorted(set(data[by]), reverse=True)
    figure = settled(module.draw, data, order)
    assert not faults(figure)
    assert len(coloured(figure)) <= palette.MOST
    with palette.of_methods(order):
        layers = ", layer " + data["layer"].astype(str) if name == "prompt_collapse" and series > 1 else ""
        looks = palette.looks(data[by] + layers, order=partitions.ORDER if name == "clustering_accuracy" else None)
    assert sum(look.highlighted for look in looks.values()) == min(palette.MOST, len(looks))
    for label in (label for label, look in looks.items() if not look.highlighted):
        assert label in words(figure), f"{label} is grey and not named"


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_the_other_figures_are_whole(name, everything):
    module, data = data_of(name, everything)
    assert not faults(settled(module.draw, data, []))


def test_every_figure_is_measured():
    figures = {name for name, recipe in recipes.discover().items() if recipe.kind == "figure"}
    own = {"generated_forms", "representation_floor"}
    assert figures == set(SERIES) | OTHERS | own, "those have tests of their own, as they have a study of their own"


def test_a_cut_legend_is_found():
    with style.theme():
        figure, _ = drawing.grid_of_axes(1)
        figure.legend(
            handles=[], title="a title that is far too long for a figure of this width " * 3, loc="lower left"
        )
        figure.draw_without_rendering()
    assert any("cut off" in fault for fault in faults(figure))


def test_eight_methods_are_highlighted_and_keep_their_colour_from_figure_to_figure():
    labels = [f"method {number}" for number in range(15)]
    with palette.of_methods(labels):
        crowd = palette.looks(labels)
        few = palette.looks(["method 3", "method 14", "method 7"])
    assert sum(look.highlighted for look in crowd.values()) == palette.MOST == 8
    assert all(crowd[label].highlighted for label in labels[:8]), "the most prominent ones"
    assert {crowd[label].colour for label in labels[8:]} == {palette.GREY}
    assert len({(look.colour, look.marker) for look in crowd.values()}) == 15
    assert few["method 3"] == crowd["method 3"]
    assert few["method 7"] == crowd["method 7"]
    assert few["method 14"].highlighted, "in colour where there is one to spare"
    assert len({look.colour for look in few.values()}) == 3


@pytest.mark.parametrize("wanted", [[5.0, 5.0, 5.0], [0.0, 0.1, 9.9, 10.0], [10.0] * 6, list(np.linspace(0, 10, 11))])
def test_names_are_moved_apart_and_stay_in_order(wanted):
    places = naming.apart(np.array(wanted), 1.0, 0.0, 10.0)
    assert (np.diff(places) >= 1.0 - 1e-9).all()
    assert places[0] >= -1e-9
    assert places[-1] <= 10.0 + 1e-9
    alone = naming.apart(np.array([2.0, 7.0]), 1.0, 0.0, 10.0)
    assert alone.tolist() == [2.0, 7.0], "names with room stay where they belong"


def test_a_line_that_stands_for_a_function_is_dense(everything):
    module, data = data_of("symbolic_edges", everything)
    t = pd.Series(np.sort(np.random.default_rng(0).uniform(-1, 1, 25)))
    grid, values = module.dense(t, np.sin(3 * t))
    assert len(grid) == module.DENSE >= 100
    assert np.abs(values - np.sin(3 * grid)).max() < 0.01
    for axes in settled(module.draw, data, []).axes:
        assert max(len(line.get_xdata()) for line in axes.lines) == module.DENSE


def test_a_break_even_line_is_drawn_once_a_configuration_and_named(everything):
    module, data = data_of("break_even_size", everything)
    figure = settled(module.draw, data, [])
    for axes, (_, members) in zip(figure.axes, data.groupby("reference"), strict=True):
        upright = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
        assert len(upright) == len(set(upright)) <= module.MOST_LINES
        chosen, others = module.lines(members)
        finite = members[np.isfinite(members["break_even_edges"])]
        keys = ["label", *module.SETTINGS]
        configurations = finite.assign(size=finite["break_even_edges"].round())[[*keys, "size"]].drop_duplicates()
        assert len(chosen) + others == len(configurations)
        named = [text.get_text() for text in axes.texts if text.get_text().endswith(" edges")]
        assert len(named) == len(upright) == len(chosen)
        for _, line in chosen.iterrows():
            # Where the line crosses 1, prompts and meta-learners are as many as the dense parameters.
            assert any(f": {style.count(line['size'])} edges" in text for text in named)
