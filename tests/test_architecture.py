"""Who may import whom, and how long things may be: read from the sources, not from memory."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("metakan", "workflow/kanbench", "baselines", "paper_figures", "tests", "benchmarks")
SOURCES = sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py"))
TORCH_FREE = [
    "plan",
    "baselines",
    "taskinfo",
    "config",
    "errors",
    "record",
    "collect",
    "stats",
    "power",
    "comparison",
    "criteria",
    "published",
    "claims",
    "answers",
    "symbolic/runs",
    "table",
    "style",
    "report",
    "render",
    "frame",
    "recipes",
    "status",
    "spec",
    "schema",
    "atomic",
    "resume",
    "partitions",
    "paths",
    "cli",
    "client",
    "server",
    "commands",
    "scaffold",
]


def imports(path: Path, toplevel_only: bool = False) -> set[str]:
    """Return the modules that a file imports; relative imports are spelt out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.relative_to(ROOT).with_suffix("").parts
    found = set()
    for node in tree.body if toplevel_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: -node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def tops(path: Path, **options) -> set[str]:
    return {name.partition(".")[0] for name in imports(path, **options)}


def test_metakan_needs_torch_and_nothing_else():
    optional = {"kan", "efficient_kan", "safetensors", "triton", "numpy"}  # export targets and file formats, on demand
    for path in (ROOT / "metakan").rglob("*.py"):
        allowed = {"torch", "metakan", *sys.stdlib_module_names}
        assert tops(path, toplevel_only=True) <= allowed | ({"triton"} if "triton" in path.name else set()), path
        assert tops(path) <= allowed | optional, path


def test_the_harness_names_no_model_and_no_baseline():
    names = {folder.name for folder in (ROOT / "baselines").iterdir() if folder.is_dir()}
    for path in (ROOT / "workflow/kanbench").rglob("*.py"):
        assert not tops(path) & {"metakan", "baselines", "kan", "efficient_kan"}, path
        words = {
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not words & (names - {"affine"}), f"{path} names a baseline"


def test_baselines_import_neither_the_harness_nor_each_other():
    for path in (ROOT / "baselines").rglob("*.py"):
        assert not tops(path) & {"kanbench", "baselines", "paper_figures", "snakemake"}, path


def test_figures_are_drawn_from_records_alone():
    names = ("stats", "comparison", "partitions", "published", "table", "style", "answers", "symbolic.runs")
    allowed = {f"kanbench.{name}" for name in names}
    for path in (ROOT / "paper_figures").rglob("*.py"):
        assert not tops(path) & {"torch", "metakan", "baselines"}, path
        ours = {name for name in imports(path) if name.startswith("kanbench.")} - {"kanbench.symbolic"}
        assert all(any(name == a or name.startswith(a + ".") for a in allowed) for name in ours), (path, ours)


@pytest.mark.parametrize("name", TORCH_FREE)
def test_what_the_snakefile_and_the_renderer_import_is_free_of_torch(name):
    path = ROOT / "workflow/kanbench" / f"{name}.py"
    found = tops(path, toplevel_only=name in ("commands", "cli"))
    assert not found & {"torch", "torchvision"}, path


def test_files_and_functions_keep_their_length():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"


def test_there_is_no_attic():
    assert not [path for path in SOURCES if path.stem in ("utils", "util", "helpers", "common", "misc")]


def test_the_snakefile_is_a_table_of_contents_and_rules_are_thin():
    assert "def " not in (ROOT / "Snakefile").read_text(encoding="utf-8")
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        text = path.read_text(encoding="utf-8")
        for line in text.splitlines():
            if line.strip().startswith('"python'):
                assert line.strip().startswith('"python -m kanbench '), f"{path}: {line}"
        assert "script:" not in text
        assert "run:" not in text


def test_public_functions_are_documented():
    for folder in ("metakan", "workflow/kanbench"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), f"{path} has no docstring"
            for node in tree.body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                    assert ast.get_docstring(node), f"{path}: {node.name} has no docstring"
