"""Image classification. What differs between data sets is data in their YAML files, the same for every method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kanbench import datasets, seeds
from kanbench.task import Problem, TensorTask, fingerprint


def classification_metrics(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """Return accuracy as a fraction and the mean cross-entropy in nats."""
    return {
        "accuracy": (outputs.argmax(dim=1) == targets).double().mean().item(),
        "cross_entropy": nn.functional.cross_entropy(outputs.double(), targets).item(),
    }


def stratified(labels: np.ndarray, share: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split indices into (rest, share) so that every class keeps its frequency in both, up to rounding."""
    rest, chosen = [], []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        cut = max(1, round(share * len(members)))
        chosen.append(members[:cut])
        rest.append(members[cut:])
    return np.sort(np.concatenate(rest)), np.sort(np.concatenate(chosen))


def load(info, settings, *, seed, dtype, device, data_root: Path | None = None) -> TensorTask:
    """Read a data set, split it for one seed, normalise it and put it on the device.

    Raises:
        MissingData: the files are not where they were sought.
    """
    constants = info.constants
    raw = datasets.digits() if constants["reader"] == "digits" else datasets.read(info.data, data_root)
    train, test = _split_test(raw, settings, seed)
    labels = raw.labels[train]
    keep, held = stratified(labels, settings["validation_fraction"], seeds.numpy_generator(seed, "validation split"))
    train, validation = train[keep], train[held]
    if settings["train_samples"] is not None and settings["train_samples"] < len(train):
        order = seeds.numpy_generator(seed, "training subset").permutation(len(train))
        train = train[np.sort(order[: settings["train_samples"]])]
    indices = {"train": train, "validation": validation, "test": test}
    splits = {
        split: (_normalised(raw.images[chosen], constants, dtype, device), torch.as_tensor(raw.labels[chosen]).to(device))
        for split, chosen in indices.items()
    }
    data = {
        "name": info.name,
        "fingerprint": fingerprint(*(torch.as_tensor(part) for part in (raw.images, raw.labels, train, validation, test))),
        "canonical": raw.canonical,
    }
    shape = (constants["channels"], constants["size"], constants["size"])
    problem = Problem(info.family, int(np.prod(shape)), constants["classes"], shape)
    floors = _floors(splits, constants["classes"])
    return TensorTask(info, problem, splits, data, nn.functional.cross_entropy, classification_metrics, floors)


def _split_test(raw: datasets.Images, settings: Mapping[str, Any], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return training and test indices: the standard split, or a stratified one for a set that has none."""
    if raw.test is None:
        return stratified(raw.labels, settings["test_fraction"], seeds.numpy_generator(seed, "test split"))
    test, limit = raw.test, settings["test_samples"]
    if limit is not None and limit < len(test):
        test = test[np.sort(seeds.numpy_generator(seed, "test subset").permutation(len(test))[:limit])]
    return raw.train, test


def _normalised(images: np.ndarray, constants: Mapping[str, Any], dtype, device) -> Tensor:
    """Return images of bytes, shape `(n, channels, size, size)`, normalised by the published mean and deviation."""
    mean, std = (torch.tensor(constants[key], device=device).view(1, -1, 1, 1) for key in ("mean", "std"))
    return ((torch.as_tensor(images).to(device).float() / 255.0 - mean) / std).to(dtype)


def _floors(splits: Mapping[str, tuple[Tensor, Tensor]], classes: int) -> dict[str, dict[str, float]]:
    """Return the test metrics of always saying the most frequent class of the training split."""
    frequency = torch.bincount(splits["train"][1], minlength=classes).double()
    targets = splits["test"][1]
    outputs = (frequency / frequency.sum()).clamp_min(1e-12).log().expand(len(targets), -1)
    return {"majority": classification_metrics(outputs, targets)}
