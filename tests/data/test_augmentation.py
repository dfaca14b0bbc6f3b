"""Random changes of images: each operation against torchvision's, one image at a time; reproducible; labels kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kanbench.base import seeds
from kanbench.data import augment, datasets
from kanbench.data.torchvision_compat import import_functional
from kanbench.tasks import images, task, taskinfo

COUNT, HEIGHT, WIDTH = 6, 9, 12
TOLERANCE = {"atol": 2e-5, "rtol": 0}
LEVELS = torch.tensor([-0.9, -0.4, -0.1, 0.0, 0.3, 0.99])


@pytest.fixture(scope="module")
def functional():
    return import_functional()


@pytest.fixture(params=[1, 3])
def pixels(request):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (COUNT, request.param, HEIGHT, WIDTH), generator=generator) / 255


def one_by_one(pixels, operation, *values):
    return torch.cat([operation(pixels[i : i + 1], *(value[i].item() for value in values)) for i in range(COUNT)])


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "sharpness"])
def test_blends_are_those_of_torchvision(functional, pixels, name):
    factor = 1 + LEVELS
    expected = one_by_one(pixels, getattr(functional, f"adjust_{name}"), factor)
    torch.testing.assert_close(getattr(augment, name)(pixels, factor), expected, **TOLERANCE)


def bytes_of(pixels):
    return (pixels * 255).round().to(torch.uint8)


def test_operations_on_bytes_are_those_of_torchvision(functional, pixels):
    bits = torch.tensor([2.0, 3, 4, 5, 7, 8])
    expected = one_by_one(bytes_of(pixels), lambda image, b: functional.posterize(image, int(b)), bits)
    torch.testing.assert_close(augment.posterize(pixels, bits), expected / 255)
    threshold = torch.tensor([0.0, 0.2, 0.4, 0.5, 0.9, 1.0])
    expected = one_by_one(bytes_of(pixels), lambda image, t: functional.solarize(image, 255 * t), threshold)
    torch.testing.assert_close(augment.solarize(pixels, threshold), expected / 255)
    expected = one_by_one(bytes_of(pixels), functional.equalize)
    torch.testing.assert_close(augment.equalize(pixels), expected / 255)
    flat = pixels.clone()
    flat[0] = 0.25
    expected = one_by_one(flat, functional.autocontrast)
    torch.testing.assert_close(augment.autocontrast(flat), expected, **TOLERANCE)


def alike(found, expected):
    """Nearest pixels may differ where a place lies half-way between two: next to never."""
    return (found == expected).double().mean().item()


def test_turning_moving_and_magnifying_are_those_of_torchvision(functional, pixels):
    angle, scale = 20 * LEVELS, 1 + 0.1 * LEVELS
    shift = (torch.tensor([1.0, -1, 0, 2, 0, -2]), torch.tensor([0.0, 1, -1, 0, 2, 1]))
    found = augment.rotated(pixels, angle, scale, shift)
    expected = one_by_one(
        pixels, lambda image, a, s, x, y: functional.affine(image, a, [x, y], s, [0.0, 0.0]), angle, scale, *shift
    )
    assert alike(found, expected) > 0.995
    assert alike(found, pixels) < 0.9


@pytest.mark.parametrize(
    ("number", "operation"),
    [
        (1, lambda f, image, m: f.affine(image, 0.0, [0, 0], 1.0, [math.degrees(math.atan(m)), 0.0], center=[0, 0])),
        (2, lambda f, image, m: f.affine(image, 0.0, [0, 0], 1.0, [0.0, math.degrees(math.atan(m))], center=[0, 0])),
        (3, lambda f, image, m: f.affine(image, 0.0, [int(m), 0], 1.0, [0.0, 0.0])),
        (4, lambda f, image, m: f.affine(image, 0.0, [0, int(m)], 1.0, [0.0, 0.0])),
        (5, lambda f, image, m: f.rotate(image, m)),
    ],
)
def test_the_warps_of_trivial_augment_are_those_of_torchvision(functional, pixels, number, operation):
    kind, ours = augment.TRIVIAL[number]
    strength = LEVELS * {"shear": 0.99, "translate": 5.0, "rotate": 135.0}[kind]
    expected = one_by_one(pixels, lambda image, m: operation(functional, image, m), strength)
    assert alike(ours(pixels, strength), expected) > 0.99


def test_trivial_augment_has_the_operations_of_its_source_each_as_likely_as_another(functional):
    from torchvision.transforms.v2 import TrivialAugmentWide

    assert len(augment.TRIVIAL) == len(TrivialAugmentWide._AUGMENTATION_SPACE) == 14
    levels = {name: make(31, 32, 32) for name, (make, _) in TrivialAugmentWide._AUGMENTATION_SPACE.items()}
    policy = taskinfo.discover()["cifar10"].constants["augmentation"]["published"][1]["trivial_augment"]
    assert policy["bins"] == 31
    assert levels["ShearX"][-1].item() == pytest.approx(policy["shear"])
    assert levels["TranslateX"][-1].item() == policy["translate"]
    assert levels["Rotate"][-1].item() == policy["rotate"]
    assert levels["Color"][-1].item() == pytest.approx(policy["enhance"])
    step = torch.arange(31) / 30
    assert levels["Posterize"].tolist() == (8 - ((8 - policy["posterize"]) * step).round()).int().tolist()
    generator = torch.Generator().manual_seed(0)
    same = (torch.randint(30, 94, (1, 1, 20, 20), generator=generator) / 255).expand(20_000, 1, 20, 20)
    found = augment.augment(same, [{"trivial_augment": policy}], torch.Generator().manual_seed(0))
    unchanged = (found - same).abs().flatten(1).amax(1).lt(1e-4).double().mean().item()
    # identity; saturation of grey; strength 0 of eight others, and two shears of less than half a pixel (1 of 31);
    # 8 bits (3 of 31); thresholds above 93 (20 of 31)
    assert unchanged == pytest.approx((2 + 10 / 31 + 3 / 31 + 20 / 31) / 14, abs=0.01)


def test_every_image_has_its_own_draw_within_the_bounds_of_the_policy():
    ramp = torch.zeros(4000, 1, 21, 21)
    ramp[:, :, 10, 10] = 1.0
    policy = taskinfo.discover()["mnist"].constants["augmentation"]["published"]
    assert policy[0]["affine"] == {"degrees": 20, "translate": 0.1, "scale": [0.9, 1.1]}
    moved = augment.augment(ramp, policy[:1], torch.Generator().manual_seed(0)).flatten(1)
    found = moved.argmax(1)[moved.amax(1) > 0]
    offsets = torch.stack([found // 21 - 10, found % 21 - 10])
    assert offsets.abs().max() == 2
    assert len(torch.unique(offsets, dim=1).t()) == 25
    grey = torch.full((4000, 1, 5, 5), 0.5)
    lit = augment.augment(grey, policy[1:], torch.Generator().manual_seed(0))[:, 0, 0, 0]
    assert lit.min() == pytest.approx(0.4, abs=1e-3)
    assert lit.max() == pytest.approx(0.6, abs=1e-3)


def test_an_unknown_step_is_named():
    with pytest.raises(ValueError, match=r"found step 'afine', expected one of affine, jitter"):
        augment.augment(torch.zeros(1, 1, 2, 2), [{"afine": {}}], torch.Generator())


def made(name, **settings):
    random = np.random.default_rng(0)
    size, channels = (28, 1) if name == "mnist" else (32, 3)
    pixels = random.integers(0, 256, (80, channels, size, size), dtype=np.uint8)
    raw = datasets.Images(pixels, np.arange(80) % 10, np.arange(60), np.arange(60, 80))
    info, settings = taskinfo.discover()[name], taskinfo.resolve(name, settings)
    return images.from_images(info, raw, settings, seed=0, dtype=torch.float32, device=torch.device("cpu"))


def batches(subject, seed, count=3, size=32):
    stream = subject.batches(size, seeds.generator(seed, "order"))
    return [next(stream) for _ in range(count)]


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100"])
@pytest.mark.parametrize("normalisation", ["standard", "half"])
def test_augmented_batches_are_reproducible_keep_labels_and_order_and_spare_evaluation(name, normalisation):
    plain = made(name, normalisation=normalisation)
    subject = made(name, normalisation=normalisation, augmentation="published")
    first, again, other = batches(subject, 1), batches(subject, 1), batches(subject, 2)
    for (a, b), (c, d), (e, f) in zip(first, again, batches(plain, 1), strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)
        assert torch.equal(b, f), "the labels and the order are those without augmentation"
        assert a.shape == e.shape
        assert 0.1 < (a - e).abs().gt(1e-4).flatten(1).any(1).double().mean() <= 1
        assert a.min() >= e.min() - 1e-5
        assert torch.isfinite(a).all()
    assert not torch.equal(first[0][0], other[0][0])
    for split in task.SPLITS:
        assert torch.equal(subject.splits[split][0], plain.splits[split][0])
    assert plain.data == subject.data


def test_the_full_batch_is_changed_anew_every_time():
    first, second = batches(made("mnist", augmentation="published"), 0, count=2, size=None)
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], second[0])


def test_half_maps_bytes_to_the_interval_of_the_grid():
    inputs, _ = made("cifar10", normalisation="half").splits["train"]
    assert (inputs.min().item(), inputs.max().item()) == (-1.0, 1.0)
