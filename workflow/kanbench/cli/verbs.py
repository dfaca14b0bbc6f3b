"""What each verb of the command line does. Heavy imports happen inside, so that `--help` and `status` stay fast."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from kanbench import baselines, config, paths, recipes, taskinfo
from kanbench import collect as collecting
from kanbench import plan as planning
from kanbench import status as progress
from kanbench.errors import Finding, InvalidInput, nearest
from kanbench.spec import run_name

POLL_SECONDS = 1.0


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
    found = [m for b in baselines.discover().values() for m in b.methods.values()]
    return [(m.name, m.label, "axes: " + (", ".join(m.axes) or "none")) for m in found]


def _tasks() -> list[tuple]:
    return [
        (t.name, t.label, f"{t.family}, {t.metric}", f"data: {t.data or 'computed'}")
        for t in taskinfo.discover().values()
    ]


def _axes() -> list[tuple]:
    users: dict[str, list[str]] = {}
    for method in (m for b in baselines.discover().values() for m in b.methods.values()):
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
    overrides = {"only": options.only} if options.only else {}
    return planning.expand(config.load(options.configfile, overrides))


def plan(options: Namespace) -> None:
    """`plan`: print the runs of a study."""
    planned = _planned(options)
    chosen = [run for run in planned.runs.values() if options.match in run.name]
    if options.cost:
        print(_cost(planned, {run.name: run for run in chosen}, options.records))
        return
    for run in chosen:
        print(run.text if options.json else f"{','.join(run.experiments):10}{run.name}")
    if not options.json:
        print(
            f"{len(chosen)} of {len(planned.runs)} runs of '{planned.study.name}', records below {planned.folder}/runs/"
        )


def _cost(planned: planning.Plan, runs: dict, given: Path | None) -> str:
    """Return the table of `plan --cost`."""
    from kanbench import cost, cost_memory

    known = {record["run"]: record for folder in _record_sets(planned, given) for record in folder}
    peak = cost_memory.estimator(known.values(), planned.methods)
    found = cost.rows(runs, cost.Calibration(known.values()), peak)
    devices = sorted({run.spec["device"].partition(":")[0] for run in runs.values()})
    return cost.text(found, " and ".join(devices) or "no")


def _record_sets(planned: planning.Plan, given: Path | None) -> list[list[dict]]:
    """Return the record sets to learn from; the later ones win."""
    from kanbench import frame

    if given is not None:
        return [frame.read_records(given)]
    folders = [paths.root() / "results/reference", paths.root() / planned.folder]
    return [frame.read_records(folder) for folder in folders if any((folder / name).is_file() for name in frame.FILES)]


def status(options: Namespace) -> None:
    """`status`: print, or watch, how far a study is."""
    planned = _planned(options)
    folder = paths.root() / planned.folder
    content = {
        "experiments": planned.experiments,
        "runs": {name: {"experiments": run.experiments} for name, run in planned.runs.items()},
    }
    if options.watch:
        _watch(content, folder)
    table = progress.outcomes(content, folder)
    columns = sorted({status for counts in table.values() for status in counts})
    print(f"{'':6}" + "".join(f"{column:>15}" for column in columns))
    for experiment, counts in table.items():
        print(f"{experiment:6}" + "".join(f"{counts[column]:>15}" for column in columns))
    print(progress.line(progress.progress(content, folder)))


def _watch(content: dict, folder: Path) -> None:
    from tqdm import tqdm

    with tqdm(total=len(content["runs"]), unit="run") as bar:
        while (state := progress.progress(content, folder))["done"] < state["planned"]:
            bar.update(state["done"] - bar.n)
            bar.set_postfix_str(progress.line(state).partition(", ")[2])
            time.sleep(POLL_SECONDS)
        bar.update(state["done"] - bar.n)


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
            from kanbench import ensemble

            return ensemble.run(specs, **common)
        from kanbench import train as training

        return [training.run(specs[0], exclusive=options.exclusive, **common)]

    _record(options.threads, options.output, work)


def _runs(output: Path, spec: dict) -> Path:
    """Return the folder below which the records of a study lie, or that of the one record that is written by hand."""
    planned = output.resolve().as_posix().endswith(f"/{run_name(spec)}.json")
    return output.resolve().parents[2 if planned else 0]


def profile(options: Namespace) -> None:
    """`profile`: the cost of one step."""
    spec = _read_spec(options.spec, profiled=True)
    from kanbench import profile as profiling

    _record(options.threads, [options.output], lambda: [profiling.run(spec, exclusive=options.exclusive)])


def _record(threads: int, outputs: list[Path], work: Callable[[], list[dict]]) -> None:
    """Write the records that `work` returns, and say how it went."""
    import torch

    from kanbench import record

    torch.set_num_threads(threads)
    started = time.perf_counter()
    results = work()
    seconds = (time.perf_counter() - started) / len(results)
    for result, output in zip(results, outputs, strict=True):
        record.write(result, output)
        print(_outcome(result, seconds) + _position(output), flush=True)


def _read_spec(given: str, profiled: bool) -> dict:
    from kanbench import schema

    text = Path(given[1:]).read_text(encoding="utf-8") if given.startswith("@") else given
    try:
        spec = json.loads(text)
    except json.JSONDecodeError as error:
        step = "copy a spec from `python -m kanbench plan --json`"
        raise InvalidInput([Finding("--spec", "", str(error), "one JSON document", step)]) from None
    problems = [f for f in schema.findings({"spec": spec}, "record", "--spec") if f.key.startswith("spec")]
    own = None if problems else baselines.find(spec["method"]["baseline"])
    if not problems and (own is None or spec["method"]["name"] not in own.methods):
        name, methods = spec["method"]["name"], sorted(m for b in baselines.discover().values() for m in b.methods)
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


def data(options: Namespace) -> None:
    """`data`: check or fetch a data set."""
    from kanbench import atomic, datasets

    found = datasets.fetch(options.name, options.root, download=options.download)
    print(found)
    if options.stamp:
        atomic.write_text(options.stamp, f"{found}\n")


def serve(options: Namespace) -> None:
    """`serve`: fork a child a request, with the packages imported beforehand."""
    from kanbench import server

    server.serve(options.socket, options.parent)


def collect(options: Namespace) -> None:
    """`collect`: plan and records to a record set."""
    folder = options.output or options.plan.parent
    found = collecting.gather(collecting.read_plan(options.plan), options.plan.parent / "runs")
    collecting.write(found.records, folder)
    print(f"{len(found.records) - len(found.absent)} of {len(found.records)} planned runs collected into {folder}")
    for title, names in (("absent", found.absent), ("set aside: another protocol", found.set_aside)):
        for name in names:
            print(f"  {title}: {name}")


def choose(options: Namespace) -> None:
    """`choose`: settings that the studies leave open, by validation scores."""
    from kanbench import atomic, choice, frame

    try:
        table = choice.choose(frame.read_records(options.records))
    except ValueError as error:
        step = "run `make tuning`, which trains that study"
        raise InvalidInput([Finding(str(options.records), "", str(error), "records of tuning.yaml", step)]) from error
    atomic.write_text(options.output, table.to_csv(index=False, lineterminator="\n"))
    print(table.to_string(index=False))


def render(options: Namespace) -> None:
    """`render`: one recipe."""
    from kanbench import render as rendering

    for path in rendering.render(options.recipe, options.records, options.output):
        print(path)


def claims(options: Namespace) -> None:
    """`claims`: verdicts."""
    from kanbench import render as rendering

    for path in rendering.render_claims(options.records, options.output):
        print(path)


def report(options: Namespace) -> None:
    """`report`: the HTML page."""
    from kanbench import report as reporting

    print(reporting.report(options.records, options.output))


def pack(options: Namespace) -> None:
    """`pack`: records to an archive."""
    archive = options.output or options.study.with_name(options.study.name + ".tar.gz")
    print(f"{collecting.pack(options.study, archive)} records in {archive} ({archive.stat().st_size / 2**20:.2f} MiB)")


def unpack(options: Namespace) -> None:
    """`unpack`: an archive into a study."""
    merged = collecting.unpack(options.archive, options.into)
    print(f"{merged['added']} records added to {options.into}, {merged['equal']} were there already")


def check_baseline(options: Namespace) -> int:
    """`check-baseline`: the contract tests; the exit status is 1 where a rule is broken."""
    from kanbench import check

    known = baselines.discover()
    unknown = [name for name in options.name if name not in known]
    if unknown:
        step = "create it with `python -m kanbench new-baseline NAME`"
        raise InvalidInput(
            [Finding("baselines/", n, "no such baseline", nearest(n, list(known)), step) for n in unknown]
        )
    results = [result for name in options.name or known for result in check.check_baseline(name)]
    return check.report(results)


def new_baseline(options: Namespace) -> None:
    """`new-baseline`: a folder from the template."""
    from kanbench import scaffold

    folder = scaffold.new_baseline(options.name)
    print(f"{paths.relative(folder)} is ready: edit model.py, then `make check-baseline NAME={options.name}`")
