"""What the numbers of a baseline depend on: files of the repository, and packages outside the suite.

Nothing is imported: the plan asks for every run, at every call of Snakemake.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from functools import cache
from importlib import metadata
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from kanbench.base import paths
from kanbench.baselines import environments
from kanbench.baselines.discovery import Baseline

TEXTS = (".md", ".rst", ".txt")
"""Files of a package that no number depends on."""
MARKER = "py.typed"
"""An empty file that says that a package has types."""
BYTECODE = (".pyc", ".pyo")
BUILT = (*BYTECODE, ".so", ".pyd", ".o", ".dll", ".dylib")
"""Files that are made from others: they differ from machine to machine, and their sources are there."""


def code_files(baseline: Baseline) -> list[Path]:
    """Return the files that the runs of a baseline depend on, sorted.

    They are all of its folder and, of `sources`, all but texts: Python, C and data.
    """
    files = {path for path in baseline.path.rglob("*") if path.is_file()}
    for source in baseline.sources:
        path = (paths.root() / source).resolve()
        files |= {path} if path.is_file() else {each for each in path.rglob("*") if each.suffix not in TEXTS}
    return sorted(path for path in files if path.is_file() and not _made(path))


def _made(path: Path) -> bool:
    return "__pycache__" in path.parts or path.suffix in BUILT or path.name.startswith(".") or path.name == MARKER


def packages(baseline: Baseline) -> dict[str, dict[str, str | None] | None]:
    """Return the packages outside the suite that a baseline runs, by name: version and digest of their files.

    A package that cannot be found is None: one of `requires` has the runs skipped, one of `prefers` has the
    baseline's own code stand in. Those in an environment of the baseline's own come first.
    """
    importlib.invalidate_caches()
    own = environments.of(baseline)
    search = [str(environments.site(own)), *sys.path] if own else None
    return {name: _found(name, search) for name in sorted({*baseline.requires, *baseline.prefers})}


def is_there(name: str) -> bool:
    """Tell whether a package can be found, whether or not it can be imported."""
    return _found(name) is not None


def _found(name: str, search: list[str] | None = None) -> dict[str, str | None] | None:
    try:
        specification = PathFinder.find_spec(name, search) if search else find_spec(name)
    except (ImportError, ValueError):
        return None
    if specification is None:
        return None
    places = specification.submodule_search_locations
    origins = tuple(places) if places else (specification.origin,)
    return {"version": version(name, search), "digest": _digest(tuple(map(str, origins)), _state(origins))}


def _files(origins: tuple[str, ...]) -> list[tuple[str, Path]]:
    found = []
    for place in map(Path, origins):
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        files = [path for path in inside if path.is_file() and path.suffix not in BYTECODE]
        found += [(path.relative_to(place).as_posix() if place.is_dir() else path.name, path) for path in files]
    return found


def _state(origins: tuple[str, ...]) -> tuple[tuple[str, int, int], ...]:
    stats = ((name, path.stat()) for name, path in _files(tuple(map(str, origins))))
    return tuple((name, stat.st_size, stat.st_ctime_ns) for name, stat in stats)


@cache
def _digest(origins: tuple[str, ...], state: tuple) -> str:
    """Return the SHA-256 over the files of a package; `state` tells whether they have to be read again."""
    total = hashlib.sha256()
    for name, path in _files(origins):
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return total.hexdigest()


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def version(name: str, search: list[str] | None = None) -> str | None:
    """Return the version of the distribution that offers a package; None where it was installed without one.

    Args:
        name: Import name of the package.
        search: Folders to look in; the first that has the distribution counts (default: those of this process).
    """
    if search:
        for each in metadata.distributions(path=search):
            tops = (each.read_text("top_level.txt") or "").split()
            if name in tops or each.name.replace("-", "_").lower() == name.lower():
                return each.version
        return None
    for distribution in (*_distributions().get(name, ()), name):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None
