"""Looks into a file of the idx format, in which the sets of the MNIST kind come: is it the file that it is called?

The format (LeCun et al. 1998): two zero bytes, the type (8: unsigned bytes), the number of dimensions, their sizes as
big-endian integers of 32 bits, the values.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

SIDE = 28
UNSIGNED = 8
DIMENSIONS = {"images": 3, "labels": 1}


@dataclass(frozen=True)
class Content:
    """What a file should hold: `count` images of 28 × 28 bytes, or as many labels from `first` to `last`."""

    kind: str
    count: int
    first: int = 0
    last: int = 9

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its dimensions."""
        return (self.count, SIDE, SIDE) if self.kind == "images" else (self.count,)

    @property
    def size(self) -> int:
        """Its length in bytes, unpacked."""
        return 4 + 4 * len(self.shape) + int(np.prod(self.shape))

    def __str__(self) -> str:
        values = f" of {SIDE} × {SIDE}" if self.kind == "images" else f" from {self.first} to {self.last}"
        return f"{self.count} {self.kind}{values}, {self.size} bytes"


def problem(found: bytes, expected: Content) -> str | None:
    """Return in a few words why a file is not what it should be, or None where it may be."""
    if not found:
        return "it is empty"
    if found.lstrip()[:1] == b"<":
        return f"it is a web page, which begins with {found.lstrip()[:15].decode('utf-8', 'replace')!r}"
    if found[:3] != bytes([0, 0, UNSIGNED]) or len(found) < 4:
        return "it is no idx file of bytes"
    for kind, dimensions in DIMENSIONS.items():
        if found[3] == dimensions and kind != expected.kind:
            return f"it holds {kind}, not {expected.kind}"
    if found[3] != len(expected.shape) or len(found) < 4 + 4 * found[3]:
        return f"it is no idx file of {expected.kind}"
    shape = struct.unpack(f">{found[3]}I", found[4 : 4 + 4 * found[3]])
    if shape != expected.shape:
        return f"it holds {' × '.join(map(str, shape))} {'pixels' if len(shape) > 1 else 'labels'}"
    if len(found) != expected.size:
        return f"it has {len(found)} bytes"
    if expected.kind == "labels":
        values = np.unique(np.frombuffer(found, np.uint8, offset=8))
        if values.tolist() != list(range(expected.first, expected.last + 1)):
            return f"its labels are {_text(values)}"
    return None


def _text(values: np.ndarray) -> str:
    whole = len(values) == int(values[-1]) - int(values[0]) + 1
    return f"{values[0]} to {values[-1]}" if whole else ", ".join(map(str, values[:40].tolist()))
