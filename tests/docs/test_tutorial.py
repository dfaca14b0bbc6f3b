"""What the tutorial shows is enough: its method, task, figure, study and claim, copied as they stand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import shown
import yaml

pytestmark = pytest.mark.slow
TUTORIAL = [shown.ROOT / f"docs/tutorial/{name}.md" for name in ("baseline", "task", "figure", "claim")]
STUDY = ["--configfile", "workflow/config/my_study.yaml"]
PACKAGES = ["my_packages"]


def files() -> dict[str, shown.Snippet]:
    """Return the files that the tutorial shows, by path."""
    return {each.file: each for each in shown.snippets(TUTORIAL) if each.file}


def write(suite: Path, snippet: shown.Snippet) -> None:
    """Do with a snippet what its first line says."""
    file = suite / snippet.file
    file.parent.mkdir(exist_ok=True)
    if snippet.part == "its head":
        content = yaml.safe_load(file.read_text(encoding="utf-8")) | yaml.safe_load(snippet.text)
        file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    elif snippet.part == "at its end":
        file.write_text(file.read_text(encoding="utf-8") + "\n" + snippet.text, encoding="utf-8")
    else:
        assert not file.exists(), f"{snippet.file} is there already"
        file.write_text(snippet.text, encoding="utf-8")


def test_the_method_the_task_the_figure_and_the_claim_that_are_shown_are_computed(run, suite):
    named = files()
    assert len(named) == 9
    head = named.pop("baselines/cheby_kan/baseline.yaml")
    for snippet in named.values():
        write(suite, snippet)
    python = [sys.executable, "-m", "kanbench"]

    def done(command: list[str]) -> str:
        finished = run(command, suite, packages=PACKAGES)
        assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
        return finished.stdout

    done([sys.executable, "make_table.py"])
    done([*python, "new-baseline", "cheby_kan", "--from", "cheby"])
    write(suite, head)
    done([*python, "check-baseline", "cheby_kan"])
    assert "my_table" in done([*python, "list", "tasks"])
    assert "ChebyKAN" in done([*python, "list", "methods"])
    assert done([*python, "plan", *STUDY]).count("cheby_kan") == 2, "two seeds"
    wanted = ["claims.json", "figures/my_figure.csv"]
    done([sys.executable, "-m", "snakemake", *(f"results/my_study/{name}" for name in wanted), "--cores", "2", *STUDY])
    results = suite / "results/my_study"
    claims = {claim["id"]: claim for claim in json.loads((results / "claims.json").read_text())["claims"]}
    # Two inputs, five units, eight coefficients and a base weight an edge; a prompt each and a rule of 361 numbers.
    assert claims["my-table-parameters"]["verdict"] == "fails"
    drawn = (results / "figures/my_figure.csv").read_text().splitlines()
    assert len(drawn) == 1 + 4 * 2, "four methods, two seeds"
    check_records(results / "runs/my_table")
    check_pages_about_records(done, python, suite)


def check_records(runs: Path) -> None:
    record = json.loads(next((runs / "mlp").glob("*seed0*.json")).read_text())
    assert record["metrics"]["selected"]["test"]["rmse"] < record["floors"]["constant"]["rmse"]
    assert record["data"]["name"] == "my_table"
    record = json.loads(next((runs / "cheby_kan").glob("*seed0*.json")).read_text())
    assert record["status"] == "ok"
    assert record["label"] == "ChebyKAN"
    assert record["parameters"]["trainable"] == (2 * 5 + 5 * 1) * 4, "four polynomials an edge"


def check_pages_about_records(done, python: list[str], suite: Path) -> None:
    """Do what the how-to pages show with the records of the tutorial."""
    assert "8" in done([*python, "status", *STUDY])
    done([*python, "failures", *STUDY])
    done([*python, "pack", "results/my_study"])
    done([*python, "unpack", "results/my_study.tar.gz", "--into", "results/there"])
    names = [sorted(p.name for p in (suite / f"results/{s}/runs").rglob("*.json")) for s in ("my_study", "there")]
    assert names[0] == names[1]
    assert len(names[0]) == 8
    done([*python, "collect", "--plan", "results/my_study/plan.json", "--output", "results/second"])
    said = done([*python, "compare", "results/my_study", "results/second", "--output", "results/compared"])
    assert "4 of 4 cells inside their interval" in said
    assert "8 of 8 common runs equal" in said


def test_a_dry_run_writes_nothing_but_notes_of_the_workflow(run, suite):
    study = files()["workflow/config/my_study.yaml"].text.replace("my_table", "digits").replace(", cheby_kan", "")
    (suite / "workflow/config/tiny.yaml").write_text(study)
    before = {path.relative_to(suite).as_posix() for path in suite.rglob("*") if path.is_file()}
    line = ["--cores", "1", "--dry-run", "--quiet", "all", "--configfile", "workflow/config/tiny.yaml"]
    assert run([sys.executable, "-m", "snakemake", *line], suite).returncode == 0
    after = {path.relative_to(suite).as_posix() for path in suite.rglob("*") if path.is_file()}
    new = {name for name in after - before if "__pycache__" not in name}
    assert {name for name in new if not name.startswith(".snakemake/")} == set()
    assert ".snakemake/kanbench/my_study.txt" in new
