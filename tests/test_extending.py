"""What CONTRIBUTING.md shows is enough: its task, figure, study and claim, copied as they stand, are enough."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def shown() -> dict[str, str]:
    """Return the files that the document shows, by path: the comment of their first line."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:yaml|python)\n# (\S+?),?(?: at its end)?\n(.*?)```", text, flags=re.DOTALL)
    return dict(blocks)


def test_the_task_the_figure_and_the_claim_that_are_shown_are_computed(run, suite):
    files = shown()
    assert len(files) == 5
    for name, text in files.items():
        file = suite / name
        file.write_text(file.read_text() + "\n" + text if file.is_file() else text)
    points = np.random.default_rng(0).uniform(0, 3, (80, 2))
    values = np.column_stack([points, points[:, 0] * points[:, 1]])
    np.savetxt(suite / "workflow/kanbench/tasks/my_table.csv", values, delimiter=",", header="a,b,target")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "workflow/config/my_study.yaml"]
    wanted = ["claims.json", "figures/my_figure.csv"]
    done = run([*command, "--", *(f"results/my_study/{name}" for name in wanted)], suite)
    assert done.returncode == 0, done.stdout + done.stderr
    results = suite / "results/my_study"
    claims = {claim["id"]: claim for claim in json.loads((results / "claims.json").read_text())["claims"]}
    # Two inputs, five units, eight coefficients and a base weight an edge; a prompt each and a rule of 361 numbers.
    assert claims["my-table-parameters"]["verdict"] == "fails"
    drawn = (results / "figures/my_figure.csv").read_text().splitlines()
    assert len(drawn) == 1 + 3 * 2, "three methods, two seeds"
    record = next((results / "runs/my_table/mlp").glob("*seed0*.json"))
    errors = json.loads(record.read_text())
    assert errors["metrics"]["selected"]["test"]["rmse"] < errors["floors"]["constant"]["rmse"]
    assert errors["data"]["name"] == "my_table"


def test_a_dry_run_writes_nothing_but_notes_of_the_workflow(run, suite):
    (suite / "workflow/config/tiny.yaml").write_text(
        shown()["workflow/config/my_study.yaml"].replace("my_table", "digits")
    )
    before = {path.relative_to(suite).as_posix() for path in suite.rglob("*") if path.is_file()}
    line = ["--cores", "1", "--dry-run", "--quiet", "all", "--configfile", "workflow/config/tiny.yaml"]
    assert run([sys.executable, "-m", "snakemake", *line], suite).returncode == 0
    after = {path.relative_to(suite).as_posix() for path in suite.rglob("*") if path.is_file()}
    new = {name for name in after - before if "__pycache__" not in name}
    assert {name for name in new if not name.startswith(".snakemake/")} == set()
    assert ".snakemake/kanbench/my_study.txt" in new
