"""Profiles a training step: how much memory it takes, phase by phase, and how long it lasts.

Three numbers stand side by side: *measured* by the CUDA allocator where there is a GPU, *simulated* by following every
tensor of a step without allocating any (so that a step of any size can be simulated on any machine), and *predicted* by
the closed form, from the terms that the baseline offers as `memory_terms`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import psutil
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)

from kanbench.base import seeds
from kanbench.base.errors import Unavailable
from kanbench.baselines import build
from kanbench.measurement import measure, memory_model
from kanbench.process.locks import device_lock
from kanbench.records import provenance
from kanbench.tasks import task as tasks
from kanbench.training import failures, loop

TIMED_STEPS, TIMED_SECONDS = 12, 3.0
MEMORY_SHARE = 0.5
"""Largest share of the machine's memory that a step may be simulated to take and still be run on a processor."""


def run(spec: Mapping[str, Any], *, exclusive: bool = False) -> dict[str, Any]:
    """Return the record of a profiled step. Running out of memory is an outcome; what was predicted is kept."""
    method, info, result = failures.lookup(spec)
    if result["status"] == "skipped":
        return result
    device = torch.device(spec["device"])
    if device.type == "cuda" and not torch.cuda.is_available():
        reason = f"the spec asks for {device}, and torch finds no GPU here"
        missing = {"device": str(device), "found": provenance.accelerator()}
        return result | {"status": "skipped", "reason": reason, "skipped_for": missing}
    result["environment"] = provenance.environment(device)
    result["time"]["exclusive"] = exclusive
    try:
        module = build.load_model_module(method.baseline)
        _predict(spec, method, module, result)
        if (
            device.type == "cpu"
            and result["memory"]["simulated_peak_bytes"] > MEMORY_SHARE * psutil.virtual_memory().total
        ):
            return result | {"reason": "not run: the simulated peak is beyond the memory of this machine"}
        with device_lock(device, exclusive):
            _measure(spec, method, module, result, device)
    except Unavailable as error:
        result.update(status="skipped", reason=str(error))
        if error.missing:
            result["skipped_for"] = error.missing
    except BaseException as error:
        result.update(failures.of_error(error))
    return result


def _model(spec: Mapping[str, Any], method: Any, problem: tasks.Problem, device: torch.device) -> torch.nn.Module:
    with seeds.seeded(spec["seed"], "initialisation"):
        model = build.build(method, spec["method"]["settings"], problem)
    return model.to(device=device, dtype=getattr(torch, spec["dtype"]))


def _simulated_model(
    spec: Mapping[str, Any], method: Any, problem: tasks.Problem, mode: FakeTensorMode
) -> torch.nn.Module:
    """Return a model whose tensors have shapes and no storage.

    Where a constructor computes with its weights (least squares, for instance), the model is built and then emptied.
    """
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, spec["dtype"]))
    try:
        with mode, seeds.seeded(spec["seed"], "initialisation"):
            return build.build(method, spec["method"]["settings"], problem)
    except (RuntimeError, NotImplementedError):
        model = _model(spec, method, problem, torch.device("cpu"))
    finally:
        torch.set_default_dtype(dtype)
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            empty = torch.nn.Parameter(mode.from_tensor(parameter.detach()), requires_grad=parameter.requires_grad)
            module._parameters[name] = empty
        for name, buffer in list(module.named_buffers(recurse=False)):
            module._buffers[name] = mode.from_tensor(buffer)
    return model


def _trainee(spec: Mapping[str, Any], module: Any, model: torch.nn.Module, task: tasks.Task) -> loop.Trainee:
    groups = build.parameter_groups(module, model, spec["method"]["settings"])
    optimiser = loop.make_optimiser(groups, spec["training"])
    return loop.Trainee(model, task, optimiser, build.capability(module, "penalty"))


def _predict(spec: Mapping[str, Any], method: Any, module: Any, result: dict[str, Any]) -> None:
    """Fill in the parameter counts, the simulated peak and the closed form.

    No tensor is allocated, unless a method asks for the values of its tensors: then a real step is followed.
    """
    settings = spec["method"]["settings"]
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    try:
        with mode:
            task = _task(spec, torch.device("cpu"))
        model = _simulated_model(spec, method, task.problem, mode)
        with mode:
            _simulate(_trainee(spec, module, model, task), module, settings, result)
    except (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException):
        task = _task(spec, torch.device("cpu"))
        model = _model(spec, method, task.problem, torch.device("cpu"))
        _simulate(_trainee(spec, module, model, task), module, settings, result)
    closed_form = build.capability(module, "memory_terms")
    if closed_form is not None:
        size, kind = spec["task"]["settings"]["batch_size"], torch.device(spec["device"]).type
        terms = closed_form(task.problem, build.read_only(settings), size)
        optimiser = spec["training"]["optimiser"]
        predicted = terms and memory_model.predict(terms, task.problem, size, optimiser=optimiser, device=kind)
        if predicted is not None:
            result["memory"]["predicted"] = predicted


def _simulate(trainee: loop.Trainee, module: Any, settings: Mapping[str, Any], result: dict[str, Any]) -> None:
    """Count parameters and follow one step after the optimiser's state exists."""
    batch = trainee.task.splits["train"]
    groups = build.parameter_groups(module, trainee.model, settings)
    result["parameters"] = measure.count_parameters(trainee.model, groups)
    trainee.step(batch)  # creates the optimiser's state
    simulated = measure.simulated_peak(trainee.model, trainee.optimiser, lambda: trainee.step(batch), batch)
    saved = measure.saved_for_backward(trainee.model, lambda: trainee.loss(batch), batch)
    result["memory"].update(simulated, saved_for_backward_bytes=saved)


def _task(spec: Mapping[str, Any], device: torch.device) -> tasks.Task:
    return tasks.load(
        spec["task"]["name"],
        spec["task"]["settings"],
        seed=spec["seed"],
        dtype=getattr(torch, spec["dtype"]),
        device=device,
    )


def _measure(spec: Mapping[str, Any], method: Any, module: Any, result: dict[str, Any], device: torch.device) -> None:
    """Run the step: memory by phase on a GPU, and the time of a step anywhere."""
    task = _task(spec, device)
    result.update(data=dict(task.data), selection=dict(task.selection))
    trainee = _trainee(spec, module, _model(spec, method, task.problem, device), task)
    batch = task.splits["train"]
    for number in range(measure.WARM_UP_STEPS):
        trainee.step(batch, number)
    result["method_info"] = build.described(module, trainee.model)
    if device.type == "cuda":
        result["memory"].update(_phases(trainee, batch, device))
    timer, started = measure.StepTimer(device), time.perf_counter()
    steps = measure.WARM_UP_STEPS + TIMED_STEPS
    while steps > 0 and (time.perf_counter() - started < TIMED_SECONDS or steps > TIMED_STEPS):
        with timer:
            trainee.step(batch)
        steps -= 1
    result["time"]["step_seconds"] = timer.summary()
    result["time"]["train_seconds"] = time.perf_counter() - started


def _phases(trainee: loop.Trainee, batch: Any, device: torch.device) -> dict[str, Any]:
    """Return the peak of a whole step, and of its phases apart, as the CUDA allocator sees them."""
    allocated, reserved = measure.cuda_peak(lambda: trainee.step(batch), device)
    trainee.optimiser.zero_grad(set_to_none=True)
    kept: list[torch.Tensor] = []
    phases = {
        "forward_bytes": lambda: kept.append(trainee.loss(batch)),
        "backward_bytes": lambda: kept.pop().backward(),
        "optimiser_step_bytes": trainee.optimiser.step,
        "evaluation_bytes": lambda: trainee.task.evaluate(trainee.model, "validation"),
    }
    peaks = {name: measure.cuda_peak(action, device)[0] for name, action in phases.items()}
    return {
        "peak_allocated_bytes": allocated,
        "peak_reserved_bytes": reserved,
        "eval_peak_allocated_bytes": peaks["evaluation_bytes"],
        "phases": peaks,
    }
