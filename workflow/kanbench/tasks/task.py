"""What a method is trained on: the problem it is built for, its batches, its loss and its metrics."""

from __future__ import annotations

import hashlib
import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kanbench.tasks import taskinfo

SPLITS = ("train", "validation", "test")
EVALUATION_BATCH = 1024
"""Points or images a forward pass of an evaluation takes at most, so that it never needs more memory than training."""


@dataclass(frozen=True)
class Problem:
    """What `build(problem, settings)` of a baseline gets to know.

    Attributes:
        family: `function_fitting`, `classification` or `pde`.
        inputs: Number of input features; images are counted flattened.
        outputs: Number of outputs.
        input_shape: Shape of one input without the batch, `(inputs,)` or `(channels, height, width)`.
        grid_range: Interval on which bases place their grid.
    """

    family: str
    inputs: int
    outputs: int
    input_shape: tuple[int, ...] = ()
    grid_range: tuple[float, float] = (-1.0, 1.0)

    def __post_init__(self):
        object.__setattr__(self, "input_shape", tuple(self.input_shape) or (self.inputs,))

    def width(self, settings: Mapping[str, Any]) -> list[int]:
        """Return `[inputs, hidden_width, …, outputs]` with `depth` hidden layers.

        Where a method has the setting `taper`, the n-th hidden layer (from 0) has `hidden_width` · `taper`^n units,
        rounded, and one at least.
        """
        taper = settings.get("taper", 1.0)
        hidden = [max(1, round(settings["hidden_width"] * taper**layer)) for layer in range(settings["depth"])]
        return [self.inputs, *hidden, self.outputs]


class Task(ABC):
    """A loaded task: data on its device, and how a model is judged on it."""

    problem: Problem
    data: Mapping[str, Any]
    metric: str
    goal: str
    selection: Mapping[str, str]

    def assemble(
        self, build: Callable[[Problem], nn.Module], share: Callable[[list[nn.Module]], None] | None
    ) -> nn.Module:
        """Return the model to train: what `build` makes of the problem, or several networks in one module.

        Args:
            build: Builds a network for a problem, with its initialisation seeded.
            share: The baseline's `share(networks)`, which makes networks use one set of meta-learners; or None.
        """
        return build(self.problem)

    def networks(self, model: nn.Module) -> list[nn.Module]:
        """Return what `build` made, given what `assemble` returned."""
        return [model]

    @abstractmethod
    def batches(self, batch_size: int | None, generator: torch.Generator) -> Iterator[Any]:
        """Yield training batches without end; `None` is the full batch. Draws on the device, from `generator`."""

    @abstractmethod
    def steps_per_epoch(self, batch_size: int | None) -> int:
        """Return how many batches make an epoch; 1 where data are drawn afresh."""

    @property
    def train_size(self) -> int | None:
        """Number of training samples; None where data are drawn afresh."""
        return None

    def held(self) -> list[Tensor]:
        """Return the tensors that the task keeps and a run may not change, in a fixed order."""
        return []

    def resident_bytes(self) -> int:
        """Return the bytes that the data occupy on the device during the whole run."""
        return 0

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Return the scalar training loss."""

    @abstractmethod
    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Return the metrics on `train`, `validation` or `test`, without touching the model's mode or gradients."""

    def floors(self) -> dict[str, dict[str, float]]:
        """Return the test metrics of trivial predictors by name."""
        return {}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and every module of it back into the mode that it was in."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def fingerprint(*tensors: Tensor) -> str:
    """Return the SHA-256 over the types, shapes and values of tensors of any dtype; float64 is rounded to float32.

    The last bits of a sine or an exponential in float64 depend on the processor; rounded, the same data have the same
    fingerprint on every machine.
    """
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
        rounded = tensor.float() if tensor.dtype == torch.float64 else tensor
        total.update(rounded.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()


class TensorTask(Task):
    """A supervised task whose splits are tensors on the device.

    Every sample is used once an epoch; the last batch of an epoch is smaller where the batch size does not divide it.

    Args:
        splits: `{"train": (inputs, targets), "validation": …, "test": …}`.
        criterion: Loss of `(outputs, targets)`.
        metrics: Metrics of `(outputs, targets)` of a whole split.
        floors: Test metrics of trivial predictors.
    """

    def __init__(
        self,
        info: taskinfo.TaskInfo,
        problem: Problem,
        splits: Mapping[str, tuple[Tensor, Tensor]],
        data: Mapping[str, Any],
        criterion: Callable[[Tensor, Tensor], Tensor],
        metrics: Callable[[Tensor, Tensor], dict[str, float]],
        floors: dict[str, dict[str, float]],
    ):
        self.problem, self.splits, self.data = problem, dict(splits), data
        self.metric, self.goal, self.selection = info.metric, info.goal, info.selection
        self._criterion, self._metrics, self._floors = criterion, metrics, floors

    def batches(self, batch_size, generator):
        inputs, targets = self.splits["train"]
        count = len(inputs)
        while batch_size is None or batch_size >= count:
            yield inputs, targets
        while True:
            order = torch.randperm(count, generator=generator, device=inputs.device)
            for chosen in order.split(batch_size):
                yield inputs.index_select(0, chosen), targets.index_select(0, chosen)

    def steps_per_epoch(self, batch_size):
        return 1 if batch_size is None else math.ceil(self.train_size / batch_size)

    @property
    def train_size(self):
        return len(self.splits["train"][0])

    def held(self):
        return [part for pair in self.splits.values() for part in pair]

    def resident_bytes(self):
        return sum(part.nbytes for part in self.held())

    def loss(self, model, batch):
        inputs, targets = batch
        return self._criterion(self._outputs(model, inputs), targets)

    def _outputs(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Return the outputs of a model, `(batch, outputs)`.

        Raises:
            ValueError: they have another shape, which a loss would broadcast against the targets.
        """
        outputs, expected = model(inputs), (len(inputs), self.problem.outputs)
        if outputs.shape != expected:
            found = tuple(outputs.shape)
            raise ValueError(
                f"the model gave outputs of the shape {found} for {len(inputs)} inputs, expected {expected}"
            )
        return outputs

    @torch.no_grad()
    def evaluate(self, model, split):
        inputs, targets = self.splits[split]
        with evaluating(model):
            outputs = torch.cat([self._outputs(model, part) for part in inputs.split(EVALUATION_BATCH)])
        return self._metrics(outputs, targets)

    def floors(self):
        return self._floors


def load(
    name: str,
    settings: Mapping[str, Any],
    *,
    seed: int,
    dtype: torch.dtype,
    device: torch.device,
    data_root: Path | None = None,
) -> Task:
    """Return a task with its data drawn or read for one seed.

    Raises:
        MissingData: the data set is not on disk; the message says where it was sought and how to get it.
    """
    info = taskinfo.discover()[name]
    module = importlib.import_module(f"kanbench.tasks.{info.module}")
    return module.load(info, settings, seed=seed, dtype=dtype, device=device, data_root=data_root)
