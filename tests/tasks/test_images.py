"""Image classification: splits, normalisation, resizing, floors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kanbench.base.errors import InvalidInput, MissingData
from kanbench.data import datasets
from kanbench.tasks import images, task, taskinfo

CPU = torch.device("cpu")


def digits(seed=0, **settings):
    settings = taskinfo.resolve("digits", settings)
    return task.load("digits", settings, seed=seed, dtype=torch.float32, device=CPU)


def made(name="cifar10", size=32, channels=3, count=200, seed=0, **settings):
    """Return a task on made-up images with a standard split."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, channels, size, size), dtype=np.uint8)
    cut = count * 3 // 4
    raw = datasets.Images(pixels, np.arange(count) % 10, np.arange(cut), np.arange(cut, count))
    settings = taskinfo.resolve(name, settings)
    return images.from_images(taskinfo.discover()[name], raw, settings, seed=seed, dtype=torch.float32, device=CPU), raw


def rows(subject, split) -> set[bytes]:
    return {row.numpy().tobytes() for row in subject.splits[split][0].flatten(1)}


def test_digits_have_their_sizes_and_their_scale():
    subject = digits()
    sizes = {split: len(labels) for split, (_, labels) in subject.splits.items()}
    assert sizes == {"train": 1146, "validation": 202, "test": 449}
    assert subject.problem.input_shape == (1, 8, 8)
    assert (subject.problem.inputs, subject.problem.outputs) == (64, 10)
    every = torch.cat([inputs for inputs, _ in subject.splits.values()])
    assert every.mean().item() == pytest.approx(0, abs=1e-3)
    assert every.std().item() == pytest.approx(1, abs=1e-2)
    assert subject.data["canonical"] is True


def test_the_splits_of_digits_share_no_image_and_leave_none_out():
    subject = digits()
    sets = [rows(subject, split) for split in task.SPLITS]
    assert sum(map(len, sets)) == len(set().union(*sets)) == 1797


def test_a_seed_fixes_the_split():
    assert digits().data == digits().data
    assert rows(digits(), "test") == rows(digits(), "test") != rows(digits(seed=1), "test")
    assert digits().data["fingerprint"] != digits(seed=1).data["fingerprint"]


def test_a_stratified_split_keeps_the_frequencies_and_has_the_exact_size():
    labels = np.repeat([0, 1, 2], [60, 30, 11])
    rest, share = images.stratified(labels, 0.1, np.random.default_rng(0))
    assert np.bincount(labels[share]).tolist() == [6, 3, 1]
    assert sorted([*rest, *share]) == list(range(101))
    _, share = images.stratified(np.repeat([0, 1, 2, 3], 25), 0.1, np.random.default_rng(0))
    assert len(share) == 10
    assert set(np.bincount(labels := np.repeat([0, 1, 2, 3], 25)[share]).tolist()) <= {2, 3}, labels


def test_fewer_training_images_leave_validation_and_test_alone():
    few, many = digits(train_samples=100), digits()
    assert few.train_size == 100
    assert rows(few, "train") < rows(many, "train")
    for split in ("validation", "test"):
        assert torch.equal(few.splits[split][0], many.splits[split][0])


def test_more_images_than_there_are_are_refused():
    with pytest.raises(InvalidInput, match="at most the 1146 images") as caught:
        digits(train_samples=1500)
    assert caught.value.findings[0].key == "train_samples"


def test_a_standard_test_split_stays_out_of_training():
    subject, raw = made()
    assert [len(subject.splits[split][1]) for split in ("train", "validation", "test")] == [135, 15, 50]
    expected = torch.from_numpy(raw.images[150:]).float() / 255
    constants = taskinfo.discover()["cifar10"].constants
    mean, std = (torch.tensor(constants[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    assert torch.allclose(subject.splits["test"][0], (expected - mean) / std, atol=1e-6)
    other, _ = made(seed=1)
    assert rows(other, "test") == rows(subject, "test")
    assert rows(other, "validation") != rows(subject, "validation")


def test_a_subset_of_the_test_split_is_part_of_it():
    assert rows(made(test_samples=20)[0], "test") < rows(made()[0], "test")


def test_images_are_resized_where_the_task_says_so():
    subject, _ = made(image_size=16)
    assert subject.problem.input_shape == (3, 16, 16)
    assert subject.splits["train"][0].shape == (135, 3, 16, 16)
    same, half = (made(image_size=size)[0].splits["test"][0].mean((0, 2, 3)) for size in (32, 16))
    assert torch.allclose(same, half, atol=0.05)


def test_another_number_of_channels_is_refused():
    with pytest.raises(MissingData, match="1 channels; expected 3"):
        made(channels=1)


def test_the_floor_is_the_most_frequent_class_of_training():
    subject = digits()
    train, test = subject.splits["train"][1], subject.splits["test"][1]
    frequency = train.bincount() / len(train)
    floor = subject.floors()["majority"]
    assert floor["accuracy"] == pytest.approx((test == frequency.argmax()).double().mean().item())
    assert floor["cross_entropy"] == pytest.approx(-frequency.log()[test].mean().item(), rel=1e-5)
    assert floor["cross_entropy"] == pytest.approx(math.log(10), rel=0.01)
