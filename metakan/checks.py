"""Argument checks: every message names the argument, what was found and what was expected."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import torch

MODES = ("auto", "tiled", "materialized")
META_ACTIVATIONS = ("relu", "none", "tanh", "silu", "gelu")
INITS = ("scaled", "released")
SHAPES = ("random", "polynomials", "sines", "bumps")


def integer(name: str, value: object, minimum: int = 1) -> int:
    """Return ``value`` as a Python integer if it is an integer of any kind of at least ``minimum``.

    Truth values are none. Raise TypeError or ValueError otherwise.
    """
    try:
        if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"{name}: found {value!r} of type {kind}, expected an integer >= {minimum}") from None
    if number < minimum:
        raise ValueError(f"{name}: found {number}, expected an integer >= {minimum}")
    return number


def entries(value: object) -> list[object] | None:
    """Return the entries of a sequence or of a one-dimensional array; None for anything else, strings included."""
    if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        return None
    return list(value)


def choice(name: str, value: object, allowed: Sequence[str]) -> str:
    """Return ``value`` if it is one of ``allowed``; raise ValueError otherwise."""
    if value not in allowed:
        raise ValueError(f"{name}: found {value!r}, expected one of {', '.join(map(repr, allowed))}")
    return value


def widths(name: str, value: object, minimum_length: int = 2) -> list[int]:
    """Return the layer widths, a sequence or an array, as a new list; the caller's is never changed."""
    found = entries(value)
    if found is None:
        raise TypeError(
            f"{name}: found {value!r} of type {type(value).__name__}, expected a sequence of "
            f"at least {minimum_length} layer widths such as [784, 32, 10]"
        )
    if len(found) < minimum_length:
        raise ValueError(f"{name}: found {found!r}, expected at least {minimum_length} entries")
    return [integer(f"{name}[{position}]", entry) for position, entry in enumerate(found)]


def interval(name: str, value: object) -> tuple[float, float]:
    """Return ``value`` as two finite, increasing floats."""
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: found {value!r}, expected two numbers (low, high)") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{name}: found {value!r}, expected finite numbers with low < high")
    return low, high


def features(layer: str, x: object, size: int, dim: int, parameter: torch.Tensor) -> None:
    """Check an input tensor's type, feature size along ``dim``, dtype and device against a layer's parameters."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{layer}: found an input of type {type(x).__name__}, expected a torch.Tensor")
    if x.dim() < -dim or x.shape[dim] != size:
        raise ValueError(
            f"{layer}: found an input of shape {tuple(x.shape)}, expected {size} features along dimension {dim}"
        )
    if x.device != parameter.device:
        raise ValueError(
            f"{layer}: found an input on {x.device}, expected it on {parameter.device}, the device of the parameters"
        )
    if not x.is_floating_point():
        raise TypeError(f"{layer}: found an input of dtype {x.dtype}, expected {parameter.dtype}")
    if x.dtype != parameter.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(
            f"{layer}: found an input of dtype {x.dtype}, expected {parameter.dtype}, the dtype of the parameters"
        )


def points(name: str, t: object) -> None:
    """Check that ``t`` is a one-dimensional floating-point tensor."""
    if not isinstance(t, torch.Tensor) or not t.is_floating_point():
        found = f"a tensor of dtype {t.dtype}" if isinstance(t, torch.Tensor) else f"a {type(t).__name__}"
        raise TypeError(f"{name}: found {found}, expected a floating-point tensor")
    if t.dim() != 1:
        raise ValueError(f"{name}: found points of shape {tuple(t.shape)}, expected (n,)")
