"""Image classification. What differs between data sets is data in their YAML files, the same for every method.

A further set of `torchvision.datasets` needs a line in `datasets.SOURCES` and a YAML file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kanbench.base import seeds
from kanbench.base.errors import Finding, InvalidInput, MissingData
from kanbench.data import datasets
from kanbench.data.augment import augment
from kanbench.tasks.task import Problem, TensorTask, fingerprint

HALF = 0.5
"""Mean and deviation of the normalisation `half`, which maps [0, 1] to [-1, 1]."""


class AugmentedTask(TensorTask):
    """A task whose training batches are changed at random by a policy; evaluations see the images as they are.

    The order of the batches is that of the task without a policy: the changes have a generator of their own, which
    follows from the seed of the order.
    """

    def __init__(self, *arguments, policy, mean: Tensor, std: Tensor):
        super().__init__(*arguments)
        self.policy, self.mean, self.std = policy, mean, std

    def batches(self, batch_size, generator):
        seed = seeds.derive(generator.initial_seed(), "augmentation")
        random = torch.Generator(device=generator.device).manual_seed(seed)
        for inputs, targets in super().batches(batch_size, generator):
            pixels = (inputs * self.std + self.mean).clamp_(0.0, 1.0)
            yield augment(pixels, self.policy, random).sub_(self.mean).div_(self.std), targets


def classification_metrics(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """Return accuracy as a fraction and the mean cross-entropy in nats."""
    return {
        "accuracy": (outputs.argmax(dim=1) == targets).double().mean().item(),
        "cross_entropy": nn.functional.cross_entropy(outputs.double(), targets).item(),
    }


def stratified(labels: np.ndarray, share: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split indices into (rest, share), both sorted, so that every class keeps its frequency in both.

    Convention: the share has `round(share * n)` members, handed out to the classes by largest remainder.
    """
    classes, counts = np.unique(labels, return_counts=True)
    exact = share * counts
    taken = np.floor(exact).astype(int)
    missing = max(0, round(share * len(labels)) - taken.sum())
    taken[np.argsort(taken - exact, kind="stable")[:missing]] += 1
    rest, chosen = [], []
    for label, count in zip(classes, taken, strict=True):
        members = generator.permutation(np.flatnonzero(labels == label))
        chosen.append(members[:count])
        rest.append(members[count:])
    return np.sort(np.concatenate(rest)), np.sort(np.concatenate(chosen))


def load(info, settings, *, seed, dtype, device, data_root: Path | None = None) -> TensorTask:
    """Read a data set, split it for one seed, normalise it and put it on the device.

    Raises:
        MissingData: the files are not where they were sought, or are corrupt.
        InvalidInput: more images are asked for than there are.
    """
    raw = datasets.read(info.constants["source"], data_root)
    return from_images(info, raw, settings, seed=seed, dtype=dtype, device=device)


def from_images(info, raw: datasets.Images, settings, *, seed: int, dtype: torch.dtype, device) -> TensorTask:
    """Return the task on images that are in memory already.

    Raises:
        MissingData: a label is none of the classes of the task.
    """
    constants = info.constants
    outside = sorted(set(np.unique(raw.labels).tolist()) - set(range(constants["classes"])))
    if outside:
        raise MissingData(f"{info.name}: found the labels {outside}, expected 0 to {constants['classes'] - 1}")
    indices = split_indices(info, raw, settings, seed)
    shape = (constants["channels"], *(settings["image_size"],) * 2)
    mean, std = moments(constants, settings["normalisation"], device)
    splits = {
        split: (
            _normalised(raw.images[chosen], shape, mean, std, dtype),
            torch.as_tensor(raw.labels[chosen]).to(device),
        )
        for split, chosen in indices.items()
    }
    parts = (raw.images, raw.labels, *indices.values())
    data = {
        "name": info.name,
        "fingerprint": fingerprint(*(torch.as_tensor(part) for part in parts)),
        "canonical": raw.canonical,
    }
    problem = Problem(info.family, int(np.prod(shape)), constants["classes"], shape)
    floors = _floors(splits, constants["classes"])
    given = (info, problem, splits, data, nn.functional.cross_entropy, classification_metrics, floors)
    chosen = settings.get("augmentation", "none")
    if chosen == "none":
        return TensorTask(*given)
    policy = constants["augmentation"][chosen]
    return AugmentedTask(*given, policy=policy, mean=mean.to(dtype), std=std.to(dtype))


def moments(constants: Mapping[str, Any], normalisation: str, device) -> tuple[Tensor, Tensor]:
    """Return the mean that is subtracted and the deviation that is divided by, `(1, channels, 1, 1)` in [0, 1]."""
    half = normalisation == "half"
    values = ([HALF] * constants["channels"] if half else constants[key] for key in ("mean", "std"))
    return tuple(torch.tensor(value, device=device).view(1, -1, 1, 1) for value in values)


def split_indices(info, raw: datasets.Images, settings: Mapping[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Return the sorted indices of each split; validation is carved out of train, class by class."""
    if raw.test is None:
        train, test = stratified(raw.labels, settings["test_fraction"], seeds.numpy_generator(seed, "test split"))
    else:
        train, test = raw.train, _subset(info, "test_samples", settings, raw.test, seed)
    generator = seeds.numpy_generator(seed, "validation split")
    keep, held = stratified(raw.labels[train], settings["validation_fraction"], generator)
    chosen = _subset(info, "train_samples", settings, train[keep], seed)
    return {"train": chosen, "validation": train[held], "test": test}


def _subset(info, key: str, settings: Mapping[str, Any], available: np.ndarray, seed: int) -> np.ndarray:
    """Return as many of the available indices as a setting asks for; all of them where it is null."""
    count = settings[key]
    if count is None:
        return available
    if count > len(available):
        expected = f"at most the {len(available)} images that there are, or null"
        raise InvalidInput([Finding(f"task {info.name}", key, str(count), expected, "lower the number")])
    return np.sort(seeds.numpy_generator(seed, key).permutation(available)[:count])


def _normalised(images: np.ndarray, shape: tuple[int, ...], mean: Tensor, std: Tensor, dtype) -> Tensor:
    """Return images of bytes as `(n, *shape)`, resized where they have another size, normalised by channel.

    Raises:
        MissingData: they have another number of channels than the data set should have.
    """
    if images.shape[1] != shape[0]:
        raise MissingData(f"the images have {images.shape[1]} channels; expected {shape[0]}")
    pixels = torch.as_tensor(images).to(mean.device).float().div_(255.0)
    if pixels.shape[1:] != shape:
        pixels = nn.functional.interpolate(pixels, shape[1:], mode="bilinear", antialias=True).clamp_(0.0, 1.0)
    return pixels.sub_(mean).div_(std).to(dtype)


def _floors(splits: Mapping[str, tuple[Tensor, Tensor]], classes: int) -> dict[str, dict[str, float]]:
    """Return the test metrics of always saying the most frequent class of the training split."""
    frequency = torch.bincount(splits["train"][1], minlength=classes).double()
    targets = splits["test"][1]
    outputs = (frequency / frequency.sum()).clamp_min(1e-12).log().expand(len(targets), -1)
    return {"majority": classification_metrics(outputs, targets)}
