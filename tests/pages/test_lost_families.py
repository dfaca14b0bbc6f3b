"""Every figure and table is made whatever became of the runs: an empty panel or row says what is missing."""

from __future__ import annotations

import copy
import functools
import json

import grouping_records
import matplotlib as mpl
import matplotlib.pyplot as plt
import paper_records
import pytest
import question_records
from record_fixtures import RECORDS, write_set

from kanbench.pages import drawing, recipes, render, style
from kanbench.records import frame as frames
from kanbench.verdicts import claims
from kanbench.verdicts import declared as declarations

mpl.use("Agg")
RECIPES = recipes.discover()
SEEDS = 1
"""Seeds a cell that are kept, so that the tests are quick."""
LOST = ("failed", "absent", "skipped")
NOTHING = {
    "metrics": {"last": None, "selected": None, "legacy_best_on_test": None},
    "curve": [],
    "parameters": {"trainable": None, "total": None, "buffers": None, "groups": {}},
    "time": {
        "step_seconds": {"median": None, "q25": None, "q75": None},
        "train_seconds": None,
        "exclusive": False,
    },
    **{"data": None, "floors": {}, "method_info": {}, "analyses": {}, "environment": None, "selection": None},
}


@functools.cache
def everything() -> list[dict]:
    """The invented records, of the first seeds of every cell."""
    invented = [paper_records, question_records, grouping_records]
    records = [*frames.read_records(RECORDS), *(record for module in invented for record in module.records())]
    kept, seen = [], {}
    for record in records:
        cell = json.dumps({**record["spec"], "seed": None, "source": None}, sort_keys=True)
        seen.setdefault(cell, set()).add(record["spec"]["seed"])
        if len(seen[cell]) <= SEEDS:
            kept.append(record)
    return kept


def lost(record: dict, status: str) -> dict:
    """Return a record of a run of which nothing is known but its end."""
    if status == "absent":
        return {name: record[name] for name in ("run", "spec", "label", "experiments")} | {
            "status": "absent",
            "reason": "planned, no record yet",
        }
    memory = {name: {} if name == "breakdown" else None for name in record.get("memory", {})}
    return record | copy.deepcopy(NOTHING) | {"status": status, "reason": "invented", "memory": memory}


def family_of(record: dict) -> str:
    return record.get("family") or "none"


def of(name: str) -> list[dict]:
    """Return the records that a recipe draws on."""
    wanted = set(RECIPES[name].experiments)
    return [record for record in everything() if not wanted or wanted & set(record["experiments"])]


def scenario(records: list[dict], family: str, status: str):
    """Return the records frame in which all runs of a family (or of all) ended with a status."""
    chosen = [
        lost(record, status) if family in (family_of(record), "all") else copy.deepcopy(record) for record in records
    ]
    return frames.to_frame(chosen)


def scenarios(name: str) -> list[tuple[str, str]]:
    """Return each family that a recipe shows, and all of them, with each way to be lost.

    A table treats a run that says nothing alike, whatever its status: for one family the first stands for the others.
    """
    families = sorted({family_of(record) for record in of(name)})
    ways = LOST if RECIPES[name].kind == "figure" else LOST[:1]
    each = [(family, way) for family in families for way in ways] if len(families) > 1 else []
    return [*each, *(("all", way) for way in LOST)]


def made(name: str, frame, title: str):
    """Return what a recipe shows of a frame: a figure, a table, or None where `render` writes a placeholder."""
    recipe = RECIPES[name]
    module, chosen = recipe.load(), frames.of_experiments(frame, recipe.experiments)
    try:
        shown = module.data(chosen) if len(chosen) else chosen
        if shown.empty:
            return None
        with style.theme(sorted(frame["label"].unique())):
            return module.draw(shown) if recipe.kind == "figure" else module.rows(shown)
    except Exception as error:
        raise AssertionError(f"{name}, {title}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_shows_whatever_families_are_left(name):
    records = of(name)
    for family, status in scenarios(name):
        found = made(name, scenario(records, family, status), f"{family} {status}")
        if found is not None and RECIPES[name].kind == "figure":
            if family == "all":
                drawing.settle(found)
                said = [text for axes in found.axes for text in axes.texts if text.get_text().strip()]
                assert said, f"{name}: nothing says why the panels are empty ({status})"
            plt.close(found)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_shows_a_single_run(name):
    mine = of(name)
    for record in mine[:1] + mine[-1:]:
        for alone in (copy.deepcopy(record), *(lost(copy.deepcopy(record), status) for status in LOST)):
            made(name, frames.to_frame([alone]), f"one run, {alone['status']}")
    plt.close("all")


@pytest.mark.parametrize("status", LOST)
def test_claims_have_a_verdict_whatever_is_left(status):
    for family in ("function_fitting", "all"):
        outcomes = claims.evaluate(declarations.load(recipes.claims_file()), scenario(everything(), family, status))
        assert outcomes
    assert not [outcome.id for outcome in outcomes if outcome.verdict == "holds"]


def test_a_figure_of_a_failed_family_is_written_with_its_note(tmp_path):
    committed = frames.read_records(RECORDS)
    records = [lost(record, "failed") if family_of(record) == "pde" else record for record in committed]
    file = write_set(records, tmp_path / "records.jsonl")
    paths = render.render("figure2_error_against_parameters", file, tmp_path)
    assert all(path.stat().st_size > 500 for path in paths)


def test_a_logarithmic_panel_without_numbers_says_so():
    figure, (empty, negative, shown) = plt.subplots(1, 3)
    negative.plot([-1, -2], [0, 0])
    shown.plot([1, 1000], [2, 5])
    for axes in (empty, negative, shown):
        drawing.logarithmic(axes)
        low, high = axes.get_xlim()
        assert 0 < low < high
    drawing.settle(figure)
    assert [text.get_text() for text in empty.texts] == [drawing.NOTHING]
    assert not shown.texts
    plt.close(figure)
