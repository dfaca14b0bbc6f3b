"""Whether a data set seems to be on disk, found out without importing what reads it: the plan asks at every call.

The data rule reads and checks the set; here its folder or file alone is looked for.
"""

from __future__ import annotations

from pathlib import Path

from kanbench.base import paths

PLACES = {
    "mnist": "MNIST",
    "fmnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "emnist_letters": "EMNIST",
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "svhn": "train_32x32.mat",
}
"""What each set of torchvision lies in, below the folder of the data sets."""


def is_there(name: str, given: Path | str | None = None) -> bool:
    """Tell whether a data set seems to be there; one that is not known here is left to the rule that checks it."""
    folder = paths.data_root(given)
    if name not in PLACES:
        return True
    return any((folder / place).exists() for place in (PLACES[name], f"{name}-images"))


def command(name: str, given: Path | str | None = None) -> str:
    """Return the line that fetches a data set."""
    where = f" --root {given}" if given else ""
    return f"python -m kanbench data {name}{where} --download"
