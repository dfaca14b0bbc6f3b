"""Plain files of every image set: counts, ranges and kinds are looked at where no checksum is known."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_datasets import holding, idx, write

from kanbench.base.errors import MissingData
from kanbench.data import datasets
from kanbench.data.idx import Content, problem

PLAIN = ("fmnist", "kmnist", "emnist_letters")
"""Sets whose unpacked files have no published checksum."""
COUNTS = {"train": 52, "test": 26}


@pytest.fixture(params=PLAIN)
def files(request, monkeypatch) -> tuple[str, dict[str, bytes]]:
    """The name of a set, and its four plain files with 52 and 26 images."""
    name = request.param
    source = datasets.SOURCES[name]
    holding(monkeypatch, name, 52, 26)
    random, found = np.random.default_rng(0), {}
    for file in datasets.originals(datasets.SOURCES[name]):
        count = COUNTS["train" if "train-" in file.path else "test"]
        labels = np.arange(count) % source.classes + source.first_label
        pixels = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        found[file.path] = idx(pixels if "images" in file.path else labels.astype(np.uint8))
    return name, found


def named(files: dict[str, bytes], *words: str) -> str:
    return next(path for path in files if all(word in path for word in words))


def refusal(name: str, files: dict[str, bytes], root: Path, **options) -> str:
    write(root, files, **options)
    with pytest.raises(MissingData) as caught:
        datasets.read(name, root)
    return str(caught.value)


def test_whole_plain_files_are_read(files, tmp_path):
    name, content = files
    write(tmp_path, content)
    found = datasets.read(name, tmp_path)
    assert (len(found.train), len(found.test), found.canonical) == (52, 26, False)


@pytest.mark.parametrize("kind", ["labels", "images"])
def test_files_of_the_two_splits_swapped_are_refused(files, tmp_path, kind):
    name, content = files
    train, test = named(content, kind, "train-"), next(p for p in content if kind in p and "train-" not in p)
    content[train], content[test] = content[test], content[train]
    text = refusal(name, content, tmp_path)
    assert f"{tmp_path / train} is corrupt or not the original: it holds 26" in text
    assert f"expected:     52 {kind}" in text


def test_images_in_the_place_of_labels_are_refused(files, tmp_path):
    name, content = files
    labels, images = named(content, "labels", "train-"), named(content, "images", "train-")
    content[labels] = content[images]
    assert "it holds images, not labels" in refusal(name, content, tmp_path)


DAMAGE = {
    "empty": (lambda content: b"", "it is empty"),
    "web page": (
        lambda content: b"<!DOCTYPE html><html>Not found</html>",
        "it is a web page, which begins with '<!DOC",
    ),
    "truncated": (lambda content: content[:-3], "it has "),
    "longer": (lambda content: content + b"x", "it has "),
    "header alone": (lambda content: content[:5], "it is no idx file"),
    "another format": (lambda content: b"PK\x03\x04" + content, "it is no idx file of bytes"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", ["labels", "images"])
def test_damaged_files_are_named_with_what_was_expected(files, tmp_path, kind, damage):
    (name, content), (change, reason) = files, DAMAGE[damage]
    path = named(content, kind, "train-")
    expected = {"labels": 8 + 52, "images": 16 + 52 * 784}[kind]
    content[path] = change(content[path])
    text = refusal(name, content, tmp_path)
    assert f"{tmp_path / path} is corrupt or not the original: {reason}" in text
    assert f"found:        a file of {len(content[path])} bytes" in text
    assert f", {expected} bytes" in text
    assert "expected MD5: unknown, that of " in text


@pytest.mark.parametrize("first", [0, 3])
def test_labels_of_other_classes_are_refused(files, tmp_path, first):
    name, content = files
    path = named(content, "labels", "train-")
    content[path] = idx((np.arange(52) % 4 + first).astype(np.uint8))
    assert f"its labels are {first} to {first + 3}" in refusal(name, content, tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x1f\x8b\x08broken"])
def test_packed_files_that_cannot_be_unpacked_are_named(files, tmp_path, content):
    name, whole = files
    write(tmp_path, whole, packed=True)
    path = tmp_path / f"{named(whole, 'images', 'train-')}.gz"  # the first that is looked at
    path.write_bytes(content)
    with pytest.raises(MissingData) as caught:
        datasets.read(name, tmp_path)
    assert "is corrupt or not the original: " in str(caught.value)
    assert f"a file of {len(content)} bytes" in str(caught.value)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", b"x" * 1000])
def test_files_of_other_formats_are_held_against_their_checksum(tmp_path, name, content):
    originals = datasets.originals(datasets.SOURCES[name])
    write(tmp_path, {file.path: content for file in originals})
    with pytest.raises(MissingData) as caught:
        datasets.read(name, tmp_path)
    text = str(caught.value)
    assert f"{tmp_path / originals[0].path} is corrupt" in text
    assert f"found:        a file of {len(content)} bytes" in text
    assert f"expected MD5: {originals[0].md5}" in text


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_with_other_numbers_of_images_and_labels_is_refused(tmp_path, monkeypatch, split):
    class Uneven:
        def __init__(self, root, download, train):
            short = train == (split == "train")
            self.data, self.targets = np.zeros((4, 28, 28), np.uint8), list(range(3 if short else 4))

    monkeypatch.setattr(datasets, "_loader", lambda source: Uneven)
    with pytest.raises(MissingData, match=f"4 images and 3 labels in the {split} split"):
        datasets._read_originals(datasets.SOURCES["fmnist"], tmp_path, True)


def test_published_sizes_follow_from_the_counts():
    assert Content("images", 60_000).size == 47_040_016
    assert Content("labels", 10_000).size == 10_008
    assert {name: source.counts for name, source in datasets.SOURCES.items()}["emnist_letters"] == (124_800, 20_800)
    assert datasets.UNPACKED_MD5["MNIST/raw/t10k-labels-idx1-ubyte"] == "27ae3e4e09519cfbb04c329615203637"


def test_a_missing_class_is_told():
    content = idx(np.array([0, 1, 3, 3], np.uint8))
    assert problem(content, Content("labels", 4, 0, 3)) == "its labels are 0, 1, 3"
    assert problem(idx(np.array([0, 1, 2, 3], np.uint8)), Content("labels", 4, 0, 3)) is None


@pytest.mark.parametrize("litter", ["Thumbs.db", "desktop.ini", ".DS_Store", "__MACOSX", "._0001.png", "THUMBS.DB"])
@pytest.mark.parametrize("place", ["train", "test", "train/cat", "test/dog"])
def test_what_operating_systems_leave_is_neither_class_nor_picture(tmp_path, monkeypatch, litter, place):
    monkeypatch.setenv("KANBENCH_CACHE", str(tmp_path / "cache"))
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (folder := tmp_path / "cifar10-images" / split / label).mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(folder / "0.png")
    left = tmp_path / "cifar10-images" / place / litter
    if litter == "__MACOSX":
        left.mkdir()
        (left / "._0.png").write_bytes(b"x")
    else:
        left.write_bytes(gzip.compress(b"x"))
    found = datasets.read("cifar10", tmp_path)
    assert found.labels.tolist() == [0, 1, 0, 1]
