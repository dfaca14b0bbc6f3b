"""Verbs about a study before and while it runs: `list`, `plan`, `status`."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path

from kanbench.base import paths
from kanbench.baselines import discovery
from kanbench.pages import recipes
from kanbench.records.survey import Survey
from kanbench.study import config
from kanbench.study import plan as planning
from kanbench.study import status as progress
from kanbench.tasks import taskinfo

POLL_SECONDS = 1.0
SHOWN = 10


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


def _found() -> list[discovery.Method]:
    """Return every method, after a warning about baselines that are refused."""
    found, refused = discovery.survey()
    discovery.warn(refused)
    return [method for baseline in found.values() for method in baseline.methods.values()]


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


def _planned(options: Namespace) -> planning.Plan:
    given = {"only": options.only, "look": options.look}
    overrides = {name: value for name, value in given.items() if value}
    planned = planning.expand(config.load(options.configfile, overrides))
    discovery.warn(planned.refused)
    return planned


def plan(options: Namespace) -> None:
    """`plan`: print the runs of a study."""
    planned = _planned(options)
    if options.write:
        print(planned.due.write_plan())
        return
    chosen = [run for run in planned.runs.values() if options.match in run.name]
    if options.cost:
        print(_cost(planned, {run.name: run for run in chosen}, options.records))
        return
    for run in chosen:
        print(run.text if options.json else f"{','.join(run.experiments):9} {run.name}")
    if not options.json:
        print(
            f"{len(chosen)} of {len(planned.runs)} runs of '{planned.study.name}', records below {planned.folder}/runs/"
        )
        _print_looks(planned)


def _print_looks(planned: planning.Plan) -> None:
    for line in planned.looks.lines(planned.study.experiments):
        print(line)


def _cost(planned: planning.Plan, runs: dict, given: Path | None) -> str:
    """Return the table of `plan --cost`."""
    from kanbench.study import cost, cost_memory

    known = {record["run"]: record for folder in _record_sets(planned, given) for record in folder}
    peak = cost_memory.estimator(known.values(), planned.methods)
    found = cost.rows(runs, cost.Calibration(known.values()), peak)
    devices = sorted({run.spec["device"].partition(":")[0] for run in runs.values()})
    return cost.text(found, " and ".join(devices) or "no")


def _record_sets(planned: planning.Plan, given: Path | None) -> list[list[dict]]:
    """Return the record sets to learn from; the later ones win."""
    from kanbench.records import frame

    if given is not None:
        return [frame.read_records(given)]
    folders = [paths.root() / "results/reference", paths.root() / planned.folder]
    return [frame.read_records(folder) for folder in folders if any((folder / name).is_file() for name in frame.FILES)]


def status(options: Namespace) -> None:
    """`status`: print, or watch, how far a study is."""
    planned = _planned(options)
    content, survey = planned.due.content, Survey(paths.root() / planned.folder)
    if options.watch:
        _watch(content, survey)
    table = progress.outcomes(content, survey)
    columns = sorted({status for counts in table.values() for status in counts})
    print(f"{'':6}" + "".join(f"{column:>15}" for column in columns))
    for experiment, counts in table.items():
        print(f"{experiment:6}" + "".join(f"{counts[column]:>15}" for column in columns))
    print(progress.line(progress.progress(content, survey)))
    _print_looks(planned)
    again = [(name, each.reason) for name, each in survey.standings(content["runs"]).items() if each.reason]
    for name, reason in again[:SHOWN]:
        print(f"  to be made again: {name}: {reason}")
    if len(again) > SHOWN:
        print(f"  ... and {len(again) - SHOWN} more")
    survey.keep()


def _watch(content: dict, survey: Survey) -> None:
    from tqdm import tqdm

    with tqdm(total=len(content["runs"]), unit="run") as bar:
        while (state := progress.progress(content, survey))["done"] < state["planned"]:
            bar.update(state["done"] - bar.n)
            bar.set_postfix_str(progress.line(state).partition(", ")[2])
            time.sleep(POLL_SECONDS)
        bar.update(state["done"] - bar.n)
