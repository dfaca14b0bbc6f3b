"""Several formulas at once: one network each, which share what their baseline can share (its meta-learners)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kanbench.base.errors import Finding, InvalidInput, Unavailable, nearest
from kanbench.tasks import feynman, taskinfo
from kanbench.tasks.task import Task, TensorTask, evaluating


def members(settings: Mapping[str, Any]) -> list[str]:
    """Return the ids of the runnable formulas that a family takes, in the order of their list."""
    inside = settings["members"] == "kind"
    listed, held_out = taskinfo.formulas(), _ids(settings["held_out"])
    found = [
        name
        for name in taskinfo.formula_ids("runnable")
        if name not in held_out and (feynman.kind(listed[name]) == settings["kind"]) == inside
    ]
    count = min(settings["max_formulas"] or len(found), len(found))
    return [found[position * len(found) // count] for position in range(count)]


def _ids(text: str) -> list[str]:
    """Return the ids in a text that commas separate. Raises InvalidInput where one is no formula."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    known = list(taskinfo.formulas())
    problems = [
        Finding("task feynman_family", "held_out", f"unknown formula '{name}'", nearest(name, known), "correct the id")
        for name in found
        if name not in known
    ]
    if problems:
        raise InvalidInput(problems)
    return found


class FamilyTask(Task):
    """Formulas that are fitted side by side; every one weighs the same, whatever the scale of its values.

    A batch is a tuple with one batch of every formula. The loss is the mean over formulas of the squared error over
    the variance of the training targets; the metrics are means over formulas.
    """

    def __init__(self, info: taskinfo.TaskInfo, parts: list[TensorTask], name: str):
        self.metric, self.goal, self.selection = info.metric, info.goal, info.selection
        self.parts, self.problem = parts, parts[0].problem
        joined = "".join(part.data["fingerprint"] for part in parts)
        fingerprint = hashlib.sha256(joined.encode()).hexdigest()
        self.data = {"name": name, "fingerprint": fingerprint, "canonical": True}
        self._scales = [part.splits["train"][1].var().clamp_min(torch.finfo(torch.float32).tiny) for part in parts]

    def assemble(self, build, share) -> nn.Module:
        if share is None:
            raise Unavailable("no share: the networks of a family have nothing in common here")
        networks = [build(part.problem) for part in self.parts]
        share(networks)
        return nn.ModuleList(networks)

    def networks(self, model: nn.Module) -> list[nn.Module]:
        return list(model)

    def batches(self, batch_size, generator) -> Iterator[tuple[tuple[Tensor, Tensor], ...]]:
        """Yield a tuple of one batch a formula, each drawn by `TensorTask.batches` from the one generator."""
        streams = [part.batches(batch_size, generator) for part in self.parts]
        while True:
            yield tuple(next(stream) for stream in streams)

    def steps_per_epoch(self, batch_size) -> int:
        return max(part.steps_per_epoch(batch_size) for part in self.parts)

    @property
    def train_size(self) -> int:
        return sum(part.train_size for part in self.parts)

    def held(self) -> list[Tensor]:
        return [tensor for part in self.parts for tensor in part.held()]

    def resident_bytes(self) -> int:
        return sum(part.resident_bytes() for part in self.parts)

    def loss(self, model, batch) -> Tensor:
        losses = [
            part.loss(network, piece) / scale
            for part, network, piece, scale in zip(self.parts, model, batch, self._scales, strict=True)
        ]
        return torch.stack(losses).mean()

    def evaluate(self, model, split) -> dict[str, float]:
        with evaluating(model):
            found = [part.evaluate(network, split) for part, network in zip(self.parts, model, strict=True)]
        return {name: sum(metrics[name] for metrics in found) / len(found) for name in found[0]}

    def floors(self) -> dict[str, dict[str, float]]:
        found = [part.floors() for part in self.parts]
        return {
            floor: {name: sum(each[floor][name] for each in found) / len(found) for name in metrics}
            for floor, metrics in found[0].items()
        }


def load(info, settings, *, seed, dtype, device, data_root=None) -> FamilyTask:
    """Draw the points of every formula of a family for one seed."""
    single = taskinfo.discover()["feynman"]
    shared = {key: value for key, value in settings.items() if key.endswith("_samples") or key == "input_scaling"}
    parts = [
        feynman.load(
            single, taskinfo.resolve("feynman", {**shared, "formula": name}), seed=seed, dtype=dtype, device=device
        )
        for name in members(settings)
    ]
    what = f"{settings['kind']} formulas" if settings["members"] == "kind" else f"formulas but {settings['kind']}"
    return FamilyTask(info, parts, f"{len(parts)} {what}")
