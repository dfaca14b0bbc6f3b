"""Recipes are found by reading them, and every mistake in them is named."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kanbench.base import paths
from kanbench.base.errors import InvalidInput
from kanbench.pages import recipes

GOOD = '''"""A title.

The caption,
on two lines.
"""

KIND = "table"
EXPERIMENTS = ["E1", "E1grid"]
CATEGORY = "Accuracy"


def data(records):
    return records


def rows(frame):
    return frame
'''


def test_the_first_recipes_are_there():
    found = recipes.discover()
    kinds = {name: recipe.kind for name, recipe in found.items()}
    figures = {
        "figure2_error_against_parameters",
        "peak_memory_by_category",
        "learning_curves",
        "grid_and_depth",
        "step_time",
    }
    assert figures <= {name for name, kind in kinds.items() if kind == "figure"}
    assert {"summary", "parameters_and_memory"} <= {name for name, kind in kinds.items() if kind == "table"}
    for recipe in found.values():
        assert len(recipe.caption) > 60, recipe.name
        assert recipe.category
        assert (paths.root() / recipe.code_files[0]).is_file()


def test_a_dropped_file_is_found_and_read(tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    (tmp_path / "_draft.py").write_text("nonsense(")
    recipe = recipes.discover(tmp_path)["mine"]
    assert (recipe.title, recipe.caption) == ("A title", "The caption, on two lines.")
    assert recipe.experiments == ("E1", "E1grid")
    assert recipe.outputs("results/x") == [
        "results/x/tables/mine.csv",
        "results/x/tables/mine.md",
        "results/x/tables/mine.tex",
    ]
    assert recipe.load().data(3) == 3


def test_every_mistake_of_every_file_is_named_at_once(tmp_path):
    (tmp_path / "one.py").write_text(GOOD.replace("EXPERIMENTS", "EXPERIMENT").replace('"table"', '"tablet"'))
    (tmp_path / "two.py").write_text(GOOD.replace("def rows(frame)", "def draw(frame)").replace('"E1grid"', "1"))
    (tmp_path / "three.py").write_text('"""Only a title"""\n')
    (tmp_path / "four.py").write_text("def broken(:\n")
    with pytest.raises(InvalidInput) as refused:
        recipes.discover(tmp_path)
    found = {(f.file.rpartition("/")[2], f.key) for f in refused.value.findings}
    assert {("one.py", "EXPERIMENTS"), ("one.py", "KIND"), ("two.py", "rows"), ("two.py", "EXPERIMENTS")} <= found
    assert {("three.py", "docstring"), ("three.py", "KIND"), ("three.py", "data"), ("four.py", "")} <= found
    text = str(refused.value)
    assert "did you mean 'EXPERIMENT'?" in text
    assert "did you mean 'table'?" in text


def test_discovery_imports_nothing_heavy():
    code = "import sys; from kanbench.pages import recipes as r; r.discover()\n"
    code += "print({'pandas', 'matplotlib'} & {*sys.modules})"
    environment = {"PYTHONPATH": str(paths.root() / "workflow"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=paths.root()
    )
    assert done.stdout.strip() == "set()", done.stderr
