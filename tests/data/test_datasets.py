"""Data sets on disk: found, absent, corrupt, packed, as a folder of images."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import struct
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from kanbench.base.errors import MissingData
from kanbench.data import datasets
from kanbench.data import pictures as picture_files
from kanbench.tasks import task, taskinfo


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("KANBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


COUNTS = {"train": 40, "t10k": 20}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def contents():
    """The four files of a small MNIST, by their path."""
    random, files = np.random.default_rng(0), {}
    for split, count in COUNTS.items():
        pixels = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        files[f"MNIST/raw/{split}-images-idx3-ubyte"] = idx(pixels)
        files[f"MNIST/raw/{split}-labels-idx1-ubyte"] = idx((np.arange(count) % 10).astype(np.uint8))
    return files


@pytest.fixture
def small_mnist(contents, monkeypatch):
    monkeypatch.setattr(datasets, "UNPACKED_MD5", {path: hashlib.md5(c).hexdigest() for path, c in contents.items()})
    return contents


def holding(monkeypatch, name, train, test):
    """Let a set be known to have this many images."""
    source = dataclasses.replace(datasets.SOURCES[name], counts=(train, test))
    monkeypatch.setitem(datasets.SOURCES, name, source)


def write(root, files, packed=False):
    for path, content in files.items():
        target = root / (f"{path}.gz" if packed else path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_plain_or_packed_from_a_folder_that_is_not_written_to(small_mnist, tmp_path, packed):
    write(tmp_path, small_mnist, packed)
    before = sorted(tmp_path.rglob("*"))
    found = datasets.read("mnist", tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert found.images.shape == (60, 1, 28, 28)
    assert found.labels.tolist() == [*np.arange(40) % 10, *np.arange(20) % 10]
    assert (found.train.tolist(), found.test.tolist()) == (list(range(40)), list(range(40, 60)))
    assert found.images[40].tobytes() == small_mnist["MNIST/raw/t10k-images-idx3-ubyte"][16 : 16 + 784]
    assert found.canonical


def test_plain_and_packed_files_may_stand_side_by_side(small_mnist, tmp_path):
    images = {path: content for path, content in small_mnist.items() if "images" in path}
    write(tmp_path, images, packed=True)
    write(tmp_path, {path: content for path, content in small_mnist.items() if path not in images})
    assert len(datasets.read("mnist", tmp_path).labels) == 60


def test_the_task_reads_through_the_data_root(small_mnist, tmp_path):
    write(tmp_path, small_mnist, packed=True)
    settings = taskinfo.resolve("mnist", {"train_samples": 30})
    subject = task.load("mnist", settings, seed=0, dtype=torch.float64, device=torch.device("cpu"), data_root=tmp_path)
    assert {split: tuple(part[0].shape) for split, part in subject.splits.items()} == {
        "train": (30, 1, 28, 28), "validation": (4, 1, 28, 28), "test": (20, 1, 28, 28)
    }  # fmt: skip
    assert subject.data["name"] == "mnist"


def test_absent_data_say_what_was_sought_where_and_how_to_get_it(tmp_path):
    with pytest.raises(MissingData) as caught:
        datasets.read("mnist", tmp_path)
    text = str(caught.value)
    for path in datasets.UNPACKED_MD5:
        assert f"{tmp_path / path}[.gz]" in text
    assert str(tmp_path / "mnist-images" / "{train,test}/<class>/*") in text
    assert f"python -m kanbench data mnist --download --root {tmp_path}" in text
    assert "KANBENCH_DATA" in text


def test_only_the_absent_files_are_named(small_mnist, tmp_path):
    write(tmp_path, small_mnist)
    (tmp_path / "MNIST/raw/train-labels-idx1-ubyte").unlink()
    with pytest.raises(MissingData) as caught:
        datasets.read("mnist", tmp_path)
    assert "train-labels" in str(caught.value)
    assert "train-images" not in str(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "changed", "other content"])
def test_a_corrupt_packed_file_is_named_with_its_checksum_and_the_remedy(small_mnist, tmp_path, damage):
    write(tmp_path, small_mnist, packed=True)
    name = "MNIST/raw/train-images-idx3-ubyte"
    file = tmp_path / f"{name}.gz"
    content = file.read_bytes()
    flipped = bytes([content[100] ^ 255])
    file.write_bytes(
        {
            "truncated": content[:-200],
            "changed": content[:100] + flipped + content[101:],
            "other content": gzip.compress(small_mnist[name][:-1] + b"x"),
        }[damage]
    )
    with pytest.raises(MissingData) as caught:
        datasets.read("mnist", tmp_path)
    text = str(caught.value)
    assert f"{file} is corrupt" in text
    assert datasets.UNPACKED_MD5[name] in text
    assert "delete it and get it again: `python -m kanbench data mnist --download" in text
    reasons = {"truncated": "cannot be unpacked", "changed": "", "other content": "the MD5 of the unpacked file is"}
    assert reasons[damage] in text


def test_a_truncated_plain_file_is_named(small_mnist, tmp_path):
    write(tmp_path, small_mnist)
    file = tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(
        MissingData, match=r"t10k-labels-idx1-ubyte is corrupt (.*\n){3}    expected MD5: [0-9a-f]{32}\n"
    ):
        datasets.read("mnist", tmp_path)


def test_an_unknown_checksum_makes_a_set_not_canonical(contents, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "UNPACKED_MD5", {})
    holding(monkeypatch, "mnist", 40, 20)
    write(tmp_path, contents)
    assert not datasets.read("mnist", tmp_path).canonical


def test_an_unknown_set_names_the_nearest(tmp_path):
    with pytest.raises(MissingData, match="did you mean 'mnist'"):
        datasets.read("mnits", tmp_path)


def test_the_data_root_is_the_argument_then_the_variable_then_the_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("KANBENCH_DATA", str(tmp_path / "variable"))
    assert datasets.data_root(tmp_path / "given") == tmp_path / "given"
    assert datasets.data_root() == tmp_path / "variable"
    monkeypatch.delenv("KANBENCH_DATA")
    monkeypatch.setenv("KANBENCH_ROOT", str(tmp_path))
    assert datasets.data_root() == tmp_path / ".data"


@pytest.mark.parametrize("name", datasets.SOURCES)
def test_every_source_lists_its_files_and_checksums(name):
    files = datasets.originals(datasets.SOURCES[name])
    assert len({file.path for file in files}) == len(files) >= 2
    archive = datasets.SOURCES[name].archive
    for file in files:
        known = file.packed_md5 if file.may_be_packed else file.md5
        assert known is None if archive else len(known) == 32, file
        assert file.may_be_packed == (not file.path.endswith(".gz") and "ubyte" in file.path)
    assert taskinfo.discover()[name].data == name


@pytest.fixture
def letters(monkeypatch, tmp_path):
    """The archive of a small EMNIST with two images a letter for training and one for test."""
    files = {}
    for split, count in (("train", 52), ("test", 26)):
        pixels = np.full((count, 28, 28), 7, dtype=np.uint8)
        for kind, array in (("images-idx3", pixels), ("labels-idx1", (np.arange(count) % 26 + 1).astype(np.uint8))):
            files[f"emnist-letters-{split}-{kind}-ubyte"] = idx(array)
    archive = tmp_path / "EMNIST/raw/gzip.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as content:
        for name, data in files.items():
            content.writestr(f"gzip/{name}.gz", gzip.compress(data))
    loader = datasets._loader(datasets.SOURCES["emnist_letters"])
    monkeypatch.setattr(loader, "md5", hashlib.md5(archive.read_bytes()).hexdigest())
    holding(monkeypatch, "emnist_letters", 52, 26)
    return archive, files


def test_letters_are_numbered_from_zero_and_read_from_their_archive(letters, tmp_path):
    found = datasets.read("emnist_letters", tmp_path)
    assert found.labels.tolist() == [*range(26), *range(26), *range(26)]
    assert (len(found.train), len(found.test), found.canonical) == (52, 26, True)
    assert found.images.shape == (78, 1, 28, 28)
    assert taskinfo.discover()["emnist_letters"].constants["classes"] == 26
    subject = load("emnist_letters", tmp_path, validation_fraction=0.4)
    assert subject.problem.outputs == 26
    assert subject.splits["test"][1].unique().tolist() == list(range(26))


def test_letters_unpacked_have_no_known_checksum(letters, tmp_path):
    archive, files = letters
    archive.unlink()
    write(tmp_path, {f"EMNIST/raw/{name}": content for name, content in files.items()}, packed=True)
    found = datasets.read("emnist_letters", tmp_path)
    assert not found.canonical
    assert (found.labels.min(), found.labels.max()) == (0, 25)


def test_an_archive_that_is_not_the_original_is_named_with_its_checksum(letters, tmp_path, monkeypatch):
    archive, _ = letters
    loader = datasets._loader(datasets.SOURCES["emnist_letters"])
    expected = loader.md5
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(MissingData) as caught:
        datasets.read("emnist_letters", tmp_path)
    assert f"{archive} is corrupt or not the original: the MD5 is " in str(caught.value)
    assert f"expected MD5: {expected}" in str(caught.value)
    assert "kanbench data emnist_letters --download" in str(caught.value)
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("gzip/other.gz", b"")
    monkeypatch.setattr(loader, "md5", hashlib.md5(archive.read_bytes()).hexdigest())
    with pytest.raises(MissingData, match=r"emnist-letters-train-images-idx3-ubyte.gz is not in it"):
        datasets.read("emnist_letters", tmp_path)


def test_labels_beyond_the_classes_of_a_task_are_refused(small_mnist, tmp_path, monkeypatch):
    name = "MNIST/raw/train-labels-idx1-ubyte"
    small_mnist[name] = small_mnist[name].replace(b"\x09", b"\x0c")
    monkeypatch.setitem(datasets.UNPACKED_MD5, name, hashlib.md5(small_mnist[name]).hexdigest())
    write(tmp_path, small_mnist)
    with pytest.raises(MissingData, match=r"mnist: found the labels \[12\], expected 0 to 9"):
        load("mnist", tmp_path)


def load(name, root, **settings):
    settings = taskinfo.resolve(name, settings)
    return task.load(name, settings, seed=0, dtype=torch.float32, device=torch.device("cpu"), data_root=root)


def pictures(root, sizes=(8, 8), classes=("cat", "dog")):
    for split, count in (("train", 3), ("test", 2)):
        for value, label in enumerate(classes):
            folder = root / "cifar10-images" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", sizes, (10 * value, i, 200)).save(folder / f"{i:04}.png")
    return root / "cifar10-images"


def test_a_folder_of_images_is_read_and_is_not_canonical(tmp_path):
    pictures(tmp_path)
    (tmp_path / "cifar10-images" / ".DS_Store").write_bytes(b"")
    found = datasets.read("cifar10", tmp_path)
    assert found.images.shape == (10, 3, 8, 8)
    assert found.labels.tolist() == [0] * 3 + [1] * 3 + [0] * 2 + [1] * 2
    assert (len(found.train), len(found.test), found.canonical) == (6, 4, False)
    assert found.images[4, :, 0, 0].tolist() == [10, 1, 200]


def test_decoded_pictures_are_kept_until_a_file_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("KANBENCH_CACHE", str(tmp_path / "cache"))
    folder = pictures(tmp_path)
    first = datasets.read("cifar10", tmp_path)
    (kept,) = (tmp_path / "cache").iterdir()
    decode = picture_files._decode
    monkeypatch.setattr(picture_files, "_decode", lambda *arguments: pytest.fail("decoded again"))
    again = datasets.read("cifar10", tmp_path)
    assert np.array_equal(again.images, first.images)
    assert np.array_equal(again.labels, first.labels)
    assert (len(again.train), again.canonical) == (6, False)
    monkeypatch.setattr(picture_files, "_decode", decode)
    Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / "train/dog/0000.png")
    assert datasets.read("cifar10", tmp_path).images[3, :, 0, 0].tolist() == [1, 2, 3]
    assert len(list((tmp_path / "cache").iterdir())) == 2
    kept.write_bytes(kept.read_bytes()[:100])
    os.utime(folder / "train/dog/0000.png")
    assert datasets.read("cifar10", tmp_path).images.shape == first.images.shape


def test_a_damaged_cache_is_decoded_again_and_one_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setenv("KANBENCH_CACHE", str(tmp_path / "cache"))
    pictures(tmp_path)
    first = datasets.read("cifar10", tmp_path)
    (kept,) = (tmp_path / "cache").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    assert np.array_equal(datasets.read("cifar10", tmp_path).images, first.images)
    assert kept.stat().st_size == len(whole)
    monkeypatch.setenv("KANBENCH_CACHE", str(kept / "below a file"))
    assert np.array_equal(datasets.read("cifar10", tmp_path).images, first.images)


def test_a_folder_with_a_class_but_no_pictures_is_refused(tmp_path):
    for split in ("train", "test"):
        (tmp_path / "cifar10-images" / split / "cat").mkdir(parents=True)
    with pytest.raises(MissingData, match="expected files in train/<class>/ and test/<class>/"):
        datasets.read("cifar10", tmp_path)


def test_a_broken_image_is_named(tmp_path):
    broken = pictures(tmp_path) / "train/dog/0001.png"
    broken.write_bytes(b"no image")
    with pytest.raises(MissingData, match=f"{broken} cannot be read as an image"):
        datasets.read("cifar10", tmp_path)


def test_a_folder_with_other_classes_in_test_is_refused(tmp_path):
    folder = pictures(tmp_path)
    os.rename(folder / "test/dog", folder / "test/wolf")
    with pytest.raises(MissingData, match="the same classes"):
        datasets.read("cifar10", tmp_path)


def test_checking_a_set_prints_what_identifies_it(small_mnist, tmp_path):
    write(tmp_path, small_mnist)
    line = datasets.fetch("mnist", tmp_path)
    assert line.startswith("mnist: 60 images, sha256 ")
    assert line.endswith("canonical: true")
    assert datasets.fetch("digits", tmp_path, download=True).startswith("digits: 1797 images, sha256 ")


def test_a_download_that_fails_says_so(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("no way to the server")

    monkeypatch.setattr(datasets, "_loader", lambda source: refuse)
    with pytest.raises(MissingData, match="'mnist' could not be downloaded into .*: no way to the server"):
        datasets.fetch("mnist", tmp_path, download=True)


@pytest.mark.skipif(
    not any((datasets.data_root() / f"MNIST/raw/t10k-images-idx3-ubyte{end}").is_file() for end in ("", ".gz")),
    reason="MNIST is not on disk",
)
def test_the_real_mnist_has_its_known_values():
    found = datasets.read("mnist")
    assert found.images.shape == (70000, 1, 28, 28)
    assert found.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(found.labels[found.test]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert found.images[found.train].mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    assert found.canonical
