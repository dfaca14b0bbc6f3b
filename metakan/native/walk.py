"""The kernel of the curve walk; see `metakan.engine.walk` for what it computes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .serving import TYPES, has_values, kernels, ready, simulated

AVAILABLE = getattr(kernels, "WALKS", 0) == 2
"""Whether the kernels are there, not older than this file, and the compiler that built them could make this one."""

MOST_OUTPUTS = 2**16 - 1
WIDE_BYTES = 32
LANE_BYTES = 128
"""Bytes of the samples that are treated together."""
ADDRESSES = 30
EDGES_TOGETHER = 16
"""Inputs whose prompts are read together."""


@dataclass(frozen=True)
class Taps:
    """Which edges read which source: ``starts (phases + 1)``, and ``edges`` and ``shifts`` of each tap, `int32`."""

    starts: Tensor
    edges: Tensor
    shifts: Tensor
    halo: int
    mask: Tensor | None = None

    @property
    def phases(self) -> int:
        return len(self.starts) - 1


@dataclass(frozen=True)
class Lanes:
    """A tensor read as ``(rows, lanes)``: sources or outputs by samples, with its distances in memory.

    ``runs (n, 3)`` (`int64`), where not every lane is in the tensor: the first lane of some, how many they are, and
    the place of the first one in a row.
    """

    tensor: Tensor
    rows: int
    lanes: int
    row_stride: int
    lane_stride: int
    runs: Tensor | None = None


@dataclass(frozen=True)
class Units:
    """Units in the order of their kinks: `kinks (h,)`, `factors (4, h)` and `weights (rows, columns)` (see walk.h)."""

    kinks: Tensor
    factors: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Features:
    """B-splines of ``order`` on knots; with ``order`` -1, features ``given (n_b, ...)`` in the layout of the input."""

    order: int
    knots: tuple[float, float] = (0.0, 0.0)
    pieces: Tensor | None = None
    slopes: Tensor | None = None
    sigmoid: Tensor | None = None
    given: Tensor | None = None


@dataclass(frozen=True)
class Walk:
    """One layer, or a range of its sources. A table covers a ``stretch`` of lanes; ``group`` outputs share a block of
    forward; ``chunk`` edges of an output are ordered at a time.
    """

    x: Lanes
    features: Features
    taps: Taps
    prompts: Tensor
    units: Units
    threads: int
    stretch: int
    group: int
    chunk: int

    def forward(self, y: Lanes) -> None:
        """Add the layer's output to ``y``."""
        self._run(y, backward=False)

    def backward(
        self, gradient: Lanes, prompts: Tensor | None, found: Lanes | None, sums: Tensor, features: Tensor | None = None
    ) -> None:
        """Write the gradient of the prompts, add that of the input to ``found``, and those of the units to ``sums``.

        ``sums`` (float64) are of b and w of each unit in turn, and of the weights. With features that are given,
        ``features`` takes their gradient, in the layout of ``found``.
        """
        self._run(gradient, True, prompts, found, sums, features)

    def _run(
        self,
        y: Lanes,
        backward: bool,
        prompts: Tensor | None = None,
        found: Lanes | None = None,
        sums: Tensor | None = None,
        features: Tensor | None = None,
    ) -> None:
        x, own, taps, units = self.x, self.features, self.taps, self.units
        dtype, outputs = TYPES[self.prompts.dtype], y.rows
        rows, columns = units.weights.shape
        places = found or x
        sizes = (
            self.threads, x.rows, taps.phases, taps.edges.numel(), y.lanes, x.lanes, taps.halo, outputs,
            units.kinks.numel(), columns, rows, self.stretch, outputs if backward else min(self.group, outputs),
            self.chunk, own.order,
        )  # fmt: skip
        tensors = (
            taps.starts, taps.edges, taps.shifts, taps.mask, x.tensor, own.sigmoid, x.row_stride, x.lane_stride,
            own.pieces, own.slopes, own.given, 0 if own.given is None else own.given.stride(0), self.prompts,
            self.prompts.stride(0), units.kinks, units.factors, units.weights, y.tensor, y.row_stride, y.lane_stride,
            y.runs, 0 if y.runs is None else len(y.runs), found.tensor if found and features is None else None,
            features, places.row_stride, places.lane_stride, prompts, 0 if prompts is None else prompts.stride(0), sums,
        )  # fmt: skip
        if not x.rows or not y.lanes or not outputs:
            if prompts is not None:
                prompts.zero_()
            return
        needed = memory_bytes(self.prompts.dtype, sizes, backward)
        memory = torch.empty(needed, dtype=torch.uint8, device=y.tensor.device)
        held = [ready(entry) if isinstance(entry, Tensor) else entry for entry in tensors]
        if simulated(memory):
            return  # the memory is all there is to see
        if not has_values(*(entry for entry in held if isinstance(entry, Tensor))):
            raise RuntimeError("the kernel of the walk was given tensors that have no memory of their own")
        addresses = (entry.data_ptr() if isinstance(entry, Tensor) else entry or 0 for entry in held)
        getattr(kernels, f"walk_{dtype}")(*own.knots, *sizes, *addresses, memory.data_ptr(), int(backward))


def memory_bytes(dtype: torch.dtype, sizes: tuple[int, ...], backward: bool) -> int:
    """Return what a call takes beside its arguments: ordered prompts of a chunk, and the tables of each thread.

    ``sizes`` are those that `Walk` passes to the kernel first: threads, sources, phases, taps, lanes of the output and
    of the input, halo, outputs, units, columns, rows, lanes of a stretch, outputs of a group, edges of a chunk, and
    order of the splines.
    """
    return getattr(kernels, f"walk_memory_{TYPES[dtype]}")(0.0, 0.0, *sizes, *[0] * ADDRESSES, int(backward))


def columns(units: int, dtype: torch.dtype) -> int:
    """Return how many columns the weights of that many units have."""
    wide = WIDE_BYTES // dtype.itemsize
    return -(-(units + 2) // wide) * wide
