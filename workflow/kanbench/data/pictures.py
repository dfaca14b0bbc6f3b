"""Reads a folder of pictures, `{train,test}/<class>/*`, and keeps the pixels in a cache.

Decoding tens of thousands of files takes longer than many a run, so the pixels are written once to
`<cache>/<folder>-<mode>-<fingerprint>.npz`. The fingerprint covers the path below the folder, the size and the time of
change of every file: whatever is changed is read anew. The cache is the environment variable KANBENCH_CACHE, else
`.data/cache/` in the repository; it may be deleted at any time, and where it cannot be written nothing is kept.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kanbench.base import paths
from kanbench.base.atomic import replacing
from kanbench.base.errors import MissingData

VARIABLE = "KANBENCH_CACHE"
SPLITS = ("train", "test")
LITTER = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r")
"""What Windows and macOS leave in folders, in lower case; names that begin with a dot are left out too."""
FORMAT = 1
"""Raised where the same files would give other pixels or labels."""


@dataclass(frozen=True)
class Pictures:
    """Images of bytes `(n, channels, height, width)` with their labels; the first `train_count` are for training."""

    images: np.ndarray
    labels: np.ndarray
    train_count: int


def cache_root() -> Path:
    """Return the folder in which decoded pictures are kept."""
    return Path(os.environ.get(VARIABLE) or paths.root() / ".data" / "cache")


def read(folder: Path, mode: str) -> Pictures:
    """Return the pictures of a folder; classes are numbered in alphabetical order.

    Args:
        folder: Holds `train` and `test`, with one folder a class in each.
        mode: `L` for grey pictures, `RGB` for colour.

    Raises:
        MissingData: the folders are not as expected, a file is no picture, or sizes differ.
    """
    files = _files(folder)
    path = cache_root() / f"{folder.name}-{mode}-{_fingerprint(folder, files, mode)[:16]}.npz"
    kept = _load(path)
    if kept is not None:
        return kept
    found = _decode(folder, files, mode)
    try:
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, images=found.images, labels=found.labels, train_count=found.train_count)
    except OSError:
        pass  # a cache that cannot be written costs time, not the run
    return found


def _load(path: Path) -> Pictures | None:
    try:
        with np.load(path, allow_pickle=False) as content:
            return Pictures(content["images"], content["labels"], int(content["train_count"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _files(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Return the names of the files by split and class, all in order; names alone, since there may be many."""
    classes = {split: _visible(folder / split, folders=True) for split in SPLITS}
    if not classes["train"] or classes["train"] != classes["test"]:
        raise MissingData(
            f"{folder} is not a folder of images: expected train/<class>/* and test/<class>/* with the same classes; "
            f"found {len(classes['train'])} and {len(classes['test'])} of them"
        )
    found = {split: {label: _visible(folder / split / label) for label in classes[split]} for split in SPLITS}
    if not all(any(groups.values()) for groups in found.values()):
        raise MissingData(f"{folder} is not a folder of images: expected files in train/<class>/ and test/<class>/")
    return found


def _visible(folder: Path, *, folders: bool = False) -> list[str]:
    """Return the names of the files of a folder, or of its folders, without what operating systems leave there."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() == folders and not _is_litter(entry.name))


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def _fingerprint(folder: Path, files: dict[str, dict[str, list[str]]], mode: str) -> str:
    total = hashlib.sha256(f"{FORMAT} {mode} {folder.resolve()}".encode())
    for split, groups in files.items():
        for label, names in groups.items():
            place = f"{folder}/{split}/{label}"
            for name in names:
                seen = os.stat(f"{place}/{name}")
                total.update(f"{split}/{label}/{name} {seen.st_size} {seen.st_mtime_ns}\n".encode())
    return total.hexdigest()


def _decode(folder: Path, files: dict[str, dict[str, list[str]]], mode: str) -> Pictures:
    images, labels, bounds = [], [], []
    for split, groups in files.items():
        for number, (label, names) in enumerate(groups.items()):
            images += [_picture(folder / split / label / name, mode) for name in names]
            labels += [number] * len(names)
        bounds.append(len(labels))
    sizes = sorted({image.shape for image in images})
    if len(sizes) != 1:
        raise MissingData(f"the images of {folder} are not all of one size: {sizes}")
    return Pictures(np.stack(images), np.array(labels, dtype=np.int64), bounds[0])


def _picture(path: Path, mode: str) -> np.ndarray:
    """Return one image of bytes, shape `(channels, height, width)`."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert(mode), dtype=np.uint8)
    except OSError as error:
        raise MissingData(f"{path} cannot be read as an image: {error}") from None
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
