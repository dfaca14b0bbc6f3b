"""Expands a study into runs: every combination of task, method, axis values and seed, resolved and named."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kanbench import PROTOCOL
from kanbench.base.errors import Finding, InvalidInput, nearest
from kanbench.base.spec import canonical, pattern, run_name
from kanbench.base.spec import digest as spec_digest
from kanbench.baselines import discovery, environments
from kanbench.study import config, due, looks, rates, search, sources, together, tuning
from kanbench.tasks import taskinfo
from kanbench.training import analyses
from kanbench.training.code import Code


@dataclass
class Run:
    """One planned run. `experiments` are the ids that use it; equal specs of several experiments are one run."""

    name: str
    spec: dict[str, Any]
    label: str
    experiments: list[str] = field(default_factory=list)
    exclusive: bool = False
    together: bool = False

    @property
    def text(self) -> str:
        """The canonical JSON of the spec."""
        return canonical(self.spec)


@dataclass
class Plan:
    """All runs of a study by name, and where their files are. `leading` is false in a process that another started."""

    study: config.Study
    runs: dict[str, Run]
    methods: Mapping[str, discovery.Method]
    tasks: Mapping[str, taskinfo.TaskInfo]
    looks: looks.Looks
    refused: list[discovery.Refused] = field(default_factory=list)
    leading: bool = True

    @property
    def folder(self) -> str:
        return self.study.folder

    @property
    def experiments(self) -> dict[str, str]:
        """The titles of the planned experiments by id, those included that only supply weights to others."""
        used = {*self.study.experiments, *(key for run in self.runs.values() for key in run.experiments)}
        return {key: value["title"] for key, value in self.study.content["experiments"].items() if key in used}

    def record(self, name: str) -> str:
        """Return the path of a run's record, relative to the repository."""
        return f"{self.folder}/runs/{name}{RECORD}"

    def records(self) -> list[str]:
        """Return the records of all runs but those that are skipped since their data set is not on disk."""
        wanted = () if self.study.rendering_only else self.runs
        return [self.record(name) for name in wanted if name not in self.due.lacking]

    @property
    def alone(self) -> list[str]:
        """The records of the runs that no cell has."""
        return [self.record(name) for name in self.runs if name not in self.cell_of and name not in self.due.lacking]

    @cached_property
    def made_by(self) -> Code:
        """What would make the runs of this plan: their files, the digests of these, packages outside the suite."""
        return Code(self.methods, self.tasks)

    @cached_property
    def due(self) -> due.Due:
        """Which runs have to be made."""
        return due.Due(self)

    def inputs(self, name: str) -> list[str]:
        """Return what a run is made from whose time counts: another run's weights, and the request for it.

        A run that is done does without weights that are gone: its record holds without them.
        """
        source, done = (self.runs[name].spec.get("source") or {}).get("spec"), self.due.made(name)
        weights = f"{self.folder}/runs/{run_name(source)}{WEIGHTS}" if source else None
        needed = weights and (not done or Path(weights).is_file())
        return [*([weights] if needed else []), *self.due.counting(done)]

    def settled(self, name: str) -> list[str]:
        """Return what a run is made from whose time does not count: proof that its data and environment are there."""
        dataset, done = self.tasks[self.runs[name].spec["task"]["name"]].data, self.due.made(name)
        proofs = [*([f"results/data/{dataset}.txt"] if dataset else []), *environments.proof(self._baseline(name))]
        return [*(proof for proof in proofs if not done or Path(proof).is_file()), *self.due.settled(done)]

    @cached_property
    def environments(self) -> dict[str, str]:
        """The baselines with an environment of their own, by its name: their first, where several ask for the same."""
        asking = {m.baseline.name: m.baseline for m in self.methods.values() if m.baseline.environment}
        return {environments.of(each).name: name for name, each in sorted(asking.items(), reverse=True)}

    def python(self, name: str) -> str:
        """Return the interpreter that makes a run."""
        return environments.command(self._baseline(name))

    def _baseline(self, name: str) -> discovery.Baseline:
        return self.methods[self.runs[name].spec["method"]["name"]].baseline

    def flags(self, name: str) -> str:
        """Return the further arguments of `kanbench train` for a run."""
        root = self.study.content.get("data_root")
        parts = ["--exclusive"] if self.runs[name].exclusive else []
        return " ".join(parts + (["--data-root", shlex.quote(root)] if root else []))

    @property
    def limits(self) -> str:
        """The arguments of `kanbench train` and `profile` that say what ends a run from outside."""
        return " ".join(
            f"--{name.replace('_', '-')} {value:g}" for name, value in self.study.content.get("limits", {}).items()
        )

    @cached_property
    def profiled(self) -> str:
        """The pattern of the names of runs that measure a step and train nothing."""
        names = sorted(name for name, info in self.tasks.items() if info.profile)
        return f"(?:{'|'.join(names)})/.+"

    @cached_property
    def cells(self) -> dict[str, list[str]]:
        """The names of runs to train together, by an identifier; a process that joins a workflow keeps its grouping."""
        kept = None if self.leading else together.read(Path(self.folder))
        if kept:
            return kept
        present = {name: run for name, run in self.runs.items() if name not in self.due.lacking}
        return together.cells(present, self.due.made)

    @cached_property
    def cell_of(self) -> dict[str, str]:
        """The identifiers of `cells` by the names of their runs."""
        return {name: cell for cell, names in self.cells.items() for name in names}

    @cached_property
    def kept(self) -> str:
        """The pattern of the names of runs that leave their weights beside their record."""
        return pattern(name for name, run in self.runs.items() if "keep" in run.spec)

    def arguments(self, outputs: Iterable[str]) -> str:
        """Return the specs and outputs of `kanbench train` for the records `outputs`, quoted for a shell."""
        names = ((str(path), path[len(self.folder) + len("/runs/") : -len(RECORD)]) for path in outputs)
        pairs = (("--spec", self.runs[name].text, "--output", path) for path, name in names)
        return shlex.join(word for pair in pairs for word in pair)

    def gpu_slots(self, name: str) -> int:
        """Return how much of a GPU a run takes, in slots of `GPU_SLOTS`: all where it reports times."""
        if not self.runs[name].spec["device"].startswith("cuda"):
            return 0
        return GPU_SLOTS if self.runs[name].exclusive else 1

    def threads(self, name: str, cores: int | None) -> int:
        """Return the processor threads of a run: every core where it is alone, one elsewhere."""
        return max(1, cores or 1) if self.runs[name].exclusive else 1

    @property
    def digest(self) -> str:
        """Identify the set of planned runs, so that a changed plan is collected anew."""
        return spec_digest("\n".join(f"{name} {','.join(run.experiments)}" for name, run in self.runs.items()), 16)


GPU_SLOTS = 4
"""Runs that may share one GPU; the profiles offer as many of the Snakemake resource `gpu_slots`."""
RECORD, WEIGHTS = ".json", ".safetensors"


def expand(study: config.Study) -> Plan:
    """Return the plan of a study.

    Raises:
        InvalidInput: naming every unknown task, method, axis and setting of the study at once.
    """
    return _Expansion(study).plan()


class _Expansion:
    def __init__(self, study: config.Study):
        self.study = study
        self.tasks = taskinfo.discover()
        found, self.refused = discovery.survey()
        self.methods = {m.name: m for b in found.values() for m in b.methods.values()}
        self.groups = sorted({discovery.REST, *(g for m in self.methods.values() for g in m.baseline.groups)})
        self.looks = looks.Looks(study.content, study.label, Path(study.folder))
        self.rounds = search.Rounds(Path(study.folder))
        profiled = {name for name, info in self.tasks.items() if info.profile}
        self.problems: list[Finding] = [*self.looks.problems, *rates.typed(study.content, study.label, profiled)]
        self.untuned: dict[tuple[str, str], discovery.Refused] = {}
        self.runs: dict[str, Run] = {}
        self.of_experiment: dict[str, list[Mapping[str, Any]]] = {}

    def plan(self) -> Plan:
        for key in self._in_order():
            for spec, label in self._specs(key, self.study.content["experiments"][key]):
                self._add(key, self.study.content["experiments"][key], spec, label)
        if self.problems:
            raise InvalidInput(dict.fromkeys(self.problems))
        left_out = [*self.refused, *self.untuned.values()]
        return Plan(self.study, self.runs, self.methods, self.tasks, self.looks, left_out)

    def _in_order(self) -> list[str]:
        """Return the experiments to plan, those whose runs start from others after them; add those that `only` left."""
        everything, ordered = self.study.content["experiments"], []

        def visit(key: str, users: tuple[str, ...] = ()) -> None:
            if key in users:
                chain = " -> ".join([*users, key])
                self._problem(f"experiments.{key}", chain, "sources without a circle", "start from another experiment")
            elif key not in ordered:
                for source in sources.of_experiment(everything[key]):
                    if source in everything:
                        visit(source, (*users, key))
                    else:
                        self._unknown(f"experiments.{key}.source.experiment", "experiment", source, list(everything))
                ordered.append(key)

        for key in self.study.experiments:
            visit(key)
        return ordered

    def _add(self, key: str, experiment: Mapping[str, Any], spec: dict[str, Any], label: str) -> None:
        run = self.runs.setdefault(name := run_name(spec), Run(name, spec, label))
        if key not in run.experiments:
            run.experiments.append(key)
            self.of_experiment.setdefault(key, []).append(run.spec)
        run.together |= experiment.get("together", False)
        run.exclusive |= experiment.get("exclusive", False) or self.tasks[spec["task"]["name"]].profile

    def _specs(self, key: str, experiment: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
        top, where = self.study.content, f"experiments.{key}"
        self._check_axes(experiment.get("axes", {}), where)
        shared = {
            "protocol": PROTOCOL,
            "configuration": experiment.get("configuration", top["configuration"]),
            "dtype": experiment.get("dtype", top.get("dtype", "float32")),
            "device": experiment.get("device", top.get("device", "cpu")),
        }
        seeds = self.looks.seeds(key)
        if "keep" in experiment:
            shared["keep"] = experiment["keep"]
        tasks = list(self._tasks(experiment["tasks"], where))
        methods = list(self._methods(experiment, where))
        analysed = self._analyses(experiment, where)
        for (task, task_settings), each, further in itertools.product(tasks, methods, analysed):
            method, overrides, training, source = each
            for knobs in self._rates(key, task, task_settings, each):
                try:
                    settings = discovery.resolve(method, task.family, overrides)
                except InvalidInput as error:
                    self.problems += _located(error, self.study.label, f"{where}.methods.{method.name}")
                    continue
                for seed in seeds:
                    spec = {
                        **shared,
                        **further,
                        "task": {"name": task.name, "settings": task_settings},
                        "method": {
                            "name": method.name,
                            "baseline": method.baseline.name,
                            "variant": method.variant,
                            "settings": settings,
                        },
                        "training": config.with_knobs(training, knobs),
                        "seed": seed,
                    }
                    for start in self._starts(spec, source):
                        yield {**spec, **start}, method.label

    def _rates(self, key: str, task: taskinfo.TaskInfo, settings: Mapping[str, Any], each: tuple) -> Iterator[Any]:
        """Yield what `tuning.drawn` says of a method on a task; a rate that nobody has chosen is a problem.

        What the experiment does not name, but has as one of `all`, is left out instead, with a warning.
        """
        try:
            yield from tuning.drawn(self.study, key, (task, settings), each, self.rounds)
        except InvalidInput as error:
            method, entries = each[0], self.study.content["experiments"][key]["methods"]
            named = {entry if isinstance(entry, str) else entry["name"] for entry in entries}
            if "all" in named and not {method.name, method.baseline.name} & named:
                architecture = method.baseline.architecture
                self.untuned[key, method.name] = discovery.Refused(method.name, architecture, tuple(error.findings))
            else:
                self.problems += error.findings

    def _analyses(self, experiment: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
        """Return what the specs of an experiment say of analyses, one entry a combination of their settings."""
        if "analyses" not in experiment:
            return [{}]
        found, problems = analyses.resolve(experiment["analyses"], self.study.label, f"{where}.analyses")
        self.problems += problems
        return [{"analyses": chosen} for chosen in found]

    def _starts(self, spec: Mapping[str, Any], source: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
        """Yield what a spec says of where it starts: nothing, or one entry a source run and way to adapt it."""
        if source is None:
            yield {}
            return
        ways = [source["adapt"]] if isinstance(source["adapt"], str) else source["adapt"]
        origins = [None]
        if "experiment" in source:
            runs = self.of_experiment.get(source["experiment"], [])
            origins = [other for other in runs if sources.supplies(other, spec, source.get("method"))]
        if not origins and "method" in source:
            found = f"no run of {source['method']} on {spec['task']['name']} with the settings of a run that needs it"
            step = "list that method, task and settings there"
            self._problem(f"experiments.{source['experiment']}.methods", found, "one a seed and network", step)
        for origin, how in itertools.product(origins, ways):
            yield {"source": {"spec": origin, "adapt": how}}

    def _tasks(self, entries: list[Any], where: str) -> Iterator[tuple[Any, dict[str, Any]]]:
        for index, entry in enumerate(entries):
            entry = {"name": entry} if isinstance(entry, str) else entry
            place = f"{where}.tasks.{index}"
            if entry["name"] not in self.tasks:
                self._unknown(f"{place}.name", "task", entry["name"], list(self.tasks))
                continue
            named = taskinfo.expand_sets(entry["name"], entry.get("settings", {}))
            for overrides in config.combinations(named):
                try:
                    yield self.tasks[entry["name"]], taskinfo.resolve(entry["name"], overrides)
                except InvalidInput as error:
                    self.problems += _located(error, self.study.label, f"{place}.settings")

    def _methods(self, experiment: Mapping[str, Any], where: str) -> Iterator[tuple]:
        for index, entry in enumerate(experiment["methods"]):
            entry = {"name": entry} if isinstance(entry, str) else entry
            place = f"{where}.methods.{index}"
            trainings, problems = config.trainings(
                [experiment["training"], entry.get("training")], self.study.label, f"{place}.training"
            )
            self.problems += problems
            for name in {group for each in trainings for group in each.get("groups", {})} - {*self.groups}:
                self._unknown(f"{place}.training.groups.{name}", "parameter group", name, self.groups)
            source = entry.get("source", experiment.get("source"))
            architecture = experiment.get("architecture", discovery.ARCHITECTURE)
            left_out = {m.name for name in entry.get("except", []) for m in self._matching(name, place, architecture)}
            for method in self._matching(entry["name"], place, architecture):
                if method.name in left_out:
                    continue
                axes = {k: v for k, v in experiment.get("axes", {}).items() if k in method.axes}
                choices = list(config.combinations({**axes, **entry.get("settings", {})}))
                fitting = [config.for_method(training, method.baseline) for training in trainings]
                for overrides, training in itertools.product(choices, fitting):
                    yield method, overrides, training, source

    def _matching(self, name: str, place: str, architecture: str) -> list[Any]:
        """Return the methods that a name stands for: the one of that name, else those of the baseline of that name.

        `all` means those of the experiment's architecture.
        """
        found = (
            [self.methods[name]]
            if name in self.methods
            else [
                method
                for method in self.methods.values()
                if name == method.baseline.name
                or (name == discovery.ALL and method.baseline.architecture == architecture)
            ]
        )
        refused = [each for each in self.refused if each.stands_for(name, architecture)]
        self.problems += [finding for each in refused for finding in each.findings]
        if not found and not refused:
            known = {*self.methods, *(m.baseline.name for m in self.methods.values()), discovery.ALL}
            self._unknown(f"{place}.name" if "." in place else place, "method", name, sorted(known))
        return found

    def _check_axes(self, axes: Mapping[str, Any], where: str) -> None:
        known = sorted({axis for method in self.methods.values() for axis in method.axes})
        for axis in axes:
            if axis not in known:
                self._unknown(f"{where}.axes.{axis}", "axis", axis, known)

    def _unknown(self, key: str, kind: str, name: str, known: list[str]) -> None:
        step = f"correct the name; `python -m kanbench list` shows every {kind}"
        self._problem(key, f"unknown {kind} '{name}'", nearest(name, known), step)

    def _problem(self, key: str, found: str, expected: str, step: str) -> None:
        self.problems.append(Finding(self.study.label, key, found, expected, step))


def _located(error: InvalidInput, file: str, key: str) -> list[Finding]:
    """Say of findings about a setting in which config key it was written."""
    return [
        Finding(file, f"{key}.{f.key.rpartition('.')[2]}" if f.key else key, f.found, f.expected, f.next_step)
        for f in error.findings
    ]
