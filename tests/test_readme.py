"""Every command that the documents show exists and does what it says, or its dry form does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kanbench.pages import findings, front

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "results/README.md", ROOT / "metakan/MEMORY.md"]


def fenced(document: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line for document in DOCUMENTS for block in fenced(document, "bash") for line in block.splitlines()]
    whole = (re.sub(r"\s+#.*", "", line).strip() for line in lines)
    return sorted({part.strip() for line in whole for part in line.split("&&") if part.strip()})


PAPER = "workflow/config/paper.yaml"
"""The full study: its tens of thousands of jobs take Snakemake minutes. `.ci/run` plans them, a part stands here."""


def dry(command: str) -> list[str] | None:
    """Return a form of a command that shows that it exists and leaves its work undone; None where there is none."""
    words = command.split()
    if words[0] == "snakemake" and PAPER in words:
        only = [word.removeprefix("only=") for word in words if word.startswith("only=")]
        if only:
            return [sys.executable, "-m", "kanbench", "plan", "--configfile", PAPER, "--only", *only]
        words += ["--config", "only=E2"]
    if words[0] == "make":
        return ["make", "--dry-run", *words[1:]]
    if words[0] == "snakemake":
        # What a published record set renders is tested on a record set of its own.
        return (
            None
            if "records=" in command
            else [sys.executable, "-m", "snakemake", "--dry-run", "--quiet=all", *words[1:]]
        )
    if words[:3] == ["python", "-m", "kanbench"]:
        listing = words[3] in ("list", "status", "plan") or "--help" in words
        return [sys.executable, *words[1:]] if listing else [sys.executable, *words[1:4], "--help"]
    if words[:2] == ["pip", "install"]:
        assert (ROOT / words[2] / "pyproject.toml").is_file()
        return None
    raise AssertionError(f"the documents show a command that no test knows: {command}")


@pytest.mark.parametrize("command", commands())
def test_every_command_shown_exists(command, run, shared_suite):
    line = dry(command)
    if line is None:
        return
    done = run(line, shared_suite if "snakemake" in line else ROOT)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_every_option_shown_is_an_option():
    for command in commands():
        words = command.split()
        if words[:3] == ["python", "-m", "kanbench"]:
            shown = [word for word in words if word.startswith("--")]
            line = [sys.executable, "-m", "kanbench", words[3], "--help"]
            text = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, check=True).stdout
            assert all(option in text for option in shown), command


def test_every_make_target_shown_is_one():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    text = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    shown = {word for line in re.findall(r"`?make ((?:[a-z-]+ ?)+)", text) for word in line.split()}
    assert targets & shown >= {"reproduce", "test", "install", "lint", "smoke"}
    for command in commands():
        words = command.split()
        if words[0] == "make":
            assert all(word in targets for word in words[1:] if "=" not in word), command


def test_the_python_examples_run(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for document in DOCUMENTS:
        for number, block in enumerate(fenced(document, "python")):
            script = tmp_path / f"block{number}.py"
            script.write_text(block, encoding="utf-8")
            done = subprocess.run(
                [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, env=environment
            )
            assert done.returncode == 0, f"{document.name}:\n{block}\n{done.stderr}"


def test_the_figure_and_the_files_that_the_documents_name_are_there():
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document.name} names {target}"


def test_what_the_readme_says_of_results_is_what_the_published_records_say():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in front.BLOCKS:
        assert text.count(f"<!-- {name} -->") == text.count(f"<!-- /{name} -->") == 1, name
    expected = front.filled(text, front.blocks(ROOT / "results/reference"))
    assert text == expected, "python -m kanbench front --records results/reference --output README.md"


def test_a_block_is_replaced_and_the_rest_stays():
    text = "a\n<!-- verdicts -->\nold 1.08\n<!-- /verdicts -->\nb\n"
    claims = [{"verdict": "undecided"}, {"verdict": "holds"}, {"verdict": "undecided"}, {"verdict": "new kind"}]
    sentence = findings.tally(claims)
    assert sentence == "Of 4 claims: holds 1, undecided 2, new kind 1."
    filled = front.filled(text, {"verdicts": sentence, "results": "not there"})
    assert filled == f"a\n<!-- verdicts -->\n{sentence}\n<!-- /verdicts -->\nb\n"
    assert front.filled(filled, {"verdicts": sentence}) == filled


def test_the_published_figures_belong_to_the_published_records():
    reference = ROOT / "results/reference"
    for name in ("records.jsonl.gz", "records.csv", "claims.md", "report.html", "figures/memory_against_edges.png"):
        assert (reference / name).is_file(), name


def test_the_cited_files_are_valid():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["references"][0]["url"].endswith("2506.07549")
    assert "MIT License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
