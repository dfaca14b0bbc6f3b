"""Reads image data sets from disk; downloads only where it is told to.

A set is sought below the data root: the argument, else the environment variable KANBENCH_DATA, else `.data/` in the
repository. Two forms are accepted: the original archives as torchvision lays them out, and a folder of images
`<name>-images/{train,test}/<class>/*`, whose pixels are not canonical where they were compressed.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kanbench import paths
from kanbench.errors import MissingData

VARIABLE = "KANBENCH_DATA"
MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""MD5 of the four unpacked files of LeCun, Cortes and Burges."""


@dataclass(frozen=True)
class Images:
    """Images of bytes, shape `(n, channels, height, width)`, and their labels; `test` is None where there is no split."""

    images: np.ndarray
    labels: np.ndarray
    train: np.ndarray | None = None
    test: np.ndarray | None = None
    canonical: bool = True


def data_root(given: Path | str | None = None) -> Path:
    """Return the folder in which data sets are sought."""
    return Path(given or os.environ.get(VARIABLE) or paths.root() / ".data")


def digits() -> Images:
    """Return the 1,797 handwritten digits of 8 × 8 pixels that ship with scikit-learn."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255.0 / 16.0)).astype(np.uint8)[:, None]
    return Images(images, bunch.target.astype(np.int64))


def fetch(name: str, root: Path | None = None, *, download: bool = False) -> str:
    """Check that a data set can be read, after downloading it if asked to; return one line that identifies it.

    Raises:
        MissingData: it is absent, corrupt, or unknown.
    """
    folder = data_root(root)
    if download:
        _download(name, folder)
    found = read(name, folder)
    digest = hashlib.sha256(found.images.tobytes() + found.labels.tobytes()).hexdigest()
    return f"{name}: {len(found.labels)} images, sha256 {digest}, canonical: {str(found.canonical).lower()}"


def read(name: str, root: Path | None = None) -> Images:
    """Return a data set from disk.

    Raises:
        MissingData: naming every place that was looked at, and how to get the files.
    """
    folder = data_root(root)
    if name not in READERS:
        raise MissingData(f"no reader for the data set '{name}'; known: {', '.join(sorted(READERS))}")
    pictures = folder / f"{name}-images"
    found = READERS[name](folder)
    if found is not None:
        return found
    if pictures.is_dir():
        return _image_folder(pictures)
    sought = "\n".join(f"    {place}" for place in [*_places(folder), pictures / "{train,test}/<class>/*"])
    raise MissingData(
        f"the data set '{name}' is not on disk. Sought below {folder}:\n{sought}\n"
        f"  To get it: `python -m kanbench data {name} --download`, or put the files there, or point {VARIABLE} (or "
        "`data_root` of the study) at a folder that has them."
    )


def _places(folder: Path) -> list[Path]:
    return [folder / "MNIST" / "raw" / f"{name}[.gz]" for name in MNIST_MD5]


def _mnist(folder: Path) -> Images | None:
    """Read the four IDX files, plain or gzipped; None where one is absent."""
    parts = {}
    for name, expected in MNIST_MD5.items():
        path = next((p for p in (folder / "MNIST/raw" / name, folder / "MNIST/raw" / f"{name}.gz") if p.is_file()), None)
        if path is None:
            return None
        parts[name] = _idx(path, expected)
    images = np.concatenate([parts["train-images-idx3-ubyte"], parts["t10k-images-idx3-ubyte"]])[:, None]
    labels = np.concatenate([parts["train-labels-idx1-ubyte"], parts["t10k-labels-idx1-ubyte"]]).astype(np.int64)
    cut = len(parts["train-labels-idx1-ubyte"])
    return Images(images, labels, np.arange(cut), np.arange(cut, len(labels)))


def _idx(path: Path, expected: str) -> np.ndarray:
    """Return the array of an IDX file of bytes.

    Raises:
        MissingData: the content has another checksum than the original.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, gzip.zlib.error) as error:
        content, reason = b"", f"it cannot be unpacked ({error})"
    else:
        reason = f"its MD5 is {hashlib.md5(content).hexdigest()}"
    if hashlib.md5(content).hexdigest() != expected:
        raise MissingData(
            f"{path} is corrupt: {reason}; expected is {expected} (of the unpacked file). Delete it and get it again: "
            "`python -m kanbench data mnist --download`."
        )
    dimensions = content[3]
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _image_folder(folder: Path) -> Images:
    """Read `{train,test}/<class>/*`; classes are numbered in alphabetical order."""
    from PIL import Image

    classes = sorted(entry.name for entry in (folder / "train").iterdir() if entry.is_dir())
    images, labels, bounds = [], [], []
    for split in ("train", "test"):
        for label, name in enumerate(classes):
            for path in sorted((folder / split / name).iterdir()):
                pixels = np.asarray(Image.open(path), dtype=np.uint8)
                images.append(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
                labels.append(label)
        bounds.append(len(labels))
    train, test = np.arange(bounds[0]), np.arange(bounds[0], bounds[1])
    return Images(np.stack(images), np.array(labels, dtype=np.int64), train, test, canonical=False)


def _download(name: str, folder: Path) -> None:
    from kanbench.torchvision_compat import import_datasets

    if name not in DOWNLOADS:
        raise MissingData(f"no download for '{name}'; known: {', '.join(sorted(DOWNLOADS))}")
    try:
        getattr(import_datasets(), DOWNLOADS[name])(root=str(folder), download=True)
    except (OSError, RuntimeError) as error:
        raise MissingData(f"'{name}' could not be downloaded into {folder}: {error}") from error


READERS = {"mnist": _mnist}
DOWNLOADS = {"mnist": "MNIST"}
