"""How many bytes each form of a fully connected spline layer takes in a training step, in closed form.

These are the terms of `metakan/MEMORY.md` for float32 on a processor; nothing here runs a layer. A form's functions
list the moments at which it can hold the most, in elements; the largest of them counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .. import native
from ..native import walk as kernel
from . import budget, walk
from .piecewise import BLOCK_POINTS, INDICATORS

FLOAT = 4
TWICE = ("silu", "gelu")
"""Activations whose argument is kept beside their value."""
SPLINE_ARRAYS = 5
"""Arrays of spline values that the closed form of the B-splines holds at once."""
SLOPE_ARRAYS = 6
"""The same for their derivatives."""
MET = 3
"""Elements a point and spline that it meets, of their powers and their places in the features (64-bit)."""
LOCATED = 2
"""Elements an edge of a tile's scalar prompts and their segments, which are kept until the next tile replaces them."""
LOOKUP = LOCATED + 4
"""The same with the indices and factors that reading the curve's table takes."""


@dataclass(frozen=True)
class Layer:
    """What the terms depend on. ``hidden_dim`` None: dense numbers; ``first``: the input needs no gradient."""

    inputs: int
    outputs: int
    batch: int
    splines: int
    prompt_dim: int = 0
    hidden_dim: int | None = None
    activation: str = "relu"
    first: bool = False
    spline_order: int = 3

    @property
    def numbers(self) -> int:
        return self.splines + 1

    @property
    def edges(self) -> int:
        return self.inputs * self.outputs

    @property
    def size(self) -> int:
        return self.batch * self.inputs

    @property
    def argument(self) -> int:
        """Elements of the input, where it is the output of another layer and not the batch."""
        return 0 if self.first else self.size

    @property
    def parameter(self) -> int:
        return self.edges * (self.numbers if self.hidden_dim is None else self.prompt_dim)


def layer_memory(layer: Layer, mode: str) -> dict[str, int]:
    """Return ``gradient``, ``saved`` and ``transient`` bytes of a layer.

    ``saved`` is what its forward keeps for backward, ``transient`` the most that it holds beside that at any moment.
    """
    forms = {"materialized": _materialized, "tiled": _tiled, "factorised": _factorised, "walk": _walk}
    saved, moments = forms[form(layer, mode)](layer)
    transient = max(*moments, saved) - saved + layer.batch * layer.outputs
    return {"gradient": FLOAT * layer.parameter, "saved": FLOAT * saved, "transient": FLOAT * transient}


def form(layer: Layer, mode: str) -> str:
    """Return how the engine evaluates a layer: "materialized", "tiled", "walk" or "factorised"."""
    if mode != "materialized" and layer.hidden_dim is not None and layer.activation == "none":
        return "factorised"
    hidden = -layer.numbers if layer.hidden_dim is None else 2 * layer.hidden_dim
    plain = FLOAT * (layer.edges * (layer.numbers + hidden) + layer.size * layer.numbers)
    if mode == "auto" and plain <= budget.PLAIN_BYTES:
        return "materialized"
    if mode != "auto":
        return mode
    curved = layer.hidden_dim is not None and layer.activation == "relu" and layer.prompt_dim == 1
    few = layer.outputs <= kernel.MOST_OUTPUTS
    walks = curved and few and walk.worthwhile(layer.outputs, layer.hidden_dim, 1, True)
    return "walk" if walks and native.active() and kernel.AVAILABLE else "tiled"


def _walk(layer: Layer) -> tuple[int, list[int]]:
    """Beside input and output there are the sigmoid of the input and the kernel's memory, on as many threads as now."""
    threads, stretch, group, chunk = walk.cut(layer.outputs, layer.inputs, layer.batch, 1, FLOAT)
    units, order = layer.hidden_dim, layer.spline_order
    columns, rows = kernel.columns(units, torch.float32), layer.numbers + 2 * (order + 1)

    def memory(backward: bool) -> int:
        outputs = layer.outputs
        lanes = (layer.batch, layer.batch, 0)
        cuts = (stretch, outputs if backward else min(group, outputs), chunk, order)
        sizes = (threads, layer.inputs, 1, 1, *lanes, outputs, units, columns, rows, *cuts)
        return kernel.memory_bytes(torch.float32, sizes, backward) // FLOAT

    learner = (2 * units + rows * columns) * 3  # weights in the kernel's layout, and sums in double precision
    forward = layer.argument + layer.size + memory(False) + learner
    backward = 2 * layer.argument + layer.parameter + layer.size + memory(True) + learner
    return layer.argument, [forward, backward]


def _materialized(layer: Layer) -> tuple[int, list[int]]:
    size, splines, numbers = layer.size, layer.splines, layer.numbers
    if layer.hidden_dim is None:
        hidden = passing = generated = 0
        pulled = layer.edges * numbers
    else:
        inner = layer.edges * layer.hidden_dim
        hidden = (2 if layer.activation in TWICE else 1) * inner
        passing = inner if layer.activation == "none" else 2 * inner
        generated = pulled = layer.edges * numbers
    held = layer.argument + hidden
    saved = held + size * numbers + (0 if layer.first else generated)
    moments = [
        hidden + (passing - inner if layer.hidden_dim else 0),
        held + generated + size * SPLINE_ARRAYS * splines,
        held + generated + size * (splines + 1 + numbers),
        saved + pulled + (generated if layer.first else size * numbers),
        2 * layer.argument + hidden + max(passing, passing // 2 + generated),
    ]
    if not layer.first:
        moments.append(held + pulled + size * (2 + splines + SLOPE_ARRAYS * splines))
    return saved, moments


def _tiled(layer: Layer) -> tuple[int, list[int]]:
    """A tile is a range of inputs: `part` elements of the input and `edges` edges. Only the layer's input is kept."""
    numbers, learned = layer.numbers, layer.hidden_dim is not None
    looked_up = learned and layer.activation == "relu" and layer.prompt_dim == 1
    each, generating, pulling = 2 * numbers, numbers, 0  # elements an edge; dense numbers are copied out
    if looked_up:
        each, generating, pulling = 2 * numbers + 10, numbers + LOOKUP, numbers + LOOKUP
    elif learned:
        each = 3 * numbers + 4 * layer.hidden_dim + 2 * layer.prompt_dim
        generating = max(2 * layer.hidden_dim, layer.hidden_dim + numbers)
        pulling = 3 * layer.hidden_dim + numbers
    width = tile_width(layer, each)
    part, edges = width * layer.batch, width * layer.outputs
    met = layer.spline_order + 1  # splines that are not zero at a point
    remains = numbers * part + (numbers * learned + LOCATED * looked_up) * edges
    before = remains if width < layer.inputs else 0
    forward = [  # what the tile before left is dropped only when this one has replaced it
        before + (numbers + (MET + 2) * met) * part,
        numbers * part + generating * edges + (numbers * edges if before and learned else 0),
    ]
    backward = [(numbers + 2 * met) * part, numbers * part + numbers * edges, (numbers + pulling) * edges]
    if not layer.first:
        backward += [numbers * part + numbers * edges, (numbers + 2 * met + 1) * part]
        backward.append(generating * edges)
    backward = [MET * met * part + moment for moment in backward]
    standing = layer.parameter + 2 * layer.argument
    return layer.argument, [layer.argument + max(forward), standing + max(backward)]


def tile_width(layer: Layer, each: int) -> int:
    """Return the inputs of one tile of a layer whose temporaries take `each` elements an edge and output."""
    available = budget.allowance(FLOAT * (layer.size + layer.batch * layer.outputs + layer.edges))
    features = FLOAT * 4 * layer.numbers * layer.batch
    ranges = budget.tiles(layer.inputs, FLOAT * layer.outputs * each + features, available)
    return ranges[0][1] - ranges[0][0]


def _factorised(layer: Layer) -> tuple[int, list[int]]:
    """Each prompt number and the offset share one function of the input; a block of points is evaluated at a time.

    A scalar prompt's function is kept for backward, more are evaluated again.
    """
    size, prompt, met = layer.size, layer.prompt_dim, layer.spline_order + 1
    block, functions = min(size, BLOCK_POINTS), prompt + 1
    located = 2 + met  # an interval (64-bit) and powers
    kept = size if prompt == 1 else 0
    again = 0 if prompt == 1 else prompt * size
    intervals = layer.splines + layer.spline_order
    scratch = functions * met + (intervals if intervals + 2 <= INDICATORS else 0)  # stays between blocks
    forward = functions * size + block * (located + functions * met + 1)
    slopes = 0 if layer.first else functions * (met - 1) + 2
    pulling = block * (located + max(scratch + (1 if layer.first else 2), slopes + (scratch if size > block else 0)))
    last = size - (size - 1) // block * block
    if last < block:  # its scratch is made while that of the block before is still there
        pulling = max(pulling, block * scratch + last * (located + functions * met + (1 if layer.first else 2)))
    standing = layer.argument + kept + layer.parameter
    moments = [
        layer.argument + max(forward, functions * size + again),
        standing + functions * size + prompt * size + again,
        standing + functions * size + layer.argument + pulling,
    ]
    return layer.argument + kept, moments
