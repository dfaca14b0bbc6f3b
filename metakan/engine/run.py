"""Chooses how a layer is evaluated."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import native
from ..bases import Basis, BSpline
from .budget import PLAIN_BYTES, plain_bytes
from .edgewise import Edgewise
from .factorised import Factorised, factorisable
from .forms import Form, Setting
from .fused import Fused, available
from .materialized import materialized
from .recorded import record
from .shape import Convolution, FullyConnected
from .small import Small
from .sources import Dense, Generated
from .tiled import Tiled
from .walk import Walk, quick, walkable


def evaluate(
    x: Tensor, source: Dense | Generated, basis: Basis, shape: FullyConnected | Convolution, mode: str
) -> tuple[Tensor, str]:
    """Return the output and the form that gave it: "materialized", "tiled", "walk", "factorised" or
    "fused".

    A meta-learner without activation is factorised unless ``mode`` is "materialized". Otherwise "auto" means tiled
    once the plain form would keep more than `PLAIN_BYTES`, or fused where a GPU can run that, or the walk where a
    processor's kernels can and its tables are worth their cost. Recorded for others, or
    in some transforms, every layer takes the plain form (`native.needs_operators`).
    """
    if native.needs_operators(x, *source.tensors()):
        mode = "materialized"
    if mode != "materialized" and factorisable(source, basis, shape) and x.numel():  # nothing to share if empty
        return _run(Factorised, x, source, basis, shape), "factorised"
    if mode == "auto" and plain_bytes(x, source, basis, shape) <= PLAIN_BYTES:
        mode = "materialized"
        if isinstance(basis, BSpline) and native.serves(x, source.parameter):
            return _run(Small, x, Dense(source.numbers()), basis, shape), mode
    if mode == "materialized":
        return materialized(x, source.numbers(), basis, shape), mode
    if mode == "auto" and available(x, source, basis, shape):
        return _run(Fused, x, source, basis, shape), "fused"
    if mode == "auto" and walkable(x, source, basis, shape) and quick(source, basis, shape):
        return _run(Walk, x, source, basis, shape), "walk"
    return _run(Tiled if basis.linear else Edgewise, x, source, basis, shape), "tiled"


def _run(
    form: type[Form], x: Tensor, source: Dense | Generated, basis: Basis, shape: FullyConnected | Convolution
) -> Tensor:
    """Run a form with a hand-written backward, with autocast only in products; in a compiled graph as one operator."""
    device = x.device.type
    autocast = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if autocast else source.parameter.dtype
    x = x.to(source.parameter.dtype)
    with torch.autocast(device, enabled=False):
        tensors = Factorised.tensors(source) if form is Factorised else source.tensors()
        setting = Setting(source, basis, shape, dtype)
        if torch.compiler.is_dynamo_compiling():
            return record(form, setting, x, tensors)
        return form(setting)(x, *tensors)
