"""Verbs that make a record of a spec: `train`, `profile`, and `serve`, which speeds them up."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from kanbench.base.errors import Finding, InvalidInput, nearest
from kanbench.base.spec import run_name
from kanbench.baselines import discovery
from kanbench.process import tree, watch
from kanbench.records import collect as collecting
from kanbench.records import record
from kanbench.records.survey import Survey
from kanbench.study import status as progress
from kanbench.tasks import taskinfo
from kanbench.training import failures

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
    specs = [_read_spec(spec, profiled=False) for spec in options.spec]
    folders = {options.runs or _runs(output, spec) for output, spec in zip(options.output, specs, strict=True)}
    if len(folders) > 1:
        found = ", ".join(map(str, sorted(folders)))
        raise InvalidInput([Finding("train", "--output", found, "records of one study", "name the folder with --runs")])
    runs = folders.pop()
    common = {"data_root": options.data_root, "runs": runs}

    def work(chosen: list[dict]) -> list[dict]:
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
    spec = _read_spec(options.spec, profiled=True)

    def work(chosen: list[dict]) -> list[dict]:
        from kanbench.training import profile as profiling

        return [profiling.run(chosen[0], exclusive=options.exclusive)]

    return _record(options, [(spec, options.output)], _runs(options.output, spec), work)


Work = Callable[[list[dict]], list[dict]]


def _record(options: Namespace, planned: list[tuple[dict, Path]], runs: Path, work: Work) -> int:
    """Leave a record of every spec, whatever becomes of its run, and say how it went; return the exit status.

    Runs that did not survive being trained together are trained one by one.

    Args:
        planned: The specs, each with the path of its record.
        runs: Folder below which the runs of the study leave their records and weights.
        work: Returns the records of some of the specs.
    """
    started = time.perf_counter()
    inside = failures.guarded(options.verb, lambda: _work(options.threads, planned, work))
    if options.unwatched or _holds_a_gpu():
        status = inside()
    else:
        ending = watch.run(inside, _limits(options))
        status = ending.status
        if ending.kind in ("interrupted", "orphaned"):
            return _interrupted(options.verb, ending)
        outcome = failures.of_ending(ending)
        if outcome is not None and len(planned) > 1:
            print(f"the runs together: {outcome['status']}, {outcome['reason']}; each by itself:", file=sys.stderr)
            return max(_record(options, [each], runs, work) for each in planned)
        if outcome is not None:
            failures.write(*planned[0], outcome, runs)
            status = 0
    seconds = (time.perf_counter() - started) / len(planned)
    for _, output in planned if status == 0 else []:
        print(_outcome(record.read(output), seconds) + _position(output), flush=True)
    return status


def _holds_a_gpu() -> bool:
    """Tell whether this process has used a GPU already: a child that it forks could not."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def _work(threads: int, planned: list[tuple[dict, Path]], work: Work) -> int:
    import torch

    torch.set_num_threads(threads)
    results = work([spec for spec, _ in planned])
    for result, (_, output) in zip(results, planned, strict=True):
        record.write(result, output)
    return 0


def _limits(options: Namespace) -> watch.Limits:
    most = tree.machine_bytes() * MEMORY_SHARE if options.memory_gib is None else options.memory_gib * 2**30
    return watch.Limits(int(most), options.grace_seconds, options.stall_seconds)


def _interrupted(verb: str, ending: watch.Ending) -> int:
    """End as the run was ended from outside: the same command makes it again."""
    if ending.kind == "orphaned":
        print(f"kanbench {verb}: {ending.told}; the same workflow resumes", file=sys.stderr)
        return 1
    if ending.status == signal.SIGINT:
        raise KeyboardInterrupt
    print(f"kanbench {verb}: ended by {signal.Signals(ending.status).name}", file=sys.stderr, flush=True)
    if ending.status != signal.SIGKILL:
        signal.signal(ending.status, signal.SIG_DFL)
    os.kill(os.getpid(), ending.status)
    return 1


def _read_spec(given: str, profiled: bool) -> dict:
    from kanbench.base import schema

    text = Path(given[1:]).read_text(encoding="utf-8") if given.startswith("@") else given
    try:
        spec = json.loads(text)
    except json.JSONDecodeError as error:
        step = "copy a spec from `python -m kanbench plan --json`"
        raise InvalidInput([Finding("--spec", "", str(error), "one JSON document", step)]) from None
    problems = [f for f in schema.findings({"spec": spec}, "record", "--spec") if f.key.startswith("spec")]
    own = None if problems else discovery.find(spec["method"]["baseline"])
    if not problems and (own is None or spec["method"]["name"] not in own.methods):
        name, methods = spec["method"]["name"], sorted(m for b in discovery.discover().values() for m in b.methods)
        problems.append(Finding("--spec", "method.name", name, nearest(name, methods), "correct the name"))
    if not problems and spec["task"]["name"] not in taskinfo.discover():
        name = spec["task"]["name"]
        problems.append(
            Finding("--spec", "task.name", name, nearest(name, list(taskinfo.discover())), "correct the name")
        )
    if not problems and taskinfo.discover()[spec["task"]["name"]].profile != profiled:
        expected = "a task to train" if not profiled else "a task whose step is profiled"
        verb = "train" if profiled else "profile"
        problems.append(Finding("--spec", "task.name", spec["task"]["name"], expected, f"use the verb `{verb}`"))
    if problems:
        raise InvalidInput(problems)
    return spec


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
