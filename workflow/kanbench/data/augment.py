"""Random changes of training images, on whole batches on their device, with a draw of its own for every image.

A policy is data: a list of steps, each `{name: parameters}`, in the YAML file of a task. The operations are those of
`torchvision.transforms.v2`, which draws one set of parameters for a whole batch; the test suite compares the two.
Images are `(n, channels, height, width)` with values in [0, 1], and labels are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

GREY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R 601), as torchvision takes them."""


def augment(images: Tensor, policy: Sequence[Mapping[str, Mapping[str, Any]]], generator: torch.Generator) -> Tensor:
    """Return images changed by the steps of a policy, drawn from `generator`.

    Raises:
        ValueError: a step is unknown.
    """
    for step in policy:
        for name, parameters in step.items():
            if name not in STEPS:
                raise ValueError(f"augmentation: found step '{name}', expected one of {', '.join(STEPS)}")
            images = STEPS[name](images, generator, **parameters)
    return images


def uniform(images: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    """Return one number an image, `(n,)`, uniform in [low, high)."""
    draws = torch.rand(len(images), generator=generator, device=generator.device)
    return (low + (high - low) * draws).to(images)


def warp(images: Tensor, matrix: Tensor, mode: str = "nearest") -> Tensor:
    """Return images whose pixel at p, from the centre, is the old one at `matrix[:, :, :2] p + matrix[:, :, 2]`.

    Args:
        matrix: `(n, 2, 3)` in pixels; x comes first. Places outside the image are 0.
        mode: `nearest` or `bilinear`.
    """
    height, width = images.shape[-2:]
    scale = matrix.new_tensor([[1, height / width, 2 / width], [width / height, 1, 2 / height]])
    grid = nn.functional.affine_grid(matrix * scale, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)


def matrices(images: Tensor, **entries: Tensor | float) -> Tensor:
    """Return `(n, 2, 3)` identities with some entries replaced: xx, xy, yx, yy, and the shifts x and y."""
    values = {"xx": 1.0, "xy": 0.0, "x": 0.0, "yx": 0.0, "yy": 1.0, "y": 0.0} | entries
    columns = [torch.as_tensor(value, dtype=images.dtype, device=images.device) for value in values.values()]
    return torch.stack([column.expand(len(images)) for column in columns], dim=1).view(-1, 2, 3)


def rotated(images: Tensor, degrees: Tensor, scale: Tensor | float = 1.0, shift: tuple = (0.0, 0.0)) -> Tensor:
    """Return images turned clockwise about their centre, then magnified by `scale`, then moved by `shift` (x, y)."""
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    x, y = shift
    return warp(images, matrices(images, xx=cos, xy=sin, yx=-sin, yy=cos, x=-cos * x - sin * y, y=sin * x - cos * y))


def grey(images: Tensor) -> Tensor:
    """Return grey values, `(n, 1, height, width)`."""
    if images.shape[1] == 1:
        return images
    return (images * images.new_tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)


def blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """Return `factor` of the images and the rest of the other, clamped to [0, 1]."""
    factor = factor.view(-1, 1, 1, 1)
    return (factor * images + (1 - factor) * other).clamp(0, 1)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Return images blended with black."""
    return blend(images, torch.zeros_like(images), factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Return images blended with their mean grey value."""
    return blend(images, grey(images).mean((1, 2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Return images blended with their grey values; grey images stay as they are."""
    return blend(images, grey(images), factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Return images blended with their smoothed inside; the outermost pixels stay as they are."""
    kernel = images.new_ones(3, 3)
    kernel[1, 1] = 5
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 3, 3)
    smooth = images.clone()
    smooth[..., 1:-1, 1:-1] = nn.functional.conv2d(images, kernel, groups=images.shape[1])
    return blend(images, smooth, factor)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Return images of bytes that keep their highest `bits` bits only."""
    step = torch.exp2(8 - bits).view(-1, 1, 1, 1)
    return ((images * 255).round() / step).floor() * step / 255


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Return images with the values from `threshold` on inverted."""
    return torch.where(images >= threshold.view(-1, 1, 1, 1), 1 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Return images whose every channel spans [0, 1]; a channel of one value stays as it is."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp_min(1e-6), images)


def equalize(images: Tensor) -> Tensor:
    """Return images with an even histogram of bytes in every channel."""
    from kanbench.data.torchvision_compat import import_functional

    return import_functional().equalize((images * 255).round().to(torch.uint8)).to(images) / 255


def _affine(images: Tensor, generator: torch.Generator, *, degrees, translate, scale) -> Tensor:
    """Turn by up to `degrees`, move by up to the share `translate` of the size in whole pixels, magnify."""
    height, width = images.shape[-2:]
    angle = uniform(images, generator, -degrees, degrees)
    shift = [uniform(images, generator, -translate * size, translate * size).round() for size in (width, height)]
    return rotated(images, angle, uniform(images, generator, *scale), tuple(shift))


def _jitter(images: Tensor, generator: torch.Generator, **shares: float) -> Tensor:
    """Change brightness and contrast by factors of one plus or minus up to their share, in random order."""
    light, depth = (
        uniform(images, generator, 1 - shares[name], 1 + shares[name]) for name in ("brightness", "contrast")
    )
    first = uniform(images, generator, 0, 1).view(-1, 1, 1, 1) < 0.5
    return torch.where(first, contrast(brightness(images, light), depth), brightness(contrast(images, depth), light))


def _horizontal_flip(images: Tensor, generator: torch.Generator, *, probability) -> Tensor:
    chosen = uniform(images, generator, 0, 1).view(-1, 1, 1, 1) < probability
    return torch.where(chosen, images.flip(-1), images)


def _trivial_augment(images: Tensor, generator: torch.Generator, *, bins: int, **most: float) -> Tensor:
    """Change every image by one operation of one strength, all equally likely (Müller and Hutter, 2021).

    Strengths are `bins` steps from nothing to `shear` (share), `translate` (pixels), `rotate` (degrees), `enhance`
    (added to or taken from a factor of 1), down to `posterize` bits, down to a solarize threshold of 0.
    """
    chosen = (uniform(images, generator, 0, 1) * len(TRIVIAL)).long()
    level = (uniform(images, generator, 0, 1) * bins).long() / (bins - 1)
    sign = torch.where(uniform(images, generator, 0, 1) < 0.5, -1.0, 1.0).to(images)
    result = images.clone()
    for number, (kind, operation) in enumerate(TRIVIAL):
        rows = (chosen == number).nonzero().squeeze(1)
        if kind is None or not len(rows):
            continue
        if kind == "posterize":
            strength = 8 - ((8 - most["posterize"]) * level[rows]).round()
        elif kind == "solarize":
            strength = 1 - level[rows]
        else:
            strength = sign[rows] * level[rows] * most.get(kind, 0.0)
        result[rows] = operation(images[rows], strength.to(images))
    return result


TRIVIAL: tuple[tuple[str | None, Callable[[Tensor, Tensor], Tensor]], ...] = (
    (None, lambda images, _: images),
    ("shear", lambda images, m: warp(images, matrices(images, xy=m, x=m * images.shape[-2] / 2))),
    ("shear", lambda images, m: warp(images, matrices(images, yx=m, y=m * images.shape[-1] / 2))),
    ("translate", lambda images, m: warp(images, matrices(images, x=-m.trunc()))),
    ("translate", lambda images, m: warp(images, matrices(images, y=-m.trunc()))),
    ("rotate", lambda images, m: rotated(images, -m)),
    ("enhance", lambda images, m: brightness(images, 1 + m)),
    ("enhance", lambda images, m: saturation(images, 1 + m)),
    ("enhance", lambda images, m: contrast(images, 1 + m)),
    ("enhance", lambda images, m: sharpness(images, 1 + m)),
    ("posterize", posterize),
    ("solarize", solarize),
    ("autocontrast", lambda images, _: autocontrast(images)),
    ("equalize", lambda images, _: equalize(images)),
)
STEPS: dict[str, Callable[..., Tensor]] = {
    "affine": _affine,
    "jitter": _jitter,
    "horizontal_flip": _horizontal_flip,
    "trivial_augment": _trivial_augment,
}
