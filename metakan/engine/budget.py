"""How large a tile may be, and whether tiles are worth it."""

from __future__ import annotations

import math

from torch import Tensor

from ..bases import Basis
from .generators import bytes_each
from .shape import Convolution, FullyConnected
from .sources import Amplified, Dense, Generated

MIB = 2**20
# Below this, what the plain form keeps for backward is not worth the time of recomputing it.
PLAIN_BYTES = MIB
# A tile may use this multiple of input, output and one number an edge, which any layer holds, within these limits.
# Fewer tiles are quicker; with three the peak of a step is still that of the optimiser's update, or close to it.
TILE_SHARE = 3
LEAST_TILE_BYTES, MOST_TILE_BYTES = 8 * MIB, 256 * MIB


def plain_bytes(x: Tensor, source: Dense | Generated, basis: Basis, shape: FullyConnected | Convolution) -> int:
    """Return about how many bytes the plain form holds at once: numbers, hidden activations and features."""
    outputs, edges = source.parameter.shape[:2]
    size = x.element_size()
    generated = source.shapes if isinstance(source, Amplified) else source
    hidden = 2 * generated.hidden[0].shape[0] if isinstance(generated, Generated) else -basis.numbers
    numbers = outputs * edges * (basis.numbers + hidden) * size
    if basis.linear:
        return numbers + x.numel() * basis.numbers * size
    positions = math.prod(shape.output_size(x)) if isinstance(shape, Convolution) else 1
    return numbers + 4 * x.shape[0] * positions * outputs * edges * size


def budget(x: Tensor, y: Tensor, parameter: Tensor) -> int:
    """Return the bytes that the temporaries of one tile may take."""
    edges = parameter.shape[0] * parameter.shape[1]
    return allowance((x.numel() + y.numel() + edges) * x.element_size())


def allowance(unavoidable: int) -> int:
    """Return the bytes of a tile for a layer whose input, output and one number an edge take ``unavoidable`` bytes."""
    return min(max(TILE_SHARE * unavoidable, LEAST_TILE_BYTES), MOST_TILE_BYTES)


def input_tiles(
    x: Tensor, y: Tensor, source: Dense | Generated, shape: FullyConnected | Convolution, numbers: int, points: int
) -> tuple[list[tuple[int, int]], int]:
    """Return ranges of inputs (or input channels) whose temporaries fit the budget, and the budget in bytes.

    ``numbers`` are those of an edge, ``points`` the bytes that a tile needs for the samples of one input.
    """
    edges = source.parameter.shape[0] * shape.taps * bytes_each(source, numbers)
    available = budget(x, y, source.parameter)
    return tiles(x.shape[1], edges + points, available), available


def tiles(total: int, bytes_each: int, available: int) -> list[tuple[int, int]]:
    """Cut ``total`` items of ``bytes_each`` bytes into even ranges that fit; at least one item a range."""
    most = max(1, available // max(bytes_each, 1))
    count = -(-total // most)
    step = -(-total // max(count, 1))
    return [(start, min(start + step, total)) for start in range(0, total, max(step, 1))]
