"""How the samples of a layer lie in rows of lanes, which the curve walk reads: one a sample, or positions of images.

A convolution reads its input at whole strides. The positions that a kernel tap meets have one remainder by the stride,
a *phase*. Positions of one phase of a channel lie in a row, image by image and line by line, with padding between,
which lines and images share: what pads the end of one pads the start of the next. An output at lane l then reads, by
one tap, lane l plus a shift that depends on the tap alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .. import native
from ..native.walk import Lanes, Taps
from .shape import Convolution, FullyConnected


class Samples:
    """A fully connected layer: ``x (batch, in)`` and ``y (batch, out)`` are rows of lanes already."""

    taps = 1

    def edges(self) -> Taps:
        """Return the one tap of each input."""
        one = torch.zeros(1, dtype=torch.int32)
        return Taps(torch.tensor([0, 1], dtype=torch.int32), one, one, 0)

    def spread(self, x: Tensor) -> Tensor:
        """Return the points of each source, ``(lanes, sources)``."""
        return x if x.is_contiguous() or x.t().is_contiguous() else x.contiguous()

    def outputs(self, y: Tensor) -> Lanes:
        """Return the output or its gradient as rows of lanes."""
        return rows(y)

    def gradient(self, x: Tensor) -> Tensor:
        """Return where the gradient of the points is added up, given that of the input, which is zero."""
        return x

    def collect(self, found: Tensor, x: Tensor) -> None:
        """Copy the gradient of the points to that of the input."""
        if found is not x:
            x.copy_(found)


@dataclass(frozen=True)
class Line:
    """Along one dimension, for each phase: the first position that is in the image, its first input, and how many."""

    length: int
    phases: tuple[tuple[int, int, int], ...]

    @staticmethod
    def of(size: int, kernel: int, stride: int, padding: int, outputs: int) -> Line:
        """Return the positions that ``outputs`` outputs read of ``size`` inputs."""
        full = outputs + (kernel - 1) // stride
        phases, length = [], outputs
        for phase in range(min(stride, kernel)):
            before = min(max(0, -((phase - padding) // stride)), full)
            first = before * stride + phase - padding
            count = max(0, min(full - before, -(-(size - first) // stride)))
            phases.append((before, first, count))
            length = max(length, before + count, full - before)
        return Line(length, tuple(phases))


@dataclass(frozen=True)
class Lattice:
    """A convolution of ``x (batch, in, height, width)``; see the module's docstring."""

    shape: Convolution
    batch: int
    lines: tuple[Line, Line]
    size: tuple[int, int]

    @staticmethod
    def of(shape: Convolution, x: Tensor) -> Lattice:
        """Return the lattice of an input."""
        size = tuple(max(0, outputs) for outputs in shape.output_size(x))
        each = zip(x.shape[2:], shape.kernel_size, shape.stride, shape.padding, size, strict=True)
        return Lattice(shape, x.shape[0], tuple(Line.of(*numbers) for numbers in each), size)

    @property
    def taps(self) -> int:
        return self.shape.taps

    @property
    def image(self) -> int:
        """The lanes of an image."""
        return self.lines[0].length * self.lines[1].length

    @property
    def halo(self) -> int:
        """The greatest shift."""
        down, right = ((kernel - 1) // stride for kernel, stride in self._steps())
        return down * self.lines[1].length + right

    @property
    def written(self) -> int:
        """Lanes of the output, up to the last position of the last image."""
        if not self.batch or not all(self.size):
            return 0
        return (self.batch - 1) * self.image + (self.size[0] - 1) * self.lines[1].length + self.size[1]

    @property
    def read(self) -> int:
        """Lanes of the input."""
        return max(self.batch * self.image, self.written + self.halo)

    def _steps(self) -> list[tuple[int, int]]:
        return list(zip(self.shape.kernel_size, self.shape.stride, strict=True))

    def edges(self) -> Taps:
        """Return the taps of each phase, and which positions are in the image."""
        (height, down), (width, right) = self._steps()
        starts, edges, shifts = [0], [], []
        for row in range(min(height, down)):
            for column in range(min(width, right)):
                for a in range(row, height, down):
                    for b in range(column, width, right):
                        edges.append(a * width + b)
                        shifts.append(a // down * self.lines[1].length + b // right)
                starts.append(len(edges))
        inside = torch.zeros(len(starts) - 1, self.read, dtype=torch.uint8)
        for phase, (to, _) in enumerate(self._phases()):
            self._images(inside[phase])[to] = 1
        first, second, third = (torch.tensor(numbers, dtype=torch.int32) for numbers in (starts, edges, shifts))
        return Taps(first, second, third, self.halo, inside)

    @cached_property
    def _places(self) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        return list(self._phases())

    def _phases(self):
        """Yield, for each phase, slices of an image's positions and those of the inputs that lie there."""
        (down, right), (rows_, columns) = self.shape.stride, (line.phases for line in self.lines)
        for before, first, count in rows_:
            for left, start, width in columns:
                to = (..., slice(before, before + count), slice(left, left + width))
                yield (
                    to,
                    (
                        ...,
                        slice(first, first + count * down, down) if count else slice(0, 0),
                        slice(start, start + width * right, right) if width else slice(0, 0),
                    ),
                )

    def _images(self, lanes: Tensor) -> Tensor:
        """Return rows of lanes ``(..., lanes)`` as images ``(..., batch, height, width)``."""
        whole = lanes[..., : self.batch * self.image]
        return whole.unflatten(-1, (self.batch, self.lines[0].length, self.lines[1].length))

    def spread(self, x: Tensor) -> Tensor:
        """Return the points of each source, a phase of a channel: ``(lanes, channels * phases)``."""
        lanes = x.new_zeros(x.shape[1], len(self._places), self.read)
        for phase, (to, own) in enumerate(self._places):
            self._images(lanes[:, phase])[to] = x[own].transpose(0, 1)
        return lanes.flatten(0, 1).t()

    def outputs(self, y: Tensor) -> Lanes:
        """Return the output or its gradient as rows of lanes, of which some are not in it."""
        image, line = torch.arange(self.batch).unsqueeze(1), torch.arange(self.size[0])
        starts = image * self.image + line * self.lines[1].length
        places = image * y.stride(0) + line * y.stride(2)
        runs = torch.stack([starts, torch.full_like(starts, self.size[1]), places], dim=-1).flatten(0, 1)
        return Lanes(y, y.shape[1], self.written, y.stride(1), y.stride(3), runs)

    def gradient(self, x: Tensor) -> Tensor:
        """Return where the gradient of the points is added up."""
        return x.new_zeros(x.shape[1] * len(self._places), self.read).t()

    def collect(self, found: Tensor, x: Tensor) -> None:
        """Copy the gradient of the points to that of the input."""
        lanes = found.t().unflatten(0, (x.shape[1], len(self._places)))
        for phase, (to, own) in enumerate(self._places):
            x[own] = self._images(lanes[:, phase])[to].transpose(0, 1)


def lay_out(shape: FullyConnected | Convolution, x: Tensor) -> Samples | Lattice:
    """Return how the samples of an input lie in lanes."""
    return Lattice.of(shape, x) if isinstance(shape, Convolution) else Samples()


def rows(tensor: Tensor) -> Lanes:
    """Return a tensor ``(samples, rows)`` as rows and lanes."""
    return Lanes(tensor, tensor.shape[1], tensor.shape[0], tensor.stride(1), tensor.stride(0))


def points(layout: Samples | Lattice, x: Tensor) -> Tensor:
    """Return the points of each source of an input, in memory that kernels can read."""
    return layout.spread(native.ready(x))
