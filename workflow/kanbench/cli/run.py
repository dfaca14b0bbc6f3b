"""Verbs that make a record of a spec: `train`, `profile`, and `serve`, which speeds them up."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from pathlib import Path

from kanbench.base.errors import Finding, InvalidInput
from kanbench.base.spec import run_name
from kanbench.baselines import discovery, environments
from kanbench.process import tree, watch
from kanbench.records import collect as collecting
from kanbench.records import record
from kanbench.records.survey import Survey
from kanbench.study import status as progress
from kanbench.training import given, watched

MEMORY_SHARE = 0.8
"""Share of the machine's memory that a run may take where nobody says otherwise."""


def train(options: Namespace) -> int:
    """`train`: one spec in, one record out; or several, trained together where they may."""
    if len(options.spec) != len(options.output):
        found = f"{len(options.spec)} times --spec and {len(options.output)} times --output"
        raise InvalidInput([Finding("train", "", found, "one output a spec, in the same order", "add the other")])
    if options.exclusive and len(options.spec) > 1:
        found = f"--exclusive with {len(options.spec)} specs"
        raise InvalidInput([Finding("train", "", found, "one spec: runs together share their time", "train it alone")])
    specs = [given.read(spec, profiled=False) for spec in options.spec]
    _enter(specs[0])
    folders = {options.runs or _runs(output, spec) for output, spec in zip(options.output, specs, strict=True)}
    if len(folders) > 1:
        found = ", ".join(map(str, sorted(folders)))
        raise InvalidInput([Finding("train", "--output", found, "records of one study", "name the folder with --runs")])
    runs = folders.pop()
    common = {"data_root": options.data_root, "runs": runs}

    def work(chosen: list[dict]) -> list[dict]:
        if _fits_itself(chosen[0]):
            return _fitted(chosen, options)
        if len(chosen) > 1:
            from kanbench.training import ensemble

            return ensemble.run(chosen, **common)
        from kanbench.training import train as training

        return [training.run(chosen[0], exclusive=options.exclusive, **common)]

    return _record(options, list(zip(specs, options.output, strict=True)), runs, work)


def _runs(output: Path, spec: dict) -> Path:
    """Return the folder below which the records of a study lie, or that of the one record that is written by hand."""
    planned = output.resolve().as_posix().endswith(f"/{run_name(spec)}.json")
    return output.resolve().parents[2 if planned else 0]


def profile(options: Namespace) -> int:
    """`profile`: the cost of one step."""
    spec = given.read(options.spec, profiled=True)
    _enter(spec)

    def work(chosen: list[dict]) -> list[dict]:
        if _fits_itself(chosen[0]):
            return _fitted(chosen, options)
        from kanbench.training import profile as profiling

        return [profiling.run(chosen[0], exclusive=options.exclusive)]

    return _record(options, [(spec, options.output)], _runs(options.output, spec), work)


def _enter(spec: dict) -> None:
    """Go on in the environment of a spec's baseline, where it has one of its own."""
    environments.enter(discovery.find(spec["method"]["baseline"]), sys.argv[1:])


def _fits_itself(spec: dict) -> bool:
    return discovery.find(spec["method"]["baseline"]).fits_itself


def _fitted(chosen: list[dict], options: Namespace) -> list[dict]:
    from kanbench.training import fitting

    root = getattr(options, "data_root", None)
    return [fitting.run(spec, data_root=root, exclusive=options.exclusive) for spec in chosen]


def _record(options: Namespace, planned: watched.Planned, runs: Path, work: watched.Work) -> int:
    """Leave a record of every spec and say how each went; return the exit status."""
    started = time.perf_counter()
    limits = None if options.unwatched else _limits(options)

    def noting(chosen: list[dict]) -> list[dict]:
        return [environments.noted(result) for result in work(chosen)]

    status = watched.make(options.verb, planned, runs, noting, options.threads, limits)
    seconds = (time.perf_counter() - started) / len(planned)
    for _, output in planned if status == 0 else []:
        print(_outcome(record.read(output), seconds) + _position(output), flush=True)
    return status


def _limits(options: Namespace) -> watch.Limits:
    most = tree.machine_bytes() * MEMORY_SHARE if options.memory_gib is None else options.memory_gib * 2**30
    return watch.Limits(int(most), options.grace_seconds, options.stall_seconds)


def _outcome(result: dict, seconds: float) -> str:
    selected, peak = result["metrics"]["selected"], result["memory"]["simulated_peak_bytes"]
    value = result["reason"] or (f"simulated peak {peak / 2**20:.1f} MiB" if peak else "")
    if selected:
        value = f"test {result['metric']} {selected['test'][result['metric']]:.4g}"
    return f"{result['status']}  {result['run']}  {value}  {seconds:.1f} s"


def _position(output: Path) -> str:
    """Return ' [12 of 80 runs done, about 3 min left]' where the record belongs to a planned study."""
    for folder in output.resolve().parents:
        if (folder / "plan.json").is_file():
            survey = Survey(folder)
            state = progress.progress(collecting.read_plan(folder / "plan.json"), survey)
            survey.keep()
            return f"  [{progress.line(state)}]"
    return ""


def serve(options: Namespace) -> None:
    """`serve`: fork a child a request, with the packages imported beforehand."""
    from kanbench.process import server

    server.serve(options.socket, options.parent)
