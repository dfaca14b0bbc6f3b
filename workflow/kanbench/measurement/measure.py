"""What a training step costs: parameters counted, memory by category, time per step.

Memory is that of one training step *after* the optimiser state exists; evaluation is measured apart.
"""

from __future__ import annotations

import importlib
import sys
import time
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks


def _import_mem_tracker() -> type:
    """Return torch's memory tracker without the rest of its package, whose import takes as long as a short run."""
    package = "torch.distributed._tools"
    if package in sys.modules:
        return importlib.import_module(f"{package}.mem_tracker").MemTracker
    stand_in = types.ModuleType(package)
    stand_in.__path__ = [str(Path(torch.distributed.__file__).parent / "_tools")]
    sys.modules[package] = stand_in
    try:
        return importlib.import_module(f"{package}.mem_tracker").MemTracker
    finally:
        del sys.modules[package]


MemTracker = _import_mem_tracker()
WARM_UP_STEPS = 3
_CATEGORIES = {
    "Parameter": "parameter",
    "Buffer": "buffer",
    "Gradient": "gradient",
    "Optstate": "optimiser",
    "Activation": "activation",
    "Temp": "temporary",
    "Other": "other",
}


def count_parameters(model: nn.Module, groups: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return trainable, total and buffer element counts, and the trainable count of every group.

    Convention: counted, never computed by formula; a tensor that two modules share counts once.
    """
    by_group: dict[str, int] = {}
    for group in groups:
        by_group[group["name"]] = by_group.get(group["name"], 0) + sum(p.numel() for p in group["params"])
    return {
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "total": sum(p.numel() for p in model.parameters()),
        "buffers": sum(b.numel() for b in model.buffers()),
        "groups": by_group,
    }


def saved_for_backward(model: nn.Module, loss: Callable[[], torch.Tensor], inputs: Iterable[torch.Tensor]) -> int:
    """Return the bytes that one evaluation of `loss` keeps alive for its backward pass.

    Convention: unique storages; parameters, buffers and the batch itself are left out, since they exist anyway.
    """
    present = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers(), *inputs)}
    storages: dict[int, int] = {}
    held = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in present:  # the address of the data is 0 for tensors that are only simulated
            storages[storage._cdata] = storage.nbytes()
            held.append(tensor.detach())  # a freed address could be given out again and be counted once too few
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss()
    return sum(storages.values())


def simulated_peak(
    model: nn.Module, optimiser: torch.optim.Optimizer, step: Callable[[], Any], inputs: Iterable[torch.Tensor]
) -> dict[str, Any]:
    """Return the peak bytes of `step` as torch's memory tracker accounts them, total and by category.

    The tracker follows every tensor through the dispatcher, so the number needs no GPU and knows no allocator
    rounding. `step` must have run before, so that the optimiser's state exists.
    """
    tracker = _Tracker(model)
    tracker.track_external(model, optimiser, *inputs)
    with tracker:
        step()
    snapshot = tracker.get_tracker_snapshot("peak")
    total, breakdown = 0, dict.fromkeys(_CATEGORIES.values(), 0)
    for usage in snapshot.values():
        for kind, size in usage.items():
            if kind == "Total":
                total += size
            else:
                breakdown[_CATEGORIES[kind.value]] += size
    return {"simulated_peak_bytes": total, "breakdown": breakdown}


class _FrozenAsBuffers:
    """Shows a module's frozen parameters as buffers: the tracker hangs gradient hooks on whatever is a parameter."""

    def __init__(self, module: nn.Module):
        self._module = module

    def parameters(self) -> list[torch.Tensor]:
        return [parameter for parameter in self._module.parameters() if parameter.requires_grad]

    def buffers(self) -> list[torch.Tensor]:
        frozen = [parameter for parameter in self._module.parameters() if not parameter.requires_grad]
        return [*self._module.buffers(), *frozen]


class _Tracker(MemTracker):
    """A tracker that takes a root module called again, as line searches do, for the start of a new iteration."""

    def __init__(self, root: nn.Module):
        super().__init__()
        self._root = root

    def _track_module_params_and_buffers(self, module: nn.Module, install_grad_hooks: bool = True) -> tuple[int, int]:
        return super()._track_module_params_and_buffers(_FrozenAsBuffers(module), install_grad_hooks)

    def _pre_fw_hook(self, module: nn.Module, inputs: Any) -> None:
        if module is self._root and not self._mod_tracker.is_bw:
            self.reset_mod_stats()  # statistics by module are not used here; the peak is kept elsewhere
        super()._pre_fw_hook(module, inputs)


def cuda_peak(action: Callable[[], Any], device: torch.device) -> tuple[int, int]:
    """Return the peak allocated and reserved bytes of `action` on a CUDA device."""
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    action()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)


class StepTimer:
    """Times steps one by one: by events on a CUDA device, so that nothing waits, by the clock elsewhere."""

    def __init__(self, device: torch.device):
        self._cuda = device.type == "cuda"
        self._marks: list[tuple[Any, Any]] = []

    def __enter__(self) -> StepTimer:
        self._start = self._now()
        return self

    def __exit__(self, *exception: object) -> None:
        self._marks.append((self._start, self._now()))

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self) -> list[float]:
        """Return the seconds of every timed step but the warm-up ones."""
        if self._cuda:
            torch.cuda.synchronize()
            every = [start.elapsed_time(end) / 1e3 for start, end in self._marks]
        else:
            every = [end - start for start, end in self._marks]
        return every[WARM_UP_STEPS:] or every

    def summary(self) -> dict[str, float | None]:
        """Return median and quartiles of the seconds a step, nulls where no step ran."""
        seconds = self.seconds()
        if not seconds:
            return {"median": None, "q25": None, "q75": None}
        q25, median, q75 = (float(q) for q in np.quantile(seconds, [0.25, 0.5, 0.75]))
        return {"median": median, "q25": q25, "q75": q75}
