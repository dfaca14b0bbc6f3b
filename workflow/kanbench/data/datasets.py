"""Reads image data sets from disk; downloads only where it is told to.

A set is sought below the data root: the argument, else the environment variable KANBENCH_DATA, else `.data/` in
the repository. Two forms are accepted. The original files lie where `torchvision.datasets` looks for them; those of
the MNIST kind may be left packed (`.gz`): they are unpacked into a temporary folder, since the root may be read-only.
The letters of EMNIST may stay in the archive that holds them. A folder of images
`<name>-images/{train,test}/<class>/*` will do too, but its pixels do not count as canonical (`kanbench.data.pictures`).
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from kanbench.base.errors import MissingData, nearest
from kanbench.base.paths import DATA_VARIABLE, data_root
from kanbench.data import idx, pictures

SPLITS = ("train", "test")
UNPACKED_MD5 = {
    "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""MD5 of unpacked files, where it is known; torchvision knows the packed ones."""


@dataclass(frozen=True)
class Images:
    """Images of bytes, shape `(n, channels, height, width)`, their labels, and the indices of the standard split.

    `train` and `test` are None where the set has no split of its own. `canonical` says that every file had the
    checksum of the original.
    """

    images: np.ndarray
    labels: np.ndarray
    train: np.ndarray | None = None
    test: np.ndarray | None = None
    canonical: bool = True


@dataclass(frozen=True)
class Source:
    """Where a data set comes from: a class of `torchvision.datasets` and how it is told which split to read.

    `first_label` is the number of the first class in its files, `archive` the one file that holds them all, `counts`
    how many images the splits have.
    """

    loader: str
    options: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"train": {"train": True}, "test": {"train": False}}
    )
    mode: str = "L"
    first_label: int = 0
    archive: str | None = None
    classes: int = 10
    counts: tuple[int, int] = (60_000, 10_000)


SOURCES = {
    "mnist": Source("MNIST"),
    "fmnist": Source("FashionMNIST"),
    "kmnist": Source("KMNIST"),
    "emnist_letters": Source(
        "EMNIST",
        {split: {"split": "letters", "train": split == "train"} for split in SPLITS},
        first_label=1,  # the files count the letters from 1; the released MetaKAN code makes 37 classes of them
        archive="EMNIST/raw/gzip.zip",
        classes=26,
        counts=(124_800, 20_800),
    ),
    "cifar10": Source("CIFAR10", mode="RGB", counts=(50_000, 10_000)),
    "cifar100": Source("CIFAR100", mode="RGB", classes=100, counts=(50_000, 10_000)),
    "svhn": Source("SVHN", {split: {"split": split} for split in SPLITS}, mode="RGB", counts=(73_257, 26_032)),
}


@dataclass(frozen=True)
class Original:
    """A file of a data set: its path below the root and the MD5 of it and of its packed form, where known.

    `content` is what it holds, where its format is idx.
    """

    path: str
    md5: str | None
    packed_md5: str | None = None
    may_be_packed: bool = False
    content: idx.Content | None = None


def fetch(name: str, root: Path | None = None, *, download: bool = False) -> str:
    """Check that a data set can be read, after downloading it if asked to; return one line that identifies it.

    Raises:
        MissingData: it is absent, corrupt, or unknown.
    """
    if download and name != "digits":
        _download(name, data_root(root))
    found = read(name, root)
    digest = hashlib.sha256(found.images.tobytes() + found.labels.tobytes()).hexdigest()
    return f"{name}: {len(found.labels)} images, sha256 {digest}, canonical: {str(found.canonical).lower()}"


def read(name: str, root: Path | None = None) -> Images:
    """Return a data set: `digits` from scikit-learn, any other from disk.

    Raises:
        MissingData: naming every place that was looked at, or the file that is corrupt, and how to get it.
    """
    if name == "digits":
        return _digits()
    source, folder = _source(name), data_root(root)
    files = originals(source)
    absent = [file for file in files if _candidate(folder, file) is None]
    if source.archive and (folder / source.archive).is_file():
        with _unzipped(name, source, files, folder) as root:
            return _read_originals(source, root, canonical=True)
    if not absent:
        with _checked(name, files, folder) as (root, canonical):
            return _read_originals(source, root, canonical)
    place = folder / f"{name}-images"
    if place.is_dir():
        found = pictures.read(place, source.mode)
        cut, count = found.train_count, len(found.labels)
        return Images(found.images, found.labels, np.arange(cut), np.arange(cut, count), canonical=False)
    sought = [f"{folder / file.path}{'[.gz]' if file.may_be_packed else ''}" for file in absent]
    sought += [str(folder / source.archive)] if source.archive else []
    sought.append(str(place / "{train,test}/<class>/*"))
    raise MissingData(
        f"the data set '{name}' is not on disk. Not found:\n"
        + "".join(f"    {place}\n" for place in sought)
        + f"  To get it: `{_command(name, folder)}`, or put the files (or the folder of images) there, or point "
        f"{DATA_VARIABLE} (or `data_root` of the study) at a folder that has them."
    )


def originals(source: Source) -> list[Original]:
    """Return the files that torchvision's class reads, with the checksums that it declares."""
    loader = _loader(source)
    if source.archive:
        stems = [f"emnist-{source.options[split]['split']}-{split}" for split in SPLITS]
        kinds = ("images-idx3", "labels-idx1")
        paths_ = [f"EMNIST/raw/{stem}-{kind}-ubyte" for stem in stems for kind in kinds]
        return [Original(path, None, may_be_packed=True, content=_content(source, path)) for path in paths_]
    if hasattr(loader, "split_list"):
        return [Original(loader.split_list[split][1], loader.split_list[split][2]) for split in SPLITS]
    if hasattr(loader, "train_list"):
        listed = [*loader.train_list, *loader.test_list, (loader.meta["filename"], loader.meta["md5"])]
        return [Original(f"{loader.base_folder}/{file}", md5) for file, md5 in listed]
    found = []
    for file, packed_md5 in loader.resources:
        path = f"{source.loader}/raw/{file.removesuffix('.gz')}"
        content = _content(source, path)
        found.append(Original(path, UNPACKED_MD5.get(path), packed_md5, may_be_packed=True, content=content))
    return found


def _content(source: Source, path: str) -> idx.Content:
    """Return what a file in the idx format holds, by its name."""
    kind = "images" if "images" in path else "labels"
    last = source.first_label + source.classes - 1
    return idx.Content(kind, source.counts["train-" not in path], source.first_label, last)


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise MissingData(f"no data set '{name}'; known: {nearest(name, ['digits', *SOURCES])}")
    return SOURCES[name]


def _loader(source: Source) -> Any:
    from kanbench.data.torchvision_compat import import_datasets

    return getattr(import_datasets(), source.loader)


def _command(name: str, folder: Path) -> str:
    return f"python -m kanbench data {name} --download --root {folder}"


def _digits() -> Images:
    """Return the 1,797 handwritten digits of 8 × 8 pixels that ship with scikit-learn."""
    # The file that `sklearn.datasets.load_digits` reads; importing scikit-learn takes longer than a short run.
    (package,) = importlib.util.find_spec("sklearn").submodule_search_locations
    table = np.loadtxt(Path(package) / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images = np.round(table[:, :-1].reshape(-1, 8, 8) * (255.0 / 16.0)).astype(np.uint8)[:, None]
    return Images(images, table[:, -1].astype(np.int64))


def _candidate(folder: Path, file: Original) -> Path | None:
    """Return the file or its packed form, the one whose checksum is known first; None where there is neither."""
    names = [file.path, f"{file.path}.gz"] if file.may_be_packed else [file.path]
    if file.md5 is None:
        names.reverse()
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_originals(source: Source, root: Path, canonical: bool) -> Images:
    """Read a set through torchvision from a root where every file has been checked."""
    parts = []
    for split in SPLITS:
        part = _loader(source)(root=str(root), download=False, **source.options[split])
        labels = part.labels if hasattr(part, "labels") else part.targets
        numbers = np.asarray(labels, dtype=np.int64) - source.first_label
        if len(numbers) != len(part.data):
            raise MissingData(
                f"{source.loader} in {root}: {len(part.data)} images and {len(numbers)} labels in the {split} split; "
                f"expected one label an image: delete its files and get them again"
            )
        parts.append((_channels_first(np.asarray(part.data)), numbers))
    images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    cut = len(parts[0][1])
    return Images(images, labels, np.arange(cut), np.arange(cut, len(labels)), canonical)


@contextmanager
def _unzipped(name: str, source: Source, files: list[Original], folder: Path) -> Iterator[Path]:
    """Check an archive; yield a root with the files of the set unpacked from it.

    Raises:
        MissingData: its checksum is not that of the original, or it lacks a file.
    """
    archive, expected = folder / source.archive, _loader(source).md5
    with archive.open("rb") as stream:
        digest = hashlib.md5()
        while block := stream.read(2**20):
            digest.update(block)
    if digest.hexdigest() != expected:
        _refuse(name, archive, f"the MD5 is {digest.hexdigest()}", expected, folder)
    with zipfile.ZipFile(archive) as content, tempfile.TemporaryDirectory(prefix="kanbench-") as temporary:
        members = {Path(member).name: member for member in content.namelist()}
        for file in files:
            unpacked, member = Path(temporary, file.path), members.get(f"{Path(file.path).name}.gz")
            if member is None:
                _refuse(name, archive, f"{Path(file.path).name}.gz is not in it", expected, folder)
            unpacked.parent.mkdir(parents=True, exist_ok=True)
            unpacked.write_bytes(_unpacked(name, archive, content.read(member), expected, folder))
        yield Path(temporary)


@contextmanager
def _checked(name: str, files: list[Original], folder: Path) -> Iterator[tuple[Path, bool]]:
    """Check every file; yield a root with all of them unpacked, and whether every checksum was known."""
    chosen = {file: _candidate(folder, file) for file in files}
    canonical = all([_check(name, file, path, folder) for file, path in chosen.items()])
    if all(path.suffix != ".gz" for path in chosen.values()):
        yield folder, canonical
        return
    with tempfile.TemporaryDirectory(prefix="kanbench-") as temporary:
        for file, path in chosen.items():
            unpacked = Path(temporary, file.path)
            unpacked.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".gz":
                unpacked.write_bytes(_unpacked(name, path, path.read_bytes(), None, folder))
            else:
                unpacked.symlink_to(path.resolve())
        yield Path(temporary), canonical


def _check(name: str, file: Original, path: Path, folder: Path) -> bool:
    """Return whether the checksum of a file is known, having compared it.

    Raises:
        MissingData: it is another one than that of the original, or the file cannot be unpacked.
    """
    content, expected, holds = path.read_bytes(), file.md5, file.content
    packed = path.suffix == ".gz"
    if packed and file.md5 is None and file.packed_md5 is not None:
        expected, holds = file.packed_md5, None  # the packed form is compared as it is
    elif packed:
        told = expected and f"{expected} (of the unpacked file)"
        content = _unpacked(name, path, content, told, folder, holds)
    found = hashlib.md5(content).hexdigest()
    if found == expected:
        return True
    reason = idx.problem(content, holds) if holds else None
    if expected is not None:
        what = " of the unpacked file" if packed and file.md5 else ""
        reason = f"{reason}, and the MD5{what} is {found}" if reason else f"the MD5{what} is {found}"
    if reason is not None:
        expected = expected or f"unknown, that of {Path(file.path).name}.gz is {file.packed_md5 or 'unknown too'}"
        _refuse(name, path, reason, expected, folder, file.content)
    return False


def _unpacked(
    name: str, path: Path, content: bytes, expected: str | None, folder: Path, holds: idx.Content | None = None
) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        what = "it is empty" if not content else f"it cannot be unpacked ({error})"
        _refuse(name, path, what, expected or "unknown", folder, holds)


def _refuse(
    name: str, path: Path, reason: str, expected: str, folder: Path, holds: idx.Content | None = None
) -> NoReturn:
    size = path.stat().st_size
    raise MissingData(
        f"{path} is corrupt or not the original: {reason}.\n    found:        a file of {size} bytes\n"
        + (f"    expected:     {holds}{' (unpacked)' if path.suffix == '.gz' else ''}\n" if holds else "")
        + f"    expected MD5: {expected}\n"
        f"    next:         delete it and get it again: `{_command(name, folder)}`"
    )


def _channels_first(images: np.ndarray) -> np.ndarray:
    """Return images as `(n, channels, height, width)`."""
    if images.ndim == 3:
        return images[:, None]
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if images.shape[-1] == 3 else images


def _download(name: str, folder: Path) -> None:
    source = _source(name)
    try:
        for split in SPLITS:
            _loader(source)(root=str(folder), download=True, **source.options[split])
    except (OSError, RuntimeError) as error:
        raise MissingData(f"'{name}' could not be downloaded into {folder}: {error}") from error
