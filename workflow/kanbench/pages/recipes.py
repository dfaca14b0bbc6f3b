"""Finds the figures and tables of `paper_figures/` by reading their files, without running them.

A recipe is one file: the docstring is the caption (its first line the title), `KIND` is `figure` or `table`,
`EXPERIMENTS` lists the experiments it draws on (none: all), `CATEGORY` its chapter of the report; `data(records)`
takes the records frame and returns what is shown, `draw(frame)` or `rows(frame)` shows it.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from kanbench.base import paths
from kanbench.base.errors import Finding, InvalidInput, nearest

PACKAGE = Path(__file__).resolve().parents[1]
SHOWS = {"figure": "draw", "table": "rows"}
SUFFIXES = {"figure": ("pdf", "png", "csv"), "table": ("csv", "md", "tex")}
CONSTANTS = ("KIND", "EXPERIMENTS", "CATEGORY")
CLAIMS_FILE = "claims.yaml"
RENDERING = (
    *("records/frame.py", "statistics/stats.py", "pages/style.py", "pages/table.py", "pages/render.py"),
    "pages/latex.py",
    *("pages/palette.py", "pages/naming.py", "pages/drawing.py"),
)
COMPARING = (
    *("verdicts/comparison.py", "verdicts/criteria.py"),
    *("statistics/hypotheses.py", "statistics/power.py"),
)
"""What a recipe depends on that compares methods."""
PUBLISHED_FILE = "published.csv"
CHAPTERS = ("Accuracy", "Ablations", "Memory and speed", "Open questions", "Interpretation")
"""Categories in the order of the report; others follow."""
ANSWERING = (
    *(
        f"verdicts/{name}.py"
        for name in ("claims", "declared", "references", "evidence", "paired", "bounded", "outcome")
    ),
    *("statistics/looks.py", *COMPARING),
)


@dataclass(frozen=True)
class Recipe:
    """A figure or a table that can be rendered. `file` is its source, `caption` is without the title.

    Attributes:
        uses: Files of the harness that it imports; `kanbench.pages.answers` brings the declared claims along.
    """

    name: str
    kind: str
    title: str
    caption: str
    experiments: tuple[str, ...]
    category: str
    file: Path
    uses: tuple[Path, ...] = ()

    @property
    def code_files(self) -> list[str]:
        """Return the files whose change makes the rendered files stale, relative to the repository."""
        harness = [PACKAGE / name for name in RENDERING]
        harness += [file for file in dict.fromkeys(self.uses) if file not in harness]
        return [paths.relative(file) for file in (self.file, *harness)]

    def outputs(self, folder: str = "") -> list[str]:
        """Return the files that rendering writes below `folder`: figures/<name>.pdf and so on."""
        prefix = f"{folder.rstrip('/')}/" if folder else ""
        return [f"{prefix}{self.kind}s/{self.name}.{suffix}" for suffix in SUFFIXES[self.kind]]

    def load(self) -> ModuleType:
        """Import and return the recipe's module."""
        spec = importlib.util.spec_from_file_location(f"paper_figures_{self.name}", self.file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def in_chapters(found: Iterable[Recipe]) -> list[Recipe]:
    """Return recipes in the order of the report: by chapter, then by name."""

    def place(recipe: Recipe) -> tuple[int, str, str]:
        known = recipe.category in CHAPTERS
        return CHAPTERS.index(recipe.category) if known else len(CHAPTERS), recipe.category, recipe.name

    return sorted(found, key=place)


def folder() -> Path:
    """Return the folder in which recipes are dropped."""
    return paths.root() / "paper_figures"


def references_file() -> Path:
    """Return the file of the references that were chosen on validation; it need not be there."""
    return paths.root() / "workflow/config/references.csv"


def claims_file() -> Path:
    """Return the file of the declared claims."""
    return folder() / CLAIMS_FILE


def discover(where: Path | None = None) -> dict[str, Recipe]:
    """Return every recipe of `where` (default `paper_figures/`) by name; files that start with `_` are not recipes.

    Raises:
        InvalidInput: naming every problem of every file at once.
    """
    found, problems = {}, []
    for file in sorted((where or folder()).glob("*.py")):
        if file.name.startswith("_"):
            continue
        recipe, findings = _read(file)
        problems += findings
        if recipe is not None:
            found[recipe.name] = recipe
    if problems:
        raise InvalidInput(problems)
    return found


def _read(file: Path) -> tuple[Recipe | None, list[Finding]]:
    label = paths.relative(file)
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        found = f"{error.msg} in line {error.lineno}"
        return None, [Finding(label, "", found, "valid Python", "mend that line")]
    constants, functions = _constants(tree), _functions(tree)
    docstring = inspect.cleandoc(ast.get_docstring(tree) or "")
    problems = list(_problems(file, label, docstring, constants, functions))
    if problems:
        return None, problems
    title, _, caption = docstring.partition("\n")
    return Recipe(
        name=file.stem,
        kind=constants["KIND"],
        title=title.strip().rstrip("."),
        caption=re.sub(r"\s+", " ", caption).strip(),
        experiments=tuple(constants["EXPERIMENTS"]),
        category=constants["CATEGORY"],
        file=file,
        uses=tuple(_uses(tree)),
    ), []


def _uses(tree: ast.Module) -> Iterator[Path]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE.name:
            place = PACKAGE.joinpath(*node.module.split(".")[1:])
            for file in [place.with_suffix(".py"), *(place / f"{alias.name}.py" for alias in node.names)]:
                if file.is_file():
                    yield file
                if file.stem in ("comparison", "published"):
                    yield from (PACKAGE / name for name in COMPARING)
                if file.stem == "published":
                    yield folder() / PUBLISHED_FILE
                if file.stem == "answers":
                    yield from (PACKAGE / name for name in ANSWERING)
                if file.stem in ("answers", "published"):
                    yield from (PACKAGE / f"verdicts/{name}.py" for name in ("declared", "references"))
                    yield from (file for file in (claims_file(), references_file()) if file.is_file())


def _constants(tree: ast.Module) -> dict[str, object]:
    values = {}
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and target.id.isupper() and node.value is not None:
                try:
                    values[target.id] = ast.literal_eval(node.value)
                except ValueError:
                    values[target.id] = ...
    return values


def _functions(tree: ast.Module) -> dict[str, int]:
    return {node.name: len(node.args.args) for node in tree.body if isinstance(node, ast.FunctionDef)}


def _problems(
    file: Path, label: str, docstring: str, constants: dict[str, object], functions: dict[str, int]
) -> Iterator[Finding]:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", file.stem):
        yield Finding(label, "", file.name, "a name of a-z, 0-9 and _", "rename the file")
    if len(docstring.splitlines()) < 2:
        yield Finding(label, "docstring", repr(docstring[:60]), "a title line, then the caption", "write both")
    for name in CONSTANTS:
        if name not in constants:
            similar = nearest(name, sorted(constants)) if constants else "no constants"
            found = f"no {name}; the file has {similar}"
            yield Finding(label, name, found, f"the constant {name}", f"add {name}")
    kind = constants.get("KIND")
    if "KIND" in constants and kind not in SHOWS:
        yield Finding(label, "KIND", repr(kind), nearest(str(kind), list(SHOWS)), "correct the value")
    experiments = constants.get("EXPERIMENTS", [])
    if not isinstance(experiments, (list, tuple)) or not all(
        isinstance(entry, str) and re.fullmatch(r"E[0-9]+[a-z]*", entry) for entry in experiments
    ):
        yield Finding(label, "EXPERIMENTS", repr(experiments), 'a list such as ["E1", "E5"]', "correct the list")
    if "CATEGORY" in constants and not isinstance(constants["CATEGORY"], str):
        yield Finding(label, "CATEGORY", repr(constants["CATEGORY"]), "a text", "correct the value")
    for name in ("data", SHOWS.get(str(kind), "draw or rows")):
        if " " not in name and functions.get(name) != 1:
            found = f"{functions[name]} parameters" if name in functions else f"no function {name}"
            yield Finding(label, name, found, f"def {name}(frame) with one parameter", f"write {name}")
