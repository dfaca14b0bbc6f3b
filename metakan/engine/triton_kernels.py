"""Triton kernels of the fused form (see `fused`): forward, gradient of the input, gradients of the parameters.

Shapes: a program sees ``BLOCK_BATCH`` samples (b), ``BLOCK_INPUTS`` inputs (i) and ``BLOCK_OUTPUTS`` outputs (o) at a
time; basis functions (n), hidden units (h) and prompt numbers are padded to powers of two, padding counting as zero.
Edges of a tile are numbered ``o * BLOCK_INPUTS + i``, so that the numbers ``(edges, n)`` and the operand
``(o, i * n)`` of a product are one array. Arithmetic is done in the dtype of ``constants``, products in that of
``product_like``.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _cardinal(distance, factors, ORDER: tl.constexpr, POWER: tl.constexpr):
    """Sum the truncated powers of the centred cardinal B-spline of degree ORDER; POWER is ORDER, less derivatives."""
    total = tl.zeros_like(distance)
    for j in tl.static_range(ORDER // 2 + 1):
        factor = tl.load(factors + j)
        if POWER == 0:
            total += factor * (distance < (ORDER + 1) / 2 - j).to(distance.dtype)
        else:
            step = tl.maximum((ORDER + 1) / 2 - j - distance, 0.0)
            power = step
            for _ in tl.static_range(POWER - 1):
                power *= step
            total += factor * power
    return total


@triton.jit
def _features(x, inside, constants, COUNT: tl.constexpr, NUMBERS: tl.constexpr, ORDER: tl.constexpr):
    """Return b(x) ``(b, i, n)`` for ``x (b, i)``; zero where not ``inside``."""
    n = tl.arange(0, NUMBERS)[None, None, :]
    offset = ((x - tl.load(constants)) * tl.load(constants + 1))[:, :, None] - n.to(x.dtype)
    splines = _cardinal(tl.abs(offset), constants + 2, ORDER, ORDER)
    silu = (x / (1 + tl.exp(-x)))[:, :, None]
    both = tl.where(n < COUNT, splines, tl.where(n == COUNT, silu, 0.0))
    return tl.where(inside[:, :, None], both, 0.0)


@triton.jit
def _slopes(x, constants, COUNT: tl.constexpr, NUMBERS: tl.constexpr, ORDER: tl.constexpr):
    """Return the derivative of b at ``x (b, i)``, ``(b, i, n)``."""
    n = tl.arange(0, NUMBERS)[None, None, :]
    inverse = tl.load(constants + 1)
    offset = ((x - tl.load(constants)) * inverse)[:, :, None] - n.to(x.dtype)
    falling = _cardinal(tl.abs(offset), constants + 2 + ORDER // 2 + 1, ORDER, ORDER - 1) * inverse
    splines = tl.where(offset < 0, falling, tl.where(offset > 0, -falling, 0.0))
    gate = 1 / (1 + tl.exp(-x))
    silu = (gate * (1 + x * (1 - gate)))[:, :, None]
    return tl.where(n < COUNT, splines, tl.where(n == COUNT, silu, 0.0))


@triton.jit
def _arguments(prompts, edge, known, w1, b1, like, HIDDEN, PROMPT: tl.constexpr, UNITS: tl.constexpr):
    """Return W1 z + b1 ``(edges, h)`` for the prompts of edges."""
    h = tl.arange(0, UNITS)
    dtype = like.dtype.element_ty
    total = tl.zeros((edge.shape[0], UNITS), dtype) + tl.load(b1 + h, mask=h < HIDDEN, other=0.0).to(dtype)[None, :]
    for e in tl.static_range(PROMPT):
        z = tl.load(prompts + edge * PROMPT + e, mask=known, other=0.0).to(dtype)
        total += z[:, None] * tl.load(w1 + h * PROMPT + e, mask=h < HIDDEN, other=0.0).to(dtype)[None, :]
    return total


@triton.jit
def _output_weight(w2, like, HIDDEN, COUNT: tl.constexpr, NUMBERS: tl.constexpr, UNITS: tl.constexpr):
    """Return W2 transposed, ``(h, n)``."""
    h = tl.arange(0, UNITS)[:, None]
    n = tl.arange(0, NUMBERS)[None, :]
    return tl.load(w2 + n * HIDDEN + h, mask=(h < HIDDEN) & (n <= COUNT), other=0.0).to(like.dtype.element_ty)


@triton.jit
def _edges(first_output, first_input, OUTPUTS, INPUTS, BLOCK_OUTPUTS: tl.constexpr, BLOCK_INPUTS: tl.constexpr):
    """Return the numbers of a tile's edges in the prompts, ``int64``, and which of them there are."""
    place = tl.arange(0, BLOCK_OUTPUTS * BLOCK_INPUTS)
    o, i = first_output + place // BLOCK_INPUTS, first_input + place % BLOCK_INPUTS
    return o.to(tl.int64) * INPUTS + i, (o < OUTPUTS) & (i < INPUTS)


@triton.jit
def _numbers(
    prompts, w1, b1, w2, b2, like, first_output, first_input, OUTPUTS, INPUTS, HIDDEN,
    COUNT: tl.constexpr, NUMBERS: tl.constexpr, UNITS: tl.constexpr, PROMPT: tl.constexpr,
    BLOCK_OUTPUTS: tl.constexpr, BLOCK_INPUTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return W2 relu(W1 z + b1) + b2 of a tile's edges as ``(o, i * n)``."""
    edge, known = _edges(first_output, first_input, OUTPUTS, INPUTS, BLOCK_OUTPUTS, BLOCK_INPUTS)
    hidden = tl.maximum(_arguments(prompts, edge, known, w1, b1, like, HIDDEN, PROMPT, UNITS), 0.0)
    weight = _output_weight(w2, like, HIDDEN, COUNT, NUMBERS, UNITS)
    n = tl.arange(0, NUMBERS)
    bias = tl.load(b2 + n, mask=n <= COUNT, other=0.0).to(like.dtype.element_ty)
    numbers = tl.dot(hidden, weight, input_precision=PRECISION) + bias[None, :]
    return tl.reshape(numbers, (BLOCK_OUTPUTS, BLOCK_INPUTS * NUMBERS))


@triton.jit
def _matrix(pointer, row, column, rows, columns, like):
    """Return a tile of a contiguous ``(rows, columns)`` matrix, zero outside, and its mask."""
    mask = (row[:, None] < rows) & (column[None, :] < columns)
    found = tl.load(pointer + row.to(tl.int64)[:, None] * columns + column[None, :], mask=mask, other=0.0)
    return found.to(like.dtype.element_ty), mask


@triton.jit
def forward_kernel(
    x, prompts, w1, b1, w2, b2, constants, product_like, y, BATCH, INPUTS, OUTPUTS, HIDDEN, STEPS,
    COUNT: tl.constexpr, ORDER: tl.constexpr, NUMBERS: tl.constexpr, UNITS: tl.constexpr, PROMPT: tl.constexpr,
    BLOCK_BATCH: tl.constexpr, BLOCK_OUTPUTS: tl.constexpr, BLOCK_INPUTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the sum over STEPS tiles of inputs to ``y (split, b, o)``. Grid: tiles of samples, of outputs, splits."""
    b = tl.program_id(0) * BLOCK_BATCH + tl.arange(0, BLOCK_BATCH)
    first_output = tl.program_id(1) * BLOCK_OUTPUTS
    dtype = product_like.dtype.element_ty
    total = tl.zeros((BLOCK_BATCH, BLOCK_OUTPUTS), constants.dtype.element_ty)
    for step in range(STEPS):
        first_input = (tl.program_id(2) * STEPS + step) * BLOCK_INPUTS
        part, inside = _matrix(x, b, first_input + tl.arange(0, BLOCK_INPUTS), BATCH, INPUTS, constants)
        features = _features(part, inside, constants, COUNT, NUMBERS, ORDER)
        features = tl.reshape(features, (BLOCK_BATCH, BLOCK_INPUTS * NUMBERS)).to(dtype)
        numbers = _numbers(
            prompts, w1, b1, w2, b2, constants, first_output, first_input, OUTPUTS, INPUTS, HIDDEN,
            COUNT, NUMBERS, UNITS, PROMPT, BLOCK_OUTPUTS, BLOCK_INPUTS, PRECISION,
        )  # fmt: skip
        total += tl.dot(features, tl.trans(numbers.to(dtype)), input_precision=PRECISION)
    o = first_output + tl.arange(0, BLOCK_OUTPUTS)
    place = (tl.program_id(2).to(tl.int64) * BATCH + b)[:, None] * OUTPUTS + o[None, :]
    tl.store(y + place, total.to(y.dtype.element_ty), mask=(b[:, None] < BATCH) & (o[None, :] < OUTPUTS))


@triton.jit
def input_gradient_kernel(
    x, gradient, prompts, w1, b1, w2, b2, constants, product_like, out, BATCH, INPUTS, OUTPUTS, HIDDEN, STEPS,
    COUNT: tl.constexpr, ORDER: tl.constexpr, NUMBERS: tl.constexpr, UNITS: tl.constexpr, PROMPT: tl.constexpr,
    BLOCK_BATCH: tl.constexpr, BLOCK_OUTPUTS: tl.constexpr, BLOCK_INPUTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the sum over STEPS tiles of outputs to ``out (split, b, i)``. Grid: tiles of samples, of inputs, splits."""
    b = tl.program_id(0) * BLOCK_BATCH + tl.arange(0, BLOCK_BATCH)
    first_input = tl.program_id(1) * BLOCK_INPUTS
    i = first_input + tl.arange(0, BLOCK_INPUTS)
    dtype = product_like.dtype.element_ty
    total = tl.zeros((BLOCK_BATCH, BLOCK_INPUTS * NUMBERS), constants.dtype.element_ty)
    for step in range(STEPS):
        first_output = (tl.program_id(2) * STEPS + step) * BLOCK_OUTPUTS
        pulled, _ = _matrix(gradient, b, first_output + tl.arange(0, BLOCK_OUTPUTS), BATCH, OUTPUTS, product_like)
        numbers = _numbers(
            prompts, w1, b1, w2, b2, constants, first_output, first_input, OUTPUTS, INPUTS, HIDDEN,
            COUNT, NUMBERS, UNITS, PROMPT, BLOCK_OUTPUTS, BLOCK_INPUTS, PRECISION,
        )  # fmt: skip
        total += tl.dot(pulled, numbers.to(dtype), input_precision=PRECISION)
    part, inside = _matrix(x, b, i, BATCH, INPUTS, constants)
    slopes = _slopes(part, constants, COUNT, NUMBERS, ORDER)
    found = tl.sum(tl.reshape(total, (BLOCK_BATCH, BLOCK_INPUTS, NUMBERS)) * slopes, axis=2)
    place = (tl.program_id(2).to(tl.int64) * BATCH + b)[:, None] * INPUTS + i[None, :]
    tl.store(out + place, found.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _numbers_gradient(
    x, gradient, constants, product_like, first_output, first_input, BATCH, INPUTS, OUTPUTS,
    COUNT: tl.constexpr, ORDER: tl.constexpr, NUMBERS: tl.constexpr,
    BLOCK_BATCH: tl.constexpr, BLOCK_OUTPUTS: tl.constexpr, BLOCK_INPUTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return the gradient of the numbers of a tile's edges, ``(edges, n)``, summed over the batch."""
    o, i = first_output + tl.arange(0, BLOCK_OUTPUTS), first_input + tl.arange(0, BLOCK_INPUTS)
    total = tl.zeros((BLOCK_OUTPUTS, BLOCK_INPUTS * NUMBERS), constants.dtype.element_ty)
    for start in range(0, BATCH, BLOCK_BATCH):
        b = start + tl.arange(0, BLOCK_BATCH)
        part, inside = _matrix(x, b, i, BATCH, INPUTS, constants)
        features = _features(part, inside, constants, COUNT, NUMBERS, ORDER)
        features = tl.reshape(features, (BLOCK_BATCH, BLOCK_INPUTS * NUMBERS))
        pulled, _ = _matrix(gradient, b, o, BATCH, OUTPUTS, product_like)
        features = features.to(product_like.dtype.element_ty)
        total += tl.dot(tl.trans(pulled), features, input_precision=PRECISION)
    return tl.reshape(total, (BLOCK_OUTPUTS * BLOCK_INPUTS, NUMBERS))


@triton.jit
def _paired(left, right, PRECISION: tl.constexpr):
    """Return the sum over edges of left (edges, n) times right (edges, h), as ``(n, h)``.

    Cut into groups: one product of so few rows would be repeated by every warp, with all edges in its registers.
    """
    EDGES: tl.constexpr = left.shape[0]
    GROUPS: tl.constexpr = 8 if EDGES >= 128 else EDGES // 16
    left = tl.permute(tl.reshape(left, (GROUPS, EDGES // GROUPS, left.shape[1])), (0, 2, 1))
    right = tl.reshape(right, (GROUPS, EDGES // GROUPS, right.shape[1]))
    return tl.sum(tl.dot(left, right, input_precision=PRECISION), axis=0)


@triton.jit
def parameter_gradient_kernel(
    x, gradient, prompts, w1, b1, w2, constants, product_like, prompts_out, sums_out,
    BATCH, INPUTS, OUTPUTS, HIDDEN, STEPS,
    COUNT: tl.constexpr, ORDER: tl.constexpr, NUMBERS: tl.constexpr, UNITS: tl.constexpr, PROMPT: tl.constexpr,
    BLOCK_BATCH: tl.constexpr, BLOCK_OUTPUTS: tl.constexpr, BLOCK_INPUTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the prompts' gradient of STEPS tiles of inputs, and the sums of that of (W1, b1, W2, b2) over them.

    ``sums_out`` has one row a program, so that adding the rows up gives the same result each time. Grid: tiles of
    outputs, splits of the inputs.
    """
    dtype = constants.dtype.element_ty
    MOST_PROMPT: tl.constexpr = 8
    h, n, p = tl.arange(0, UNITS), tl.arange(0, NUMBERS), tl.arange(0, MOST_PROMPT)
    weight = _output_weight(w2, constants, HIDDEN, COUNT, NUMBERS, UNITS)
    sum_w1, sum_b1 = tl.zeros((MOST_PROMPT, UNITS), dtype), tl.zeros((UNITS,), dtype)
    sum_w2, sum_b2 = tl.zeros((NUMBERS, UNITS), dtype), tl.zeros((NUMBERS,), dtype)
    first_output = tl.program_id(0) * BLOCK_OUTPUTS
    for step in range(STEPS):
        first_input = (tl.program_id(1) * STEPS + step) * BLOCK_INPUTS
        pulled = _numbers_gradient(
            x, gradient, constants, product_like, first_output, first_input, BATCH, INPUTS, OUTPUTS,
            COUNT, ORDER, NUMBERS, BLOCK_BATCH, BLOCK_OUTPUTS, BLOCK_INPUTS, PRECISION,
        )  # fmt: skip
        edge, known = _edges(first_output, first_input, OUTPUTS, INPUTS, BLOCK_OUTPUTS, BLOCK_INPUTS)
        argument = _arguments(prompts, edge, known, w1, b1, constants, HIDDEN, PROMPT, UNITS)
        sum_w2 += _paired(pulled, tl.maximum(argument, 0.0), PRECISION)
        sum_b2 += tl.sum(pulled, axis=0)
        inner = tl.dot(pulled, tl.trans(weight), input_precision=PRECISION)
        inner = tl.where(argument > 0, inner, 0.0)
        sum_b1 += tl.sum(inner, axis=0)
        for e in tl.static_range(PROMPT):
            z = tl.load(prompts + edge * PROMPT + e, mask=known, other=0.0).to(dtype)
            row = tl.load(w1 + h * PROMPT + e, mask=h < HIDDEN, other=0.0).to(dtype)
            found = tl.sum(inner * row[None, :], axis=1)
            tl.store(prompts_out + edge * PROMPT + e, found.to(prompts_out.dtype.element_ty), mask=known)
            sum_w1 += tl.where(p[:, None] == e, tl.sum(inner * z[:, None], axis=0)[None, :], 0.0)
    size = HIDDEN * (PROMPT + 1) + (HIDDEN + 1) * (COUNT + 1)
    row = sums_out + (tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)).to(tl.int64) * size
    tl.store(row + h[None, :] * PROMPT + p[:, None], sum_w1, mask=(h[None, :] < HIDDEN) & (p[:, None] < PROMPT))
    row += HIDDEN * PROMPT
    tl.store(row + h, sum_b1, mask=h < HIDDEN)
    row += HIDDEN
    tl.store(row + n[:, None] * HIDDEN + h[None, :], sum_w2, mask=(h[None, :] < HIDDEN) & (n[:, None] <= COUNT))
    row += HIDDEN * (COUNT + 1)
    tl.store(row + n, sum_b2, mask=n <= COUNT)
