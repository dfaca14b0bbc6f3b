"""Turns one spec into one record: builds, measures, trains, evaluates.

Run one by hand:  python -m kanbench train --spec '<json>' --output record.json
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from kanbench.base import seeds
from kanbench.base.errors import Unavailable
from kanbench.base.spec import run_name
from kanbench.baselines import build
from kanbench.measurement import measure
from kanbench.process import watch
from kanbench.process.locks import device_lock
from kanbench.records import provenance
from kanbench.tasks import task as tasks
from kanbench.training import analysis, artifact, failures, loop


def run(
    spec: Mapping[str, Any], *, data_root: Path | None = None, exclusive: bool = False, runs: Path = Path("runs")
) -> dict[str, Any]:
    """Return the record of a spec.

    Args:
        spec: Everything resolved, as `kanbench.study.plan` writes it.
        data_root: Folder of the data sets, where the task needs one.
        exclusive: Keep every other run off the device, so that times can be compared.
        runs: Folder below which runs leave their records, and their weights where the spec says `keep`.

    Outcomes of the training (divergence, out of memory, time-out, an absent package, an error in a plug-in) are records
    too. Programming errors of the harness and missing data are raised.
    """
    attempt = Attempt(spec, data_root, runs)
    if attempt.going:
        with device_lock(attempt.device, exclusive):
            attempt.prepare()
            attempt.train()
        attempt.result["time"]["exclusive"] = exclusive
    return attempt.record()


class Attempt:
    """One run on its way from spec to record: `prepare`, then `train`, then `record`.

    Attributes:
        result: The record so far; a run that ends early keeps what it has shown.
        session: The training, once it is prepared.
    """

    def __init__(self, spec: Mapping[str, Any], data_root: Path | None = None, runs: Path = Path("runs")):
        self.spec, self.data_root, self.runs = spec, data_root, runs
        self.method, _, self.result = failures.lookup(spec)
        self.device = torch.device(spec["device"])
        self.session: loop.Training | None = None
        self._trained = False
        if not self.going:
            return
        if self.device.type == "cuda" and not torch.cuda.is_available():
            reason = f"the spec asks for {self.device}, and torch finds no GPU here"
            missing = {"device": str(self.device), "found": provenance.accelerator()}
            self.result.update(status="skipped", reason=reason, skipped_for=missing)
        else:
            self.result["environment"] = provenance.environment(self.device)

    @property
    def going(self) -> bool:
        """Whether nothing has ended the run so far."""
        return self.result["status"] == "ok"

    @contextmanager
    def outcomes(self) -> Iterator[None]:
        """Turn what may end a run inside the block into the status and reason of its record."""
        status, reason = self.result["status"], self.result["reason"]
        try:
            yield
        except Unavailable as error:
            status, reason = "skipped", str(error)
            if error.missing:
                self.result["skipped_for"] = error.missing
        except loop.Diverged as error:
            status, reason = "diverged", str(error)
        except loop.TimedOut as error:
            status, reason = "timed_out", str(error)
        except BaseException as error:
            self.result.update(failures.of_error(error))
            return
        self.result.update(status=status, reason=reason)

    def prepare(self, alike: Attempt | None = None) -> None:
        """Load the task, measure a step on a model that is thrown away, and build what will be trained.

        Memory that is simulated is taken over from `alike`, a prepared run that differs in seed and rates only.
        """
        spec, result = self.spec, self.result
        occupied = torch.cuda.memory_allocated(self.device) if self.device.type == "cuda" else 0
        with self.outcomes():
            self.task = tasks.load(
                spec["task"]["name"],
                spec["task"]["settings"],
                seed=spec["seed"],
                dtype=getattr(torch, spec["dtype"]),
                device=self.device,
                data_root=self.data_root,
            )
            self._data = tasks.fingerprint(*self.task.held())
            result.update(data=dict(self.task.data), floors=self.task.floors(), selection=dict(self.task.selection))
            self.module = build.load_model_module(self.method.baseline)
            self._adapt = _adaptation(self.module, spec, self.runs)
            subject = self._trainee()
            groups = build.parameter_groups(self.module, subject.model, spec["method"]["settings"])
            result["parameters"] = measure.count_parameters(subject.model, groups)
            result["memory"] = self._memory_of(alike) or _memory(subject, spec, self.device, occupied)
            result["method_info"] = build.described(self.module, self.task.networks(subject.model)[0])
            if self.method.baseline.waivers:
                result["method_info"]["waived"] = dict(self.method.baseline.waivers)
            self.build()

    def _memory_of(self, alike: Attempt | None) -> dict[str, Any] | None:
        """Return the memory of a prepared run where nothing else can come out: simulated, of a network made blindly."""
        if alike is None or not alike.going or self.device.type != "cpu" or build.capability(self.module, "prepare"):
            return None
        if self.spec["training"]["optimiser"] == "lbfgs":  # its line search goes as the data say
            return None
        same = alike.result["parameters"] == self.result["parameters"]
        return copy.deepcopy(alike.result["memory"]) if same else None

    def build(self) -> None:
        """Set up the training from its first step, with a newly initialised model."""
        subject = self._trainee()
        self._analyses = analysis.Analyses(self.module, subject.model, self.task, self.spec, self.device)
        order = seeds.generator(self.spec["seed"], "order", self.device)
        self.session = loop.Training(subject, self.spec["training"], order, self.device, self._analyses.observe)

    def _trainee(self) -> loop.Trainee:
        spec, module = self.spec, self.module
        with seeds.seeded(spec["seed"], "initialisation"):
            model = self.task.assemble(
                lambda problem: build.build(self.method, spec["method"]["settings"], problem),
                build.capability(module, "share"),
            ).to(device=self.device, dtype=getattr(torch, spec["dtype"]))
            self._adapt(model)
            self._look_at_data(model)
        groups = build.parameter_groups(module, model, spec["method"]["settings"])
        optimiser = loop.make_optimiser(groups, spec["training"])
        hooks = build.hooks(module, model)
        return loop.Trainee(model, self.task, optimiser, **hooks)

    def _look_at_data(self, model: torch.nn.Module) -> None:
        """Let the baseline's `prepare` see a probe batch: initialisation and grouping may depend on the data."""
        prepare = build.capability(self.module, "prepare")
        if prepare is None:
            return
        probe = seeds.generator(self.spec["seed"], "probe", self.device)
        batch = next(self.task.batches(self.spec["training"]["batch_size"], probe))
        for network in self.task.networks(model):
            prepare(network, batch)

    def train(self) -> None:
        """Train to the end, where nothing has ended the run before."""
        if not self.going:
            return
        started = time.perf_counter()
        with self.outcomes(), watch.within(self.spec["training"]["timeout_seconds"]):
            self.session.run()
        self.conclude(time.perf_counter() - started, self.session.timer.summary())

    def conclude(self, seconds: float, step_seconds: Mapping[str, float | None]) -> None:
        """Enter what the training has shown, however it ended."""
        history, result = self.session.history, self.result
        if self.going:
            with self.outcomes():
                self._check_data()
        result["environment"]["threads"] = torch.get_num_threads()  # a plug-in may have changed it
        result["time"].update(train_seconds=seconds, step_seconds=dict(step_seconds), capture=self.session.capture)
        result.update(curve=history.curve, analyses=self._analyses.results)
        if not self.going:
            return
        result["metrics"] = {
            "last": history.last,
            "selected": history.selected,
            "legacy_best_on_test": history.legacy,
        }
        with self.outcomes():
            self._analyses.finish()
        self._trained = self.going

    def _check_data(self) -> None:
        """Raise BrokenContract where something has changed the data of the task in place: all metrics are of others."""
        if tasks.fingerprint(*self.task.held()) != self._data:
            raise build.BrokenContract(f"hooks: {self.method.name} changed the data of the task during training")

    def record(self) -> dict[str, Any]:
        """Return the record; leave the weights of the selected step where the spec says `keep`."""
        if "keep" in self.spec:
            trained = self.session.trainee.model if self._trained else None
            self.result["artifacts"] = artifact.write(trained, self.result, artifact.path(self.runs, self.spec))
        return self.result


def _adaptation(module: Any, spec: Mapping[str, Any], runs: Path) -> Callable[[torch.nn.Module], None]:
    """Return what makes of a new model the one that training starts from, given what another run learned."""
    source = spec.get("source")
    if source is None:
        return lambda model: None
    adapt = build.capability(module, "adapt")
    if adapt is None:
        raise Unavailable(f"no adapt: {spec['method']['name']} cannot start from another run")
    state = None
    if source["spec"] is not None:
        state, status = artifact.read(runs, source["spec"])
        if status != "ok":
            raise Unavailable(f"the run to start from is {status}: {run_name(source['spec'])}")
    return lambda model: adapt(model, state, source["adapt"])


def _memory(subject: loop.Trainee, spec: Mapping[str, Any], device: torch.device, occupied: int = 0) -> dict[str, Any]:
    """Return the memory of a training step and of an evaluation, on a model that is thrown away afterwards.

    `occupied` are the bytes that other runs of this process hold on the device; they are not counted.
    """
    generator = seeds.generator(spec["seed"], "measurement", device)
    batch = next(subject.task.batches(spec["training"]["batch_size"], generator))
    inputs = [part for part in tree_leaves(batch) if torch.is_tensor(part)]
    result = {
        "saved_for_backward_bytes": measure.saved_for_backward(subject.model, lambda: subject.loss(batch), inputs)
    }
    subject.step(batch)  # creates the optimiser's state
    allocated = reserved = evaluated = None
    if device.type == "cuda":
        allocated, reserved = measure.cuda_peak(lambda: subject.step(batch), device)
        evaluated, _ = measure.cuda_peak(lambda: subject.task.evaluate(subject.model, "validation"), device)
    simulated = measure.simulated_peak(subject.model, subject.optimiser, lambda: subject.step(batch), inputs)
    return {
        "peak_allocated_bytes": allocated and allocated - occupied,
        "peak_reserved_bytes": None if occupied else reserved,
        "eval_peak_allocated_bytes": evaluated and evaluated - occupied,
        "resident_data_bytes": subject.task.resident_bytes(),
        **result,
        **simulated,
    }
