"""The verb `list`: what can be named in a study."""

from __future__ import annotations

from argparse import Namespace

from kanbench.base import paths
from kanbench.baselines import discovery
from kanbench.pages import recipes
from kanbench.study import config
from kanbench.study import plan as planning
from kanbench.tasks import taskinfo


def show(options: Namespace) -> None:
    """`list`: print what can be named in a study."""
    parts = {"methods": _methods, "tasks": _tasks, "axes": _axes, "recipes": _recipes, "studies": _studies}
    for name in parts if options.what == "all" else [options.what]:
        print(f"{name}:")
        rows = [tuple(map(str, row)) for row in parts[name]()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _methods() -> list[tuple]:
    return [(m.name, m.label, "axes: " + (", ".join(m.axes) or "none")) for m in _found()]


def _tasks() -> list[tuple]:
    return [
        (t.name, t.label, f"{t.family}, {t.metric}", f"data: {t.data or 'computed'}")
        for t in taskinfo.discover().values()
    ]


def _axes() -> list[tuple]:
    users: dict[str, list[str]] = {}
    for method in _found():
        for axis in method.axes:
            users.setdefault(axis, []).append(method.name)
    return [(axis, ", ".join(names)) for axis, names in sorted(users.items())]


def _recipes() -> list[tuple]:
    return [(r.name, r.kind, r.title) for r in recipes.discover().values()]


def _studies() -> list[tuple]:
    files = sorted((paths.root() / "workflow/config").glob("*.yaml"))
    studies = [(paths.relative(file), config.load(file)) for file in files]
    return [
        (label, f"{len(planning.expand(study).runs)} runs", ", ".join(study.experiments)) for label, study in studies
    ]


def _found() -> list[discovery.Method]:
    """Return every method, after a warning about baselines that are refused."""
    found, refused = discovery.survey()
    discovery.warn(refused)
    return [method for baseline in found.values() for method in baseline.methods.values()]
