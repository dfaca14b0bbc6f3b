"""Scalar prompts through ReLU on a processor: a walk along each input's piecewise-linear curve of functions.

With units ``u_h(x) = W2_h . b(x)`` and ``v(x) = b2 . b(x)`` a layer is

    y_o = sum_i v(x_i) + sum_h relu(w_h z_oi + b_h) u_h(x_i) = sum_i P[s, i] + z_oi Q[s, i],

where s is the segment of z_oi between the kinks of the units, P[s] = v + sum b_h u_h and Q[s] = sum w_h u_h over the
units that are active on it. What remains for each edge and sample is one multiply-add and one addition, whatever the
basis; the plain contraction has n_b multiply-adds. Backward is the same walk: the sums of the output's gradient over
the outputs of each segment are the gradient of P and Q.

The kernel (`metakan.native.walk`) makes the tables for a block of samples of one input at a time, so that they are
nowhere in memory as a whole. Nothing of the size of the edges is kept or made but the gradient of the prompts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import native
from ..bases import Basis, BSpline
from ..native import walk
from ..native.walk import Features, Lanes, Units
from . import budget
from .closed import Closed
from .forms import Setting
from .lattice import Lattice, Samples, lay_out, points, rows
from .shape import Convolution, FullyConnected
from .sources import Dense, Generated
from .units import OrderedUnits

MOST_GROUP = 1024
"""Outputs whose block of samples should stay in a core's second-level cache."""
LEAST_GROUP = 128
LEAST_CHUNK_BYTES, MOST_CHUNK_BYTES = 128 * 1024, budget.MIB
LEAST_OUTPUTS = 48
"""With so many outputs, the tables of all segments cost less than features and numbers of the edges."""
MORE_UNITS = 40
"""With fewer outputs too, where features would be splines and no more than so many hidden units are beyond them."""
MOST_SHARED = 4
"""Taps that count as so many outputs more in this."""
STRETCH_NUMBERS, MOST_STRETCH = 2**15, 512
"""Numbers of the outputs that a stretch of a convolution's lanes should have, and the most lanes of one."""
WORK_A_THREAD = 2**16
"""Another thread is not worth waking for fewer edges times samples."""


def walkable(x: Tensor, source: Dense | Generated, basis: Basis, shape: FullyConnected | Convolution) -> bool:
    """Tell whether the walk can evaluate a layer, on tensors such as these."""
    return (
        isinstance(source, Generated)
        and source.activation == "relu"
        and source.prompts.shape[2] == 1
        and basis.linear
        and (isinstance(shape, FullyConnected) or shape.prompt_layout == "per_edge")
        and source.prompts.shape[0] <= walk.MOST_OUTPUTS
        and native.active()
        and walk.AVAILABLE
        and native.looked_up(x, *source.tensors())
        and len({tensor.dtype for tensor in (x, *source.tensors())}) == 1
        and native.transparent(x, *source.tensors())
    )


def worthwhile(outputs: int, units: int, taps: int, splines: bool) -> bool:
    """Tell whether the walk is worth its tables, whose cost grows with the hidden units and which taps share."""
    few = splines and taps == 1 and outputs + MORE_UNITS >= units
    return few or outputs * min(taps, MOST_SHARED) >= LEAST_OUTPUTS


def quick(source: Generated, basis: Basis, shape: FullyConnected | Convolution) -> bool:
    """Tell whether the walk is quicker than the tiled form for a layer that it can evaluate."""
    units = len(source.hidden[1])
    return worthwhile(source.parameter.shape[0], units, shape.taps, isinstance(basis, BSpline))


class Walk(Closed):
    """Keeps only ``x`` and the source's tensors for backward."""

    def forward(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor]:
        setting = self.setting.over(*tensors)
        layout = lay_out(setting.shape, x)
        y = setting.shape.new_output(x, len(tensors[0]))
        _, table = _units(setting)
        for start, stop in _tiles(x, y, setting):
            edges = slice(start * layout.taps, stop * layout.taps)
            _part(points(layout, x[:, start:stop]), layout, setting, table, tensors[0][:, edges]).forward(
                layout.outputs(y)
            )
        return (y.to(setting.product_dtype),)

    def backward(self, x, tensors, kept, gradient, needed):
        setting = self.setting.over(*tensors)
        layout = lay_out(setting.shape, x)
        gradient = native.ready(gradient.to(x.dtype))
        units, table = _units(setting)
        found = torch.zeros_like(x, memory_format=torch.contiguous_format) if needed[0] else None
        prompts_gradient = torch.empty_like(tensors[0], memory_format=torch.contiguous_format)
        sums = torch.zeros(2 * len(units.order) + table.weights.numel(), dtype=torch.float64, device=x.device)
        for start, stop in _tiles(x, gradient, setting):
            edges = slice(start * layout.taps, stop * layout.taps)
            own = points(layout, x[:, start:stop])
            part = _part(own, layout, setting, table, tensors[0][:, edges])
            to = None if found is None else found[:, start:stop]
            _pull(part, own, layout, setting, gradient, prompts_gradient[:, edges, 0], to, sums)
        return (found, prompts_gradient, *_gradients(setting, units, table, sums))


def _pull(part, own, layout, setting, gradient, prompts_gradient, found, sums) -> None:
    """Write the gradient of some prompts, add to the sums, and write that of their inputs to ``found``, if wanted."""
    y = layout.outputs(gradient)
    if found is None:
        part.backward(y, prompts_gradient, None, sums)
    elif part.features.given is None:
        to = layout.gradient(found)
        part.backward(y, prompts_gradient, rows(to), sums)
        layout.collect(to, found)
    else:
        pulled = torch.zeros_like(part.features.given)
        part.backward(y, prompts_gradient, part.x, sums, pulled)
        layout.collect((pulled * setting.basis.slopes(own)).sum(0), found)


def _tiles(x: Tensor, y: Tensor, setting: Setting) -> list[tuple[int, int]]:
    """Return ranges of inputs: all at once, or as many as features fit the budget where these are made in advance."""
    if isinstance(setting.basis, BSpline):
        return [(0, x.shape[1])]
    each = 4 * setting.basis.numbers * x.numel() // max(x.shape[1], 1) * x.element_size()
    return budget.tiles(x.shape[1], each, budget.budget(x, y, setting.source.parameter))


def _units(setting: Setting) -> tuple[OrderedUnits, Units]:
    """Return the units of the meta-learner in the order of their kinks, and as the kernel reads them."""
    (w1, b1), (w2, b2) = setting.source.hidden, setting.source.output
    slope, offset = w1[:, 0], b1
    units = OrderedUnits.of(slope, offset)
    factors = torch.stack([offset[units.order], slope[units.order], units.before, units.change])
    numbers = len(b2)
    edge = setting.basis.local.order + 1 if isinstance(setting.basis, BSpline) else 0
    rows = numbers + 2 * edge  # around the splines lie some of no weight, for points that meet only a few
    weights = w2.new_zeros(rows, walk.columns(len(units.order), w2.dtype))
    for to, own in _rows(numbers, edge, rows):
        weights[to, : len(units.order)] = w2[own].index_select(1, units.order)
        weights[to, len(units.order)] = b2[own]
    return units, Units(units.kinks, factors, weights)


def _rows(numbers: int, edge: int, rows: int) -> list[tuple[slice, slice]]:
    """Return which rows of the weights belong to which numbers: the splines, and SiLU at the end."""
    if not edge:
        return [(slice(0, rows), slice(0, numbers))]
    return [(slice(edge, rows - edge - 1), slice(0, numbers - 1)), (slice(rows - 1, rows), slice(numbers - 1, numbers))]


def _gradients(setting: Setting, units: OrderedUnits, table: Units, sums: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of W1, b1, W2 and b2 from the kernel's sums."""
    (w1, _), (w2, b2) = setting.source.hidden, setting.source.output
    count, (rows, columns) = len(units.order), table.weights.shape
    own, weights = sums.to(w1.dtype).split([2 * count, rows * columns])
    weights = weights.view(rows, columns)
    b1_gradient, w1_gradient = own.new_empty(count), own.new_empty(count)
    b1_gradient[units.order], w1_gradient[units.order] = own[0::2], own[1::2]
    w2_gradient, b2_gradient = torch.empty_like(w2), torch.empty_like(b2)
    edge = (rows - len(b2)) // 2
    for found, numbers in _rows(len(b2), edge, rows):
        w2_gradient[numbers, units.order] = weights[found, :count]
        b2_gradient[numbers] = weights[found, count]
    return w1_gradient.unsqueeze(1), b1_gradient, w2_gradient, b2_gradient


def _part(x: Tensor, layout: Samples | Lattice, setting: Setting, table: Units, prompts: Tensor) -> walk.Walk:
    """Return the call of the kernel for some of the inputs, given their points ``(lanes, sources)``."""
    features, lanes = _features(x, setting.basis)
    prompts = native.ready(prompts)[..., 0]
    if prompts.stride(1) != 1:
        prompts = prompts.contiguous()
    taps = layout.edges()
    return walk.Walk(
        lanes, features, taps, prompts, table, *cut(*prompts.shape, x.shape[0], layout.taps, x.element_size())
    )


def _features(x: Tensor, basis: Basis) -> tuple[Features, Lanes]:
    if not isinstance(basis, BSpline):
        given = basis.planes(x)
        plane = given[0]
        return Features(-1, given=given), rows(plane)
    local = basis.local
    knots = (1 - local.start / local.spacing, 1 / local.spacing)
    pieces, slopes = (local.kernel(x, derivative).pieces for derivative in (0, 1))
    return Features(local.order, knots, pieces, slopes, torch.sigmoid(x)), rows(x)


def cut(outputs: int, edges: int, lanes: int, taps: int, size: int) -> tuple[int, int, int, int]:
    """Return the threads, lanes of a stretch, outputs of a group and edges of a chunk, for ``edges`` of each output."""
    threads = max(1, min(torch.get_num_threads(), outputs * edges * lanes // WORK_A_THREAD))
    block = walk.LANE_BYTES // size
    stretch = 2 * block if taps > 1 or lanes > block else block
    if taps > 1:  # longer ones, so that few positions are in the tables of two
        stretch *= max(1, min(STRETCH_NUMBERS // outputs, MOST_STRETCH, lanes) // stretch)
    stretches = max(1, -(-lanes // stretch))
    group = max(LEAST_GROUP, -(-outputs // -(-threads // stretches)))
    allowed = min(max(outputs * edges * size // 4, LEAST_CHUNK_BYTES), MOST_CHUNK_BYTES)
    most = allowed // (outputs * 3 * size * taps)
    if taps == 1:
        most = max(most // walk.EDGES_TOGETHER, 1) * walk.EDGES_TOGETHER
    return threads, stretch, min(group, MOST_GROUP), min(max(most, 1) * taps, edges) or 1
