"""Export of a trained network to efficient-kan and to pykan, which then compute the same function."""

from __future__ import annotations

import atexit
import contextlib
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from . import checks
from .bases.bspline import BSpline
from .linear import KANLinear, MetaKANLinear
from .network import KAN, MetaKAN

if TYPE_CHECKING:
    import kan

EXPORTABLE = (KAN, MetaKAN, KANLinear, MetaKANLinear)


def _spline_layers(model: nn.Module, target: str) -> list[KANLinear | MetaKANLinear]:
    """Return the layers of an exportable model; raise if the target cannot express it."""
    if not isinstance(model, EXPORTABLE):
        expected = ", ".join(kind.__name__ for kind in EXPORTABLE)
        hint = " (found inside it: pass that)" if any(isinstance(m, EXPORTABLE) for m in _modules(model)) else ""
        raise TypeError(f"to_{target}: found a {type(model).__name__}{hint}, expected one of {expected}")
    layers = list(model.layers) if isinstance(model, (KAN, MetaKAN)) else [model]
    for layer in layers:
        if not isinstance(layer.basis, BSpline):
            raise ValueError(
                f"to_{target}: found the basis {layer.basis.name!r}, expected 'bspline', the only one that {target} has"
            )
    return layers


def _modules(model: object) -> list[nn.Module]:
    return list(model.modules()) if isinstance(model, nn.Module) else []


def knots(basis: BSpline, like: Tensor) -> Tensor:
    """Return the extended knots ``(grid_size + 2 * spline_order + 1,)`` in the dtype and on the device of ``like``."""
    low, order = basis.grid_range[0], basis.spline_order
    places = range(-order, basis.grid_size + order + 1)
    return torch.tensor([low + basis.spacing * place for place in places], dtype=like.dtype, device=like.device)


@torch.no_grad()
def to_efficient_kan(model: nn.Module, module: nn.Module | None = None) -> dict[str, Tensor] | nn.Module:
    """Return the same function in the layout of efficient-kan (Blealtan, 2024).

    The base weights are the numbers of SiLU and the spline weights those of the B-splines; the standalone scales of
    the splines are ones, so that ``spline_weight * spline_scaler`` is exact.

    Args:
        model: `KAN`, `MetaKAN` or one of their layers, with the basis "bspline".
        module: an ``efficient_kan.KAN`` (or a module with its state dict) of the same widths, grid and order, to be
            filled; built by the caller, so that nothing but torch is needed here.

    Returns:
        Without ``module`` a state dict with ``layers.{i}.base_weight (out, in)``, ``layers.{i}.spline_weight
        (out, in, grid_size + spline_order)``, ``layers.{i}.spline_scaler (out, in)`` and ``layers.{i}.grid
        (in, grid_size + 2 * spline_order + 1)``, in the model's dtype; otherwise ``module``, filled.

    Raises:
        TypeError: if ``model`` is not one of these.
        ValueError: if its basis is not "bspline", or ``module`` has another shape.
    """
    state = {}
    for position, layer in enumerate(_spline_layers(model, "efficient_kan")):
        numbers = layer.numbers().detach()
        entries = {
            "base_weight": numbers[..., -1].clone(),
            "spline_weight": numbers[..., :-1].clone(),
            "spline_scaler": torch.ones_like(numbers[..., 0]),
            "grid": knots(layer.basis, numbers).repeat(layer.in_features, 1),
        }
        state |= {f"layers.{position}.{name}": value for name, value in entries.items()}
    return state if module is None else _filled(module, state)


def _filled(module: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """Load a state into an efficient-kan; one without standalone scales has no place for them and needs none."""
    own = module.state_dict()
    wanted = {name: value for name, value in state.items() if name in own or not name.endswith("spline_scaler")}
    found = {name: tuple(value.shape) for name, value in own.items()}
    expected = {name: tuple(value.shape) for name, value in wanted.items()}
    wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if wrong:
        name = wrong[0]
        raise ValueError(
            f"to_efficient_kan: {name}: found {found.get(name, 'nothing of that name')} in module, "
            f"expected {expected.get(name, 'nothing of that name')}; its widths, grid_size and spline_order must be "
            "those of the model"
        )
    module.load_state_dict(wanted)
    return module


@torch.no_grad()
def to_pykan(
    model: nn.Module, inputs: Tensor | None = None, *, checkpoints: str | Path | None = None, seed: int = 0
) -> kan.KAN:
    """Return the same function as a `kan.KAN` of pykan (Liu et al., 2024) on which its symbolic tools work.

    pykan's side effects are contained: the global generators keep their states and nothing is written to the working
    directory. The symbolic branch is enabled. Dtype and device are the model's.

    Note:
        ``prune`` builds its result in torch's default dtype. For a model in float64 call
        ``torch.set_default_dtype(torch.float64)`` before it. It also reseeds the global generators and writes
        checkpoints, which go to ``checkpoints``.

    Args:
        model: `KAN`, `MetaKAN` or one of their layers, with the basis "bspline".
        inputs: points ``(n, in)`` that are run through the network once, since ``prune``, ``suggest_symbolic`` and
            ``auto_symbolic`` read the activations of the last forward pass. Their dtype and device are the model's.
        checkpoints: folder for what pykan writes; by default a temporary one that lives as long as the process.
        seed: given to pykan, whose random start is overwritten.

    Raises:
        ImportError: if pykan is not installed.
        TypeError: if ``model`` is not one of these, or ``inputs`` have another dtype.
        ValueError: if its basis is not "bspline", or ``inputs`` have another shape or device.
    """
    layers = _spline_layers(model, "pykan")
    _check_points(inputs, layers[0])
    try:
        import kan
    except ImportError as error:
        raise ImportError("to_pykan needs the package pykan: pip install pykan") from error
    basis = layers[0].basis
    width = [layers[0].in_features, *(layer.out_features for layer in layers)]
    folder = Path(checkpoints) if checkpoints is not None else _scratch()
    folder.mkdir(parents=True, exist_ok=True)
    with contained_generators():
        network = kan.KAN(
            width=width,  # a list of its own, since pykan rewrites it
            grid=basis.grid_size,
            k=basis.spline_order,
            grid_range=list(basis.grid_range),
            auto_save=False,
            ckpt_path=str(folder),
            seed=checks.integer("seed", seed, 0),
        )
    _move(network, layers[0].edges.parameter)
    for edges, layer in zip(network.act_fun, layers, strict=True):
        numbers = layer.numbers().detach().transpose(0, 1)
        edges.grid.copy_(knots(basis, numbers).expand_as(edges.grid))
        edges.coef.copy_(numbers[..., :-1])
        edges.scale_base.copy_(numbers[..., -1])
        edges.scale_sp.fill_(1)
        edges.mask.fill_(1)
    if inputs is not None:
        network(inputs)
    return network


def _check_points(inputs: Tensor | None, layer: KANLinear | MetaKANLinear) -> None:
    if inputs is None:
        return
    checks.features("to_pykan: inputs", inputs, layer.in_features, -1, layer.edges.parameter)
    if inputs.dim() != 2:
        raise ValueError(f"to_pykan: inputs: found shape {tuple(inputs.shape)}, expected (n, {layer.in_features})")


def _move(network: kan.KAN, like: Tensor) -> None:
    """Move a pykan network; its own `to` knows no dtype and leaves a plain index tensor behind."""
    nn.Module.to(network, dtype=like.dtype, device=like.device)
    network.input_id = network.input_id.to(like.device)
    for part in (network, *network.act_fun, *network.symbolic_fun):
        part.device = like.device


@contextlib.contextmanager
def contained_generators() -> Iterator[None]:
    """Put the global generators of torch, NumPy and `random` back afterwards; pykan seeds them all."""
    import numpy

    states = random.getstate(), numpy.random.get_state()  # noqa: NPY002 - the global one is what pykan seeds
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(states[0])
            numpy.random.set_state(states[1])  # noqa: NPY002


def _scratch() -> Path:
    """Return a new folder that is removed at exit: networks that pykan derives from an export write to it, too."""
    folder = tempfile.mkdtemp(prefix="metakan-pykan-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
