"""What bounds a form, from records whose errors are known."""

from __future__ import annotations

import copy

import pytest
import question_records

from kanbench.pages import recipes
from kanbench.records import frame as frames

ERRORS = {  # fitted, trained further, usual start, over the dense error
    "curve": (9.0, 3.0, 4.0),
    "2 functions mixed": (2.0, 1.0, 1.5),
    "3 functions mixed": (1.5, 0.9, 1.05),
}


def run(seed: int) -> dict:
    found = copy.deepcopy(question_records.transfer_run("I.14.3", seed, method="tiled_kan"))
    dense = 0.1 * (1 + seed)
    entries = [
        {
            "form": form,
            "parameters": 45,
            "functions_left": 0.2,
            **dict(zip(("fitted", "trained_further", "usual_start"), (dense * ratio for ratio in ratios), strict=True)),
        }
        for form, ratios in ERRORS.items()
    ]
    found["analyses"] = {
        "representation": {"status": "ok", "reason": None, "curve": [], "dense": dense, "forms": entries}
    }
    return {**found, "run": f"run-{seed}", "experiments": ["E14floor"]}


def shown(count: int = 3):
    recipe = recipes.discover()["representation_floor"].load()
    return recipe, recipe.data(frames.to_frame([run(seed) for seed in range(count)]))


def test_ratios_are_to_the_dense_network_of_the_same_run():
    _, found = shown()
    for form, ratios in ERRORS.items():
        own = found[found["form"] == form].set_index("way")["ratio"]
        assert own.to_dict() == pytest.approx(
            dict(zip(("fitted", "trained_further", "usual_start"), ratios, strict=True))
        )
    assert found["share"].tolist() == pytest.approx([0.5] * 9)
    assert set(found["runs"]) == {"run-0 run-1 run-2"}


def test_the_bound_is_told_apart():
    recipe, found = shown()
    told = recipe.sentences(found)
    assert len(told) == 3
    assert "within the margin" in told[0]
    assert "3 functions mixed (0.900 and 1.05 ×)" in told[0]
    assert "conditioning" in told[1]
    assert "2 functions mixed (1.00 and 1.50 ×)" in told[1]
    assert "can express" in told[2]
    assert "curve (3.00 and 4.00 ×)" in told[2]


def test_the_figure_is_drawn_and_without_the_analysis_there_is_nothing_to_show():
    recipe, found = shown()
    recipe.draw(found)
    plain = question_records.transfer_run("I.14.3", 0)
    assert recipe.data(frames.to_frame([{**plain, "run": "a"}])).empty
