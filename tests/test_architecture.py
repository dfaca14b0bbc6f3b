"""Who may import whom, and how long things may be: read from the sources, not from memory."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("metakan", "workflow/kanbench", "baselines", "paper_figures", "tests", "benchmarks")
SOURCES = sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py"))
HOUSE = ROOT / "workflow/kanbench"
LEVELS = {
    "base": 0,
    "process": 1,
    "measurement": 2, "data": 2, "records": 2,
    "tasks": 3, "statistics": 3,
    "baselines": 4, "verdicts": 4,
    "training": 5, "pages": 5,
    "study": 6,
    "cli": 8,
}  # fmt: skip
"""The rooms of the harness; a room may import those of a lower level alone."""
MOST_ARROWS = 45
TORCH_FREE = ("process", "records", "statistics", "verdicts", "pages", "cli")
"""Rooms that neither torch nor anything that imports torch may enter before a verb runs."""
DROP_INS = {
    "workflow/kanbench/tasks": {"__init__.py", "task.py", "taskinfo.py", "feynman_formulas.yaml"},
    "workflow/kanbench/training/analyses": {"__init__.py"},
    "baselines": set(),
    "paper_figures": {"claims.yaml", "findings.yaml", "published.csv", "references.bib"},
}
"""Folders of drop-ins, and the files there that declare or describe them."""


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
    for path in HOUSE.rglob("*.py"):
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
    names = ("records.symbolic_runs", "statistics.stats", "statistics.partitions", "verdicts.comparison")
    names += tuple(f"pages.{name}" for name in ("published", "table", "cells", "floors", "steps", "answers"))
    names += tuple(f"pages.{name}" for name in ("style", "palette", "drawing", "naming", "shared_tasks"))
    allowed = {f"kanbench.{name}" for name in names}
    for path in (ROOT / "paper_figures").rglob("*.py"):
        assert not tops(path) & {"torch", "metakan", "baselines"}, path
        ours = {name for name in imports(path) if name.count(".") > 1 and name.startswith("kanbench.")}
        assert all(any(name == a or name.startswith(a + ".") for a in allowed) for name in ours), (path, ours)


def arrows() -> dict[tuple[str, str], list[str]]:
    """Return the files behind every import from one room of the harness into another."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(HOUSE.rglob("*.py")):
        parts = path.relative_to(HOUSE).parts
        for name in imports(path):
            room = (name.split(".") + [""])[1] if name.startswith("kanbench.") else ""
            if len(parts) > 1 and room in LEVELS and room != parts[0]:
                found.setdefault((parts[0], room), []).append("/".join(parts))
    return found


def upward(found: dict[tuple[str, str], list[str]]) -> list[str]:
    """Return a sentence for every import that does not lead to a lower level."""
    return [
        f"{file}: the room `{user}` (level {LEVELS[user]}) imports the room `{used}` (level {LEVELS[used]})"
        for (user, used), files in sorted(found.items())
        if LEVELS[used] >= LEVELS[user]
        for file in sorted(set(files))
    ]


def test_imports_among_rooms_lead_downwards_and_are_few():
    found = arrows()
    print(f"{len(found)} imports among rooms, {len(upward(found))} upwards")
    assert not upward(found), "\n".join(upward(found))
    assert 0 < len(found) <= MOST_ARROWS


def test_an_import_upwards_is_found_and_both_rooms_named():
    (message,) = upward({("records", "pages"): ["records/frame.py"], ("pages", "records"): ["pages/table.py"]})
    assert message == "records/frame.py: the room `records` (level 2) imports the room `pages` (level 5)"
    assert upward({("pages", "training"): ["pages/table.py"]}), "a neighbour is no lower level"


def test_every_file_of_the_harness_has_a_room_and_every_room_says_what_it_is():
    assert {path.name for path in HOUSE.glob("*.py")} == {"__init__.py", "__main__.py"}
    assert {path.parent.name for path in HOUSE.glob("*/__init__.py")} == set(LEVELS)
    for room in LEVELS:
        docstring = ast.get_docstring(ast.parse((HOUSE / room / "__init__.py").read_text(encoding="utf-8")))
        assert len(docstring.splitlines()) > 4, room
        assert "Imports " in docstring, room
        modules = {path.stem for path in (HOUSE / room).glob("[!_]*.py")} if room != "tasks" else {"task", "taskinfo"}
        assert not {name for name in modules if f"`{name}`" not in docstring}, f"{room}: not in its docstring"


def test_files_of_verbs_are_short():
    for path in (HOUSE / "cli").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 150 or path.stem == "parser", path


def intruders(folder: Path, declarations: set[str]) -> list[str]:
    """Return the names in a folder of drop-ins that are neither drop-ins nor what describes them."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name in declarations or path.name in ("__pycache__", ".DS_Store"):
            continue
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        fits = {
            "tasks": path.suffix == ".yaml"
            or any(f"module: {path.stem}\n" in y.read_text() for y in folder.glob("*.yaml")),
            "analyses": path.suffix == ".py" and "\nDEFAULTS" in text and "\ndef finish(" in text,
            "baselines": (path / "baseline.yaml").is_file(),
            "paper_figures": path.suffix == ".py" and "\nKIND = " in text,
        }
        if not fits[folder.name]:
            found.append(path.name)
    return found


@pytest.mark.parametrize("folder", DROP_INS)
def test_folders_of_drop_ins_hold_nothing_else(folder, tmp_path):
    assert not intruders(ROOT / folder, DROP_INS[folder])
    copy = tmp_path / Path(folder).name
    copy.mkdir()
    (copy / "helpers.py").write_text("def finish(subject, settings): ...\n")
    assert intruders(copy, DROP_INS[folder]) == ["helpers.py"]


def modules_of(path: Path, toplevel_only: bool) -> set[Path]:
    """Return the files of the harness that a file imports, packages on the way included."""
    found = set()
    for name in imports(path, toplevel_only=toplevel_only):
        parts = name.split(".")
        if parts[0] == HOUSE.name:
            places = [HOUSE.joinpath(*parts[1:end]) for end in range(1, len(parts) + 1)]
            found |= {p for place in places for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()}
    return found


def reached(entries: set[Path]) -> set[Path]:
    """Return the files of the harness that importing `entries` imports."""
    waiting, seen = set(entries), set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        waiting |= modules_of(path, toplevel_only=True) - seen
    return seen


def test_what_the_snakefile_and_the_pages_import_is_free_of_torch():
    entries = {path for room in TORCH_FREE for path in (HOUSE / room).glob("*.py")} | {HOUSE / "training/code.py"}
    for text in [path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk")]:
        for room, names in re.findall(r"^from kanbench\.([a-z_]+) import (.+)$", text, flags=re.MULTILINE):
            entries |= {HOUSE / room / f"{name.split()[0]}.py" for name in names.split(",")}
    found = reached(entries)
    assert HOUSE / "study/plan.py" in found
    assert HOUSE / "training/train.py" not in found
    for path in sorted(found):
        assert not tops(path, toplevel_only=True) & {"torch", "torchvision"}, path


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
