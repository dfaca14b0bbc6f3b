"""What a user sees of a study some of whose runs, jobs and recipes fail: everything else, and the reasons."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import yaml

pytestmark = pytest.mark.slow
RECIPES = ("summary", "step_time", "answer_limits")
FAILING = """
    import pathlib
    if pathlib.Path("broken").exists():
        raise OSError("the shelf is empty")
"""
BROKEN_RECIPE = '''"""A figure that is not drawn.

It raises.
"""

KIND = "figure"
EXPERIMENTS = []
CATEGORY = "Accuracy"


def data(records):
    raise LookupError("a recipe without its key")


def draw(frame):
    return frame
'''


@pytest.fixture
def failing(suite, tiny):
    """A copy of the suite with three methods: one that is well, one that raises, one on which the harness slips."""
    for recipe in (suite / "paper_figures").glob("*.py"):
        if recipe.stem not in RECIPES:
            recipe.unlink()
    shutil.copytree(suite / "baselines" / "affine", suite / "baselines" / "shelf")
    model = suite / "baselines" / "shelf" / "model.py"
    model.write_text(model.read_text().replace("    return nn.Sequential", f"{FAILING}    return nn.Sequential", 1))
    tiny["experiments"]["E1"]["methods"] = ["mlp", "affine", "shelf"]
    (suite / "tiny.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
    (suite / "broken").touch()
    return suite


def snakemake(*arguments) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "tiny.yaml", *arguments]


def statuses(folder) -> dict[str, str]:
    records = [json.loads(path.read_text()) for path in (folder / "results/tiny/runs").rglob("[!.]*.json")]
    return {content["spec"]["method"]["name"]: content["status"] for content in records}


def test_a_run_that_raises_leaves_the_rest_alone_is_named_at_the_end_and_made_again_by_one_command(run, failing):
    done = run(snakemake(), failing)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert statuses(failing) == {"mlp": "ok", "affine": "ok", "shelf": "failed"}
    assert (failing / "results/tiny/report.html").is_file()
    assert "1 of 3 runs of tiny failed:" in output
    assert "OSError: the shelf is empty (baselines/shelf/model.py, line " in output
    (log,) = (line.strip() for line in output.splitlines() if line.strip().endswith(".log") and "/train/" in line)
    assert "the shelf is empty" in (failing / log).read_text()
    assert "again: python -m kanbench retry --configfile tiny.yaml" in output
    assert "0 / 1 (1 failed)" in (failing / "results/tiny/tables/summary.md").read_text()

    told = run([sys.executable, "-m", "kanbench", "failures", "--configfile", "tiny.yaml"], failing)
    assert "OSError: the shelf is empty" in told.stdout
    (failing / "broken").unlink()
    kept = (failing / "results/tiny/runs").rglob("mlp/*.json")
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    again = run([sys.executable, "-m", "kanbench", "retry", "--configfile", "tiny.yaml", "--cores", "2"], failing)
    assert again.returncode == 0, again.stdout + again.stderr
    assert statuses(failing) == {"mlp": "ok", "affine": "ok", "shelf": "ok"}
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps, "other records stay"
    (first,) = (failing / "results/tiny/retried").rglob("*.json")
    assert json.loads(first.read_text())["status"] == "failed", "what was retried stays on record"
    none = run([sys.executable, "-m", "kanbench", "retry", "--configfile", "tiny.yaml"], failing)
    assert none.stdout.startswith("0 failed runs")
    assert "no run of tiny failed" in run([*told.args], failing).stdout


def test_a_slip_of_the_harness_and_a_broken_recipe_fail_their_jobs_and_the_report_is_made(run, failing):
    (failing / "paper_figures" / "unlucky.py").write_text(BROKEN_RECIPE)
    train = failing / "workflow" / "kanbench" / "training" / "train.py"
    slip = '    if spec["method"]["name"] == "affine":\n        spec["no such key"]\n'
    train.write_text(train.read_text().replace("    attempt = Attempt(", f"{slip}    attempt = Attempt(", 1))
    done = run(snakemake(), failing)
    output = done.stdout + done.stderr
    assert done.returncode != 0, "a job failed"
    assert statuses(failing) == {"mlp": "ok", "shelf": "failed"}
    assert "KeyError: 'no such key'" in output
    assert "no record: feynman/affine/" in output
    assert "OSError: the shelf is empty" in output
    page = (failing / "results/tiny/report.html").read_text()
    assert "a recipe without its key" in output + page
    assert "planned and not run" in page or "absent" in page
    assert not (failing / "results/tiny/figures/unlucky.png").exists(), "so that it is drawn once it is mended"
    assert (failing / "results/tiny/tables/summary.csv").is_file()
