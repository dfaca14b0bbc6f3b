"""Verbs that make a record of a spec: `train`, `profile`, and `serve`, which speeds them up."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from kanbench.base.errors import Finding, InvalidInput, nearest
from kanbench.base.spec import run_name
from kanbench.baselines import discovery
from kanbench.records import collect as collecting
from kanbench.study import status as progress
from kanbench.tasks import taskinfo


def train(options: Namespace) -> None:
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
    common = {"data_root": options.data_root, "runs": folders.pop()}

    def work() -> list[dict]:
        if len(specs) > 1:
            from kanbench.training import ensemble

            return ensemble.run(specs, **common)
        from kanbench.training import train as training

        return [training.run(specs[0], exclusive=options.exclusive, **common)]

    _record(options.threads, options.output, work)


def _runs(output: Path, spec: dict) -> Path:
    """Return the folder below which the records of a study lie, or that of the one record that is written by hand."""
    planned = output.resolve().as_posix().endswith(f"/{run_name(spec)}.json")
    return output.resolve().parents[2 if planned else 0]


def profile(options: Namespace) -> None:
    """`profile`: the cost of one step."""
    spec = _read_spec(options.spec, profiled=True)
    from kanbench.training import profile as profiling

    _record(options.threads, [options.output], lambda: [profiling.run(spec, exclusive=options.exclusive)])


def _record(threads: int, outputs: list[Path], work: Callable[[], list[dict]]) -> None:
    """Write the records that `work` returns, and say how it went."""
    import torch

    from kanbench.records import record

    torch.set_num_threads(threads)
    started = time.perf_counter()
    results = work()
    seconds = (time.perf_counter() - started) / len(results)
    for result, output in zip(results, outputs, strict=True):
        record.write(result, output)
        print(_outcome(result, seconds) + _position(output), flush=True)


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
            return f"  [{progress.line(progress.progress(collecting.read_plan(folder / 'plan.json'), folder))}]"
    return ""


def serve(options: Namespace) -> None:
    """`serve`: fork a child a request, with the packages imported beforehand."""
    from kanbench.process import server

    server.serve(options.socket, options.parent)
