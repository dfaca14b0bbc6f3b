"""Verbs about a study before and while it runs: `plan`, `status`."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path

from kanbench.base import paths
from kanbench.baselines import discovery
from kanbench.records.survey import Survey
from kanbench.study import config, lacking, tuning
from kanbench.study import plan as planning
from kanbench.study import status as progress

POLL_SECONDS = 1.0
SHOWN = 10


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
        for line in tuning.far_lines(planned.study, chosen, planned.tasks):
            print(line)


def _print_looks(planned: planning.Plan) -> None:
    """Print what the looks are, and for want of which data sets runs are skipped."""
    for line in (*planned.looks.lines(planned.study.experiments), *lacking.lines(planned)):
        print(line)


def _cost(planned: planning.Plan, runs: dict, given: Path | None) -> str:
    """Return the table of `plan --cost`."""
    from kanbench.study import cost, cost_fit, cost_memory

    known = {record["run"]: record for folder in _record_sets(planned, given) for record in folder}
    peak = cost_memory.estimator(known.values(), planned.methods)
    constants = cost_fit.Constants(known.values())
    found = cost.rows(runs, cost.Calibration(known.values(), constants.seconds, reach=cost.REACH), peak)
    devices = sorted({run.spec["device"].partition(":")[0] for run in runs.values()})
    return "\n".join([cost.text(found, " and ".join(devices) or "no"), f"basis: {constants.basis}"])


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
