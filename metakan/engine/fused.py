"""B-splines with generated numbers in one kernel a pass: for GPUs, through Triton.

A program owns a tile of outputs and samples and walks over the inputs. For each tile of inputs it evaluates the
basis, passes the tile's prompts through the meta-learner, and adds the product of the two; numbers and features exist
only in its registers, and nothing but the layer's input is kept for backward.

Why one kernel, and not a generator that fills a tile of numbers for a library's matrix product: per edge and tile of
64 samples the contraction takes 64 * 16 multiply-adds (n_b padded to 16) on the tensor cores, the meta-learner 32 * 16
there (hidden_dim 32), and the basis about 12 operations for each of 64 * 16 values, shared by the 64 outputs of the
tile. Generating is thus at most half of the product that it feeds, although each tile of samples repeats it, while a
generator would write and read 4 * n_b bytes an edge where the prompt itself is 4, and launch three kernels a tile:
some hundred a step where this form has three a layer.

Sums over inputs (forward) or outputs (gradient of the input) are split among programs where the tiles alone would
leave multiprocessors idle; the parts, and the sums of the meta-learner's gradient that each program makes, are added
up afterwards in a fixed order. There are no atomics: the same inputs give the same bits.

A product of float32 is three of TF32, whose error is about that of float32 itself, unless
``torch.set_float32_matmul_precision`` allows a single one. Under autocast the contraction is in bfloat16, the
meta-learner in TF32 and the rest in float32. Higher derivatives come from the differentiable plain form, as in
`tiled`.

``METAKAN_FUSED=0`` in the environment, or ``mode="tiled"`` on a layer, keeps this form away.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from .. import native
from ..bases import Basis
from ..bases.bspline import BSpline
from .budget import LEAST_TILE_BYTES
from .forms import Form, Setting
from .shape import Convolution, FullyConnected
from .sources import Dense, Generated

MOST_NUMBERS, MOST_HIDDEN, MOST_PROMPT = 128, 128, 8
MOST_WIDTH = 2**16
"""Inputs or outputs of a layer; a grid has no more than 65535 tiles in its second dimension."""
PROGRAMS = 512
"""How many programs a kernel should have at least, a few for each multiprocessor of a large GPU."""
OPTIONS = {"num_warps": 8, "num_stages": 1}
MOST_SUMS = 4096
"""How many programs may each hold a copy of the meta-learner's gradient."""


def available(x: Tensor, source: Dense | Generated, basis: Basis, shape: FullyConnected | Convolution) -> bool:
    """Return whether "auto" should take the fused form: it can express the layer, and a GPU is there to run it."""
    return x.is_cuda and _available(x, source, basis, shape)


@torch.compiler.disable  # a look at the environment, not part of a graph
def _available(x: Tensor, source: Dense | Generated, basis: Basis, shape: FullyConnected | Convolution) -> bool:
    return (
        native.has_values(x)
        and source.parameter.dtype in (torch.float32, torch.bfloat16)
        and expressible(source, basis, shape)
        and os.environ.get("METAKAN_FUSED", "1") != "0"
        and _runs_on(x.device)
    )


def expressible(source: Dense | Generated, basis: Basis, shape: FullyConnected | Convolution) -> bool:
    """Return whether the kernels know the layer: fully connected B-splines, generated through ReLU, not too wide."""
    return (
        isinstance(shape, FullyConnected)
        and isinstance(basis, BSpline)
        and isinstance(source, Generated)
        and source.activation == "relu"
        and basis.numbers <= MOST_NUMBERS
        and source.hidden[0].shape[0] <= MOST_HIDDEN
        and source.prompts.shape[2] <= MOST_PROMPT
        and max(source.prompts.shape[:2]) < MOST_WIDTH
    )


@lru_cache
def _runs_on(device: torch.device) -> bool:
    """Return whether Triton is installed and the device has the tensor cores for TF32 and bfloat16 (from sm_80 on)."""
    found = torch.version.cuda is not None and find_spec("triton") is not None
    return found and torch.cuda.get_device_capability(device) >= (8, 0)


@dataclass(frozen=True)
class Plan:
    """How the work is cut; sizes of blocks and paddings are powers of two."""

    numbers: int
    units: int
    batch: int
    outputs: int
    inputs: int

    @staticmethod
    def of(rows: int, numbers: int, hidden: int, most_outputs: int = 64, columns: int = 64) -> Plan:
        """Return the blocks for a batch of ``rows``, such that every array of a program fits its registers.

        ``columns`` are basis functions of all inputs in a block: the inner dimension of the forward product.
        """
        numbers, units = _padded(numbers), _padded(hidden)
        inputs, outputs = max(1, columns // numbers), most_outputs
        while outputs > 16 and outputs * inputs * units > 2**13:
            outputs //= 2
        return Plan(numbers, units, min(64, _padded(rows)), outputs, inputs)

    @staticmethod
    def of_parameters(rows: int, numbers: int, hidden: int) -> Plan:
        """Return the same for the gradients of the parameters, whose products have outputs as rows."""
        return Plan.of(rows, numbers, hidden, most_outputs=32, columns=128)


def _padded(size: int) -> int:
    """Return the power of two from 16 on, the least that a product takes, that holds ``size``."""
    return max(16, 1 << (size - 1).bit_length())


def _splits(tiles: int, steps: int, bytes_each: int) -> tuple[int, int]:
    """Cut ``steps`` among programs, given ``tiles`` of them already: return how many parts, and steps a part."""
    wanted = min(-(-PROGRAMS // max(tiles, 1)), steps, max(1, LEAST_TILE_BYTES // max(bytes_each, 1)))
    each = -(-steps // max(wanted, 1))
    return -(-steps // max(each, 1)), each


def constants(basis: BSpline, like: Tensor) -> Tensor:
    """Return what the kernels must know of a basis: first centre, 1 / spacing, factors of values and of slopes."""
    order = basis.spline_order
    signs = [(-1) ** j * math.comb(order + 1, j) for j in range(order // 2 + 1)]
    values = [sign / math.factorial(order) for sign in signs]
    slopes = [sign / math.factorial(order - 1) for sign in signs]
    first = basis.grid_range[0] + basis.spacing * (1 - order) / 2
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    return torch.tensor([first, 1 / basis.spacing, *values, *slopes], dtype=dtype, device=like.device)


def kernel_constants(
    plan: Plan, numbers: int, order: int, hidden: int, prompt: int, precision: str
) -> dict[str, int | str]:
    """Return the compile-time arguments of the kernels."""
    return {
        "COUNT": numbers - 1, "ORDER": order, "NUMBERS": plan.numbers, "UNITS": plan.units, "PROMPT": prompt,
        "BLOCK_BATCH": plan.batch, "BLOCK_OUTPUTS": plan.outputs, "BLOCK_INPUTS": plan.inputs, "PRECISION": precision,
    }  # fmt: skip


class _Launch:
    """The arguments that the three kernels share."""

    def __init__(self, x: Tensor, setting: Setting):
        self.x = x.contiguous()
        self.tensors = tuple(tensor.detach().contiguous() for tensor in setting.source.tensors())
        prompts, w1 = self.tensors[:2]
        basis, self.dtype = setting.basis, setting.product_dtype
        self.batch, self.inputs = x.shape
        self.outputs, self.prompt, self.hidden = prompts.shape[0], prompts.shape[2], w1.shape[0]
        self.plan = Plan.of(self.batch, basis.numbers, self.hidden)
        self.parameter_plan = Plan.of_parameters(self.batch, basis.numbers, self.hidden)
        self.constants = constants(basis, x)
        self.like = self.x.new_empty(1, dtype=self.dtype)
        if self.constants.dtype == torch.float64:
            precision = "ieee"
        elif self.dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest":
            precision = "tf32x3"
        else:
            precision = "tf32"
        self.settings = (basis.numbers, basis.spline_order, self.hidden, self.prompt, precision)

    def options(self, plan: Plan) -> dict[str, int | str]:
        return {**kernel_constants(plan, *self.settings), **OPTIONS}

    def sizes(self, steps: int) -> tuple[int, ...]:
        return (self.batch, self.inputs, self.outputs, self.hidden, steps)

    def tiles(self, plan: Plan) -> tuple[int, int, int]:
        """Return the numbers of tiles of samples, outputs and inputs."""
        pairs = ((self.batch, plan.batch), (self.outputs, plan.outputs), (self.inputs, plan.inputs))
        return tuple(-(-size // block) for size, block in pairs)

    def forward(self) -> Tensor:
        """Return the output ``(batch, out)`` in the dtype of products."""
        from .triton_kernels import forward_kernel

        batch, outputs, inputs = self.tiles(self.plan)
        accumulated = self.constants.new_empty
        parts, steps = _splits(batch * outputs, inputs, self.batch * self.outputs * self.constants.element_size())
        y = accumulated(parts, self.batch, self.outputs)
        forward_kernel[batch, outputs, parts](
            self.x,
            *self.tensors,
            self.constants,
            self.like,
            y,
            *self.sizes(steps),
            **self.options(self.plan),
        )
        return (y[0] if parts == 1 else y.sum(0)).to(self.dtype)

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """Return the gradient of ``x`` from that of the output."""
        from .triton_kernels import input_gradient_kernel

        batch, outputs, inputs = self.tiles(self.plan)
        size = self.x.numel() * self.constants.element_size()
        parts, steps = _splits(batch * inputs, outputs, size)
        found = self.constants.new_empty(parts, *self.x.shape)
        input_gradient_kernel[batch, inputs, parts](
            self.x,
            gradient,
            *self.tensors,
            self.constants,
            self.like,
            found,
            *self.sizes(steps),
            **self.options(self.plan),
        )
        return (found[0] if parts == 1 else found.sum(0)).to(self.x.dtype)

    def parameter_gradients(self, gradient: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of prompts, W1, b1, W2 and b2 from that of the output."""
        from .triton_kernels import parameter_gradient_kernel

        _, outputs, inputs = self.tiles(self.parameter_plan)
        learner = self.tensors[1:]
        size = sum(tensor.numel() for tensor in learner)
        parts = min(inputs, max(1, min(MOST_SUMS, 4 * PROGRAMS) // outputs))
        steps = -(-inputs // parts)
        parts = -(-inputs // steps)
        prompts = torch.empty_like(self.tensors[0])
        sums = self.constants.new_empty(outputs * parts, size)
        parameter_gradient_kernel[outputs, parts](
            self.x, gradient, *self.tensors[:4], self.constants, self.like, prompts, sums, *self.sizes(steps),
            **self.options(self.parameter_plan),
        )  # fmt: skip
        found = sums.sum(0).split([tensor.numel() for tensor in learner])
        return (prompts, *(part.view_as(own).to(own.dtype) for part, own in zip(found, learner, strict=True)))


class Fused(Form):
    """Keeps only ``x`` and the source's tensors for backward.

    On tensors that are not on a GPU this runs only in Triton's interpreter (``TRITON_INTERPRET=1``), for tests.
    """

    def forward(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor]:
        setting = self.setting.over(*tensors)
        if not x.numel():
            return (x.new_zeros(x.shape[0], tensors[0].shape[0], dtype=setting.product_dtype),)
        return (_Launch(x, setting).forward(),)

    def backward(self, x, tensors, kept, gradient, needed):
        if not x.numel():
            return tuple(torch.zeros_like(tensor) for tensor in (x, *tensors))
        launch, gradient = _Launch(x, self.setting.over(*tensors)), gradient.contiguous()
        found = launch.input_gradient(gradient) if needed[0] else None
        others = launch.parameter_gradients(gradient) if any(needed[1:]) else (None,) * len(tensors)
        return (found, *others)
