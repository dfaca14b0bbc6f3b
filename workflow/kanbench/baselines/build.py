"""Imports a baseline's `model.py` by its path and builds models with it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from kanbench.base.errors import KanbenchError, Unavailable
from kanbench.baselines import depends
from kanbench.baselines.discovery import MODEL, REST, Baseline, Method
from kanbench.tasks.task import Problem

OFFERS = (
    "build", "parameter_groups", "penalty", "after_step", "idle_hooks", "prepare", "declines", "describe",
    "memory_terms", "edge_functions", "to_pykan", "dense_copy", "generated_forms", "prompts", "along_prompts",
    "clusters", "coefficients", "share", "adapt",
)  # fmt: skip
"""Functions of `model.py` that the harness calls where they are offered; a test compares the list with the calls."""
GROUP_KEYS = ("name", "params", "lr_scale", "weight_decay")


class BrokenContract(KanbenchError):
    """A baseline does something that the contract forbids; the message begins with the name of the rule."""


def load_model_module(baseline: Baseline) -> ModuleType:
    """Return the module of `model.py`; it may import the other files of its folder as `from .name import …`.

    Raises:
        Unavailable: a package that the baseline `requires` cannot be imported.
        BrokenContract: the file, or a package that is here, cannot be imported, or there is no function `build`.
    """
    path = baseline.path / MODEL
    seen = f"{path}:{path.stat().st_mtime_ns}"
    name = f"kanbench_baseline_{baseline.name}_{hashlib.sha256(seen.encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        with contained_generators():
            for package in baseline.requires:
                _require(baseline, package)
            _execute(name, path)
    if not callable(getattr(sys.modules[name], "build", None)):
        raise BrokenContract(f"builds: {path} has no function build(problem, settings)")
    return sys.modules[name]


def _execute(name: str, path: Path) -> None:
    """Run `model.py` as the module `name`; its folder is searched for relative imports."""
    specification = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, ImportError):
            raise BrokenContract(f"builds: {path} cannot be imported: {error}") from error
        raise


def _require(baseline: Baseline, package: str) -> None:
    """Import a package; one that is not there has the run skipped, one that is there and broken is an error."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        if depends.is_there(package):
            raise BrokenContract(f"builds: the package '{package}' is here and cannot be imported: {error}") from error
        reason = f"{baseline.name} needs the package '{package}': {error}"
        raise Unavailable(reason, {"package": package, "found": None}) from error


def build(method: Method, settings: Mapping[str, Any], problem: Problem) -> nn.Module:
    """Return a model for a problem, initialised from the global generators, which are left as they were found.

    Args:
        settings: Complete settings of the method; they reach the baseline read-only.

    Raises:
        Unavailable: as `load_model_module`, or the baseline declines these settings on this problem.
        BrokenContract: as `load_model_module`.
    """
    module = load_model_module(method.baseline)
    declines = capability(module, "declines")
    reason = declines(problem, read_only(settings)) if declines else None
    if reason:
        raise Unavailable(f"{method.name} cannot be built: {reason}")
    with contained_generators():
        model = module.build(problem, read_only(settings))
    if not isinstance(model, nn.Module):
        raise BrokenContract(f"builds: {method.name} built a {type(model).__name__}, not a torch.nn.Module")
    return model


def read_only(value: Any) -> Any:
    """Return a view of nested mappings and lists that cannot be changed."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: read_only(part) for key, part in value.items()})
    return tuple(map(read_only, value)) if isinstance(value, (list, tuple)) else value


@contextmanager
def contained_generators() -> Iterator[None]:
    """Restore the global generators of torch, NumPy and `random` after the block; imports and constructors draw."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - third-party code draws from it
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


_SWITCHES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "deterministic algorithms": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "the matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "the working directory": (os.getcwd, os.chdir),
}
"""Global state of a process that runs share, with how it is read and set."""


def switches() -> dict[str, Any]:
    """Return the global state that a baseline may not change, by its name."""
    return {name: read() for name, (read, _) in _SWITCHES.items()}


def switched(before: Mapping[str, Any]) -> str:
    """Return in words what differs from an earlier `switches()`; empty where nothing does."""
    found = {name: (before[name], value) for name, value in switches().items() if value != before[name]}
    return ", ".join(f"{name} from {old} to {new}" for name, (old, new) in found.items())


def restore(before: Mapping[str, Any]) -> None:
    """Set the global state as it was."""
    for name, value in before.items():
        if switches()[name] != value:
            _SWITCHES[name][1](value)


def capability(module: ModuleType, name: str) -> Callable | None:
    """Return an optional function of `model.py`, or None where the baseline does not offer it."""
    return getattr(module, name, None)


def described(module: ModuleType, network: nn.Module) -> dict[str, Any]:
    """Return what the baseline's `describe` says of a network, nothing where it offers none. Raises BrokenContract."""
    describe = capability(module, "describe")
    found = {} if describe is None else describe(network)
    if not isinstance(found, Mapping):
        raise BrokenContract(f"describes: describe returned a {type(found).__name__}, not a mapping")
    return dict(found)


def hooks(module: ModuleType, model: nn.Module) -> dict[str, Callable | None]:
    """Return the baseline's `penalty` and `after_step`, without those that `idle_hooks(model)` names.

    A hook that does nothing for a model would still keep it out of what serves models without hooks only, such as
    training several seeds together.
    """
    idle = capability(module, "idle_hooks")
    left_out = idle(model) if idle else ()
    return {name: None if name in left_out else capability(module, name) for name in ("penalty", "after_step")}


def parameter_groups(module: ModuleType, model: nn.Module, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the trainable parameters in named groups; what the baseline puts into none goes to the group `other`.

    A group is `{"name", "params"}` and may carry `lr_scale` and `weight_decay`.

    Raises:
        BrokenContract: a parameter is in two groups or not of this model, or a group has an unknown key.
    """
    offered = capability(module, "parameter_groups")
    groups = [dict(group) for group in offered(model, read_only(settings))] if offered else []
    trainable = {id(parameter): parameter for parameter in model.parameters() if parameter.requires_grad}
    own, left = {id(parameter) for parameter in model.parameters()}, dict(trainable)
    for group in groups:
        unknown = set(group) - set(GROUP_KEYS)
        if unknown or not {"name", "params"} <= set(group):
            expected = ", ".join(GROUP_KEYS)
            raise BrokenContract(f"groups: the keys of a group are {', '.join(group)}; known are {expected}")
        members = list(group["params"])
        if any(id(parameter) not in own for parameter in members):
            raise BrokenContract(f"groups: group '{group['name']}' holds a tensor that is no parameter of the model")
        group["params"] = [parameter for parameter in members if id(parameter) in trainable]
        for parameter in group["params"]:
            if left.pop(id(parameter), None) is None:
                raise BrokenContract(f"groups: a parameter of group '{group['name']}' is in two places")
    if left:
        groups.append({"name": REST, "params": list(left.values())})
    return [group for group in groups if group["params"]]
