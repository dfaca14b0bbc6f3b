"""Verbs for what went wrong: `failures` tells, `retry` makes them again, `conclude` makes the report all the same."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from kanbench.base import paths
from kanbench.base.errors import Finding, InvalidInput, KanbenchError, nearest
from kanbench.cli import records
from kanbench.pages import recipes
from kanbench.records import collect as collecting
from kanbench.records import frame
from kanbench.study import config, failures, resume
from kanbench.study import plan as planning


def _planned(options: Namespace) -> planning.Plan:
    overrides = {"only": options.only} if options.only else {}
    return planning.expand(config.load(options.configfile, overrides))


def show(options: Namespace) -> None:
    """`failures`: the runs of a study that failed, with reasons and logs."""
    planned = _planned(options)
    print(failures.text(planned) or f"no run of {planned.study.name} failed")


def retry(options: Namespace) -> int:
    """`retry`: set failed records aside and run the workflow."""
    statuses = tuple(part.strip() for part in options.status.split(","))
    for status in statuses:
        if status not in frame.FAILED:
            expected = nearest(status, frame.FAILED)
            raise InvalidInput([Finding("retry", "--status", status, expected, "name statuses of failed runs")])
    _refuse_while_at_work(paths.root())
    planned = _planned(options)
    names = failures.set_aside(planned, statuses, options.match)
    print(f"{len(names)} failed runs of {planned.study.name} are made again", flush=True)
    for name in names:
        print(f"  {name}", flush=True)
    if not names or options.only_aside:
        return 0
    # What was collected is newer than the records that are left: it has to be told that one is owed.
    command = [sys.executable, "-m", "snakemake", "--cores", options.cores, "--forcerun", "collect"]
    command += ["--configfile", str(options.configfile.resolve())] if options.configfile else []
    command += ["--config", f"only={options.only}"] if options.only else []
    return subprocess.call(command, cwd=paths.root(), env=with_caches())


def _refuse_while_at_work(folder: Path) -> None:
    """Raise InvalidInput while a workflow makes the records that would be set aside."""
    found = [f"process {each.pid} on {each.host}" for each in resume.at_work(folder)]
    if found:
        owners = folder / resume.STATE / resume.OWNERS
        step = f"wait for its end; if it is gone for certain, remove its file in {paths.relative(owners)}"
        raise InvalidInput([Finding("retry", "", f"a workflow at work: {', '.join(found)}", "none", step)])


def with_caches() -> dict[str, str]:
    """Return the environment, with caches below the suite where the home of the user cannot be written."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "snakemake"
    try:
        caches.mkdir(parents=True, exist_ok=True)
        usable = os.access(caches, os.W_OK | os.X_OK)
    except OSError:
        usable = False
    own = {} if usable else {"XDG_CACHE_HOME": str(paths.root() / resume.STATE / "cache")}
    return {**os.environ, **own}


def conclude(options: Namespace) -> None:
    """`conclude`: collect and render what there is; what cannot be drawn says so in the report."""
    from kanbench.pages import render, report

    folder = options.study
    _collect(folder)
    newest = next(folder / name for name in frame.FILES if (folder / name).is_file()).stat().st_mtime
    for name, recipe in recipes.discover().items():
        if not all(_is_new(folder / output, newest) for output in recipe.outputs()):
            _attempt(lambda name=name: render.render(name, folder, folder))
    _attempt(lambda: render.render_claims(folder, folder))
    _attempt(lambda: report.report(folder, folder / "report.html", tolerant=True))


def _collect(folder: Path) -> None:
    """Gather the records of a study where some are newer than what was gathered; a record set by itself stays."""
    plan, gathered = folder / "plan.json", folder / collecting.RECORDS
    made = [file.stat().st_mtime for file in (plan, *folder.glob("runs/**/[!.]*.json")) if file.is_file()]
    if made and not (gathered.is_file() and gathered.stat().st_mtime > max(made)):
        _attempt(lambda: records.collect(Namespace(plan=plan, output=None, fewer=False)))


def _attempt(make: Callable[[], object]) -> None:
    """Do what may fail without stopping what comes after it."""
    try:
        make()
    except KanbenchError as error:
        print(f"kanbench conclude: {error}", file=sys.stderr)
    except Exception:
        traceback.print_exc()


def _is_new(file: Path, since: float) -> bool:
    return file.is_file() and file.stat().st_mtime >= since
