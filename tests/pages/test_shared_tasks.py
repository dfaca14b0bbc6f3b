"""Means over tasks are of the tasks that all rows of a block have; a row that lacks some says so."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from kanbench.pages import recipes, shared_tasks, style
from kanbench.records import frame as frames

FORMULA = "spec.task.settings.formula"


def test_the_tasks_of_all_rows():
    rows = [("a", "x", 1.0), ("a", "y", 2.0), ("a", "z", 3.0), ("b", "x", 1.0), ("b", "y", None), ("b", "z", 2.0)]
    block = pd.DataFrame([*rows, ("c", "x", math.nan)], columns=["row", "task", "value"])
    assert shared_tasks.of_rows(block, ["row"], "task", "value") == ["x", "z"]
    assert shared_tasks.of_rows(block[:3], ["row"], "task", "value") == ["x", "y", "z"]
    assert shared_tasks.of_rows(block[-1:], ["row"], "task", "value") == []


def test_the_note_names_them_where_some_are_missing():
    assert shared_tasks.note("all", ["x", "y"], ["x", "y"]) == ""
    text = "all: means over 1 of 2 tasks, those of which every row has a value: x."
    assert shared_tasks.note("all", ["x"], ["x", "y"]) == text
    assert shared_tasks.note("all", [], ["x"]).endswith("every row has a value: none.")


def failed(frame: pd.DataFrame, method: str, formula: str) -> pd.DataFrame:
    """Return records in which every run of a method on a formula has diverged."""
    frame = frame.copy()
    chosen = (frame["method"] == method) & (frame[FORMULA] == formula)
    assert chosen.any()
    frame.loc[chosen, "status"] = "diverged"
    frame.loc[chosen, ["value", "error"]] = math.nan
    return frame


def of_table(frame):
    recipe = recipes.discover()["table2_function_fitting"]
    module = recipe.load()
    found = module.data(frames.of_experiments(frame, recipe.experiments))
    block = (found["grid_size"] == 5) & (found["depth"] == 1) & (found["configuration"] == "controlled")
    return module, found, found[block]


def test_a_method_that_failed_on_a_formula_is_not_averaged_over_the_rest_beside_the_others(everything):
    _, _, before = of_table(everything)
    module, data, block = of_table(failed(everything, "metakan-relu", "I.8.4"))
    averages = block[(block["kind"] == "average") & block["dataset"].str.startswith("all formulas")]
    assert set(averages["dataset"]) == {"all formulas (7)"}
    singles = before[(before["kind"] == "formula") & (before["dataset"] != "I.8.4")]
    for _, row in averages.iterrows():
        own = singles[singles["method"] == row["method"]]["median"]
        assert len(own) == 7
        assert row["median"] == pytest.approx(math.exp(np.log(own).mean()))
        assert "I.8.4" not in row["formulas"].split()
        assert row["seeds"].endswith(", 7 of 8 formulas") == (row["method"] == "metakan-relu")
    assert averages.set_index("method").loc["metakan-relu", "seeds"].startswith("14 / 16 (2 diverged)")
    notes = " ".join(module.rows(data).notes)
    assert "all formulas, controlled, grid 5, depth 1: means over 7 of 8 tasks" in notes
    assert "I.8.4" not in notes.partition("means over 7 of 8 tasks")[2]


def test_a_method_without_any_value_takes_nothing_from_the_others(everything):
    frame = everything
    for formula in frame[FORMULA].dropna().unique():
        chosen = (frame["method"] == "pykan-fast") & (frame[FORMULA] == formula)
        frame = failed(frame, "pykan-fast", formula) if chosen.any() else frame
    _, _, block = of_table(frame)
    averages = block[block["kind"] == "average"].set_index(["dataset", "method"])
    assert not math.isnan(averages.loc[("all formulas (8)", "metakan-relu"), "median"])
    lost = averages.loc[("all formulas (8)", "pykan-fast")]
    assert math.isnan(lost["median"])
    assert lost["seeds"] == "0 / 16 (16 diverged), 0 of 8 formulas"


def test_whole_blocks_have_no_note(everything):
    module, data, _ = of_table(everything)
    assert not [note for note in module.rows(data).notes if "means over" in note]


def test_the_points_of_a_panel_hold_the_same_tasks(frame):
    module = recipes.discover()["grid_and_depth"].load()
    before = module.data(frame)
    swept = frame[frame["task"].isin(frame.groupby("task")[module.GRID].nunique().loc[lambda n: n > 1].index)]
    task = sorted(swept["task"].unique())[0]
    changed = frame.copy()
    lost = (changed["task"] == task) & (changed["label"] == before["label"].iloc[0])
    changed.loc[lost, ["value", "error"]] = math.nan
    after = module.data(changed)
    known = after[after["error"].notna()]
    for _, panel in known.groupby("depth"):
        assert panel["n_tasks"].nunique() <= 1


def of_figure(frame):
    recipe = recipes.discover()["figure2_error_against_parameters"]
    module = recipe.load()
    data = module.data(frames.of_experiments(frame, recipe.experiments))
    return module, data, module.means(data).query("family == 'function_fitting'").set_index("label")


def test_large_markers_of_a_panel_are_means_of_the_formulas_that_all_have(everything):
    _, whole, before = of_figure(everything)
    planned = sorted(everything.loc[everything["label"] == "pykan (fast mode)", FORMULA].dropna().unique())
    assert len(planned) == 8
    frame = everything
    for formula in planned[::2]:
        frame = failed(frame, "metakan-relu", formula)
    module, data, after = of_figure(frame)
    assert set(after.index) == set(before.index) == {"efficient-KAN", "MLP", "MetaKAN (ReLU)", "pykan (fast mode)"}
    kept = whole[whole["task"].isin(data.loc[data["in_mean"], "task"])]
    assert kept["task"].nunique() == 4
    for label, mean in after.iterrows():
        rows = kept[(kept["label"] == label) & (kept["settings"] == mean["settings"])]
        assert len(rows) == mean["tasks"] == 4
        for column in ("median", "parameters"):
            assert mean[column] == pytest.approx(math.exp(np.log(rows[column]).mean())), "the failed formulas are out"
    assert (after["median"] != before.loc[after.index, "median"]).all()
    (note,) = module.notes(data)
    assert "large markers: means over 4 of 8 tasks" in note
    assert [formula for formula in planned if formula in note] == planned[1::2]
    with style.theme(frame["label"]):
        (legend,) = module.draw(data).legends
    assert "means over 4 of 8 tasks" in legend.get_title().get_text().replace("\n", " ")


def test_a_figure_of_whole_means_has_no_note_and_a_method_without_a_value_takes_nothing(everything):
    module, data, before = of_figure(everything)
    assert module.notes(data) == []
    assert set(before["tasks"]) == {8}
    frame = everything
    for formula in everything.loc[everything["method"] == "pykan-fast", FORMULA].dropna().unique():
        frame = failed(frame, "pykan-fast", formula)
    module, data, after = of_figure(frame)
    assert module.notes(data) == []
    assert set(after["tasks"]) == {8}
    assert set(before.index) - set(after.index) == {"pykan (fast mode)"}


def test_means_of_networks_that_were_planned_on_other_formulas_stand_for_themselves():
    module = recipes.discover()["figure2_error_against_parameters"].load()
    points = {"wide": "abc", "wider": "bcd", "narrow": "xy", "single": "a"}
    rows = [(name, task, 1.0) for name, tasks in points.items() for task in tasks]
    cells = pd.DataFrame(rows, columns=["label", "task", "median"]).assign(settings="", parameters=1, family="f")
    assert [(sorted(set(block["task"])), shared) for block, shared in module._blocks(cells)] == [
        (["a", "b", "c", "d"], ["b", "c"]),
        (["x", "y"], ["x", "y"]),
    ]
