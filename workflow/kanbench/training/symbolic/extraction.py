"""Turns an exported network into one of symbols: sparsify, prune, choose a symbol for each edge, refit.

The network is pykan's (Liu et al. 2024, liu2024) and its own tools do the work; it is driven through its methods, so
that nothing is imported here. All happens on a copy, in float64, without a word and with the global generators kept.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.optimize import least_squares
from sympy import Expr, Integer
from torch import Tensor, nn

from kanbench.baselines.build import contained_generators
from kanbench.training.symbolic import formula

FLOOR = 1e-5
"""Added to the unexplained variance before its logarithm is taken, as pykan does."""


class NoFormula(Exception):
    """A stage of the extraction failed; the message names the stage and what was found."""


@dataclass(frozen=True)
class Edge:
    """A live edge: where it is, its symbol, and how every symbol of the library fits it by itself.

    Attributes:
        fits: Symbol -> R² of the fit and the fitted (a, b, c, d) of c·f(a·x + b) + d, the preferred one first.
    """

    layer: int
    input: int
    output: int
    symbol: str
    fits: Mapping[str, tuple[float, tuple[float, ...]]]

    @property
    def place(self) -> tuple[int, int, int]:
        return self.layer, self.input, self.output

    @property
    def r2(self) -> float:
        """R² of the chosen symbol's fit to this edge alone."""
        return self.fits[self.symbol][0]


@contextlib.contextmanager
def contained() -> Iterator[str]:
    """Yield a folder for what pykan writes; float64 is the default dtype, output and warnings are swallowed."""
    before = torch.get_default_dtype()
    with (
        tempfile.TemporaryDirectory(prefix="kanbench-symbolic-") as folder,
        contained_generators(),
        warnings.catch_warnings(),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        torch.set_default_dtype(torch.float64)
        try:
            yield folder
        finally:
            torch.set_default_dtype(before)


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Turn whatever pykan raises on a network it cannot handle into `NoFormula`."""
    try:
        yield
    except NoFormula:
        raise
    except Exception as error:
        text = str(error).splitlines()[0] if str(error) else ""
        raise NoFormula(f"{name}: {type(error).__name__}: {text}") from error


def private_copy(network: nn.Module, inputs: Tensor, folder: str) -> nn.Module:
    """Return a copy of an exported network on the CPU in float64 that keeps its activations and writes to `folder`."""
    first = next(network.parameters())
    with torch.no_grad():
        network(inputs[:2].to(first.device, first.dtype))
    network = duplicate(network)
    nn.Module.to(network, device="cpu", dtype=torch.float64)
    network.input_id = network.input_id.cpu()
    for part in (network, *network.act_fun, *network.symbolic_fun):
        part.device = torch.device("cpu")
    network.symbolic_enabled = network.save_act = True
    network.auto_save, network.ckpt_path = False, folder
    for layer in network.symbolic_fun:
        layer.affine.requires_grad_(True)
    return network


def duplicate(network: nn.Module) -> nn.Module:
    """Return a copy of a network; what it keeps of its last pass may hang on a graph, which cannot be copied."""
    for name, value in list(vars(network).items()):
        if torch.is_tensor(value):
            setattr(network, name, value.detach())
        elif isinstance(value, list) and all(torch.is_tensor(part) for part in value):
            setattr(network, name, [part.detach() for part in value])
    return copy.deepcopy(network)


def sparsify(network: nn.Module, inputs: Tensor, targets: Tensor, settings: Mapping[str, Any]) -> nn.Module:
    """Train with pykan's penalty (L1 and entropy of the edges' scales), prune, and train without the penalty.

    Its strength is `penalty` times the variance of the targets, so that it means the same for every formula.

    Returns:
        The pruned network.

    Raises:
        NoFormula: pykan failed, or nothing is left.
    """
    data = {"train_input": inputs, "train_label": targets, "test_input": inputs[:1], "test_label": targets[:1]}
    quiet = {"update_grid": False, "log": 10**9}
    if settings["sparsify_steps"]:
        with stage("sparsify"):
            strength = settings["penalty"] * float(targets.var(correction=0))
            network.fit(data, steps=settings["sparsify_steps"], lamb=strength, **quiet)
    with stage("prune"):
        network(inputs)
        network.attribute()
        network = network.prune(node_th=settings["node_threshold"], edge_th=settings["edge_threshold"])
        network.auto_save = False
    if not live_edges(network):
        raise NoFormula("prune: no edge is left")
    with stage("refit of the pruned network"):
        refit(network, inputs, targets, settings["refit_iterations"])
    if not math.isfinite(loss_of(network, inputs, targets)):
        raise NoFormula("refit of the pruned network: its outputs are not finite")
    return network


def live_edges(network: nn.Module) -> list[tuple[int, int, int]]:
    """Return layer, input and output of the edges that are splines still, front to back."""
    return [
        (layer, *edge) for layer, edges in enumerate(network.act_fun) for edge in torch.nonzero(edges.mask).tolist()
    ]


def loss_of(network: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Return the mean squared error."""
    with torch.no_grad():
        return float(nn.functional.mse_loss(network(inputs), targets))


def refit(network: nn.Module, inputs: Tensor, targets: Tensor, iterations: int) -> None:
    """Fit the affine parameters of the symbols, and the splines that are left, by L-BFGS; keep the best point met.

    A point where the loss is not finite (a logarithm of a negative number) is a bad step for the line search.
    """
    parameters = [layer.affine for layer in network.symbolic_fun]
    for edges in network.act_fun:
        if bool(edges.mask.any()):
            parameters += [edges.coef, edges.scale_base, edges.scale_sp]
    saved, network.save_act = network.save_act, False
    optimiser = torch.optim.LBFGS(
        parameters, max_iter=iterations, max_eval=2 * iterations, history_size=20, line_search_fn="strong_wolfe",
        tolerance_grad=1e-12, tolerance_change=1e-15,
    )  # fmt: skip
    best, kept = math.inf, [parameter.detach().clone() for parameter in parameters]

    def closure() -> Tensor:
        nonlocal best, kept
        optimiser.zero_grad()
        loss = nn.functional.mse_loss(network(inputs), targets)
        if torch.isfinite(loss):
            loss.backward()
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
            if float(loss) < best:
                best, kept = float(loss), [parameter.detach().clone() for parameter in parameters]
            return loss.detach()
        return torch.full((), 1e6) * (1 + targets.square().mean())

    optimiser.step(closure)
    with torch.no_grad():
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)
    network.save_act = saved


def refit_symbols(network: nn.Module, inputs: Tensor, targets: Tensor, evaluations: int) -> None:
    """Fit the affine parameters of a network whose live edges all are symbols, by nonlinear least squares.

    The parameters are redundant and badly scaled; the trust region of `scipy.optimize.least_squares` converges where
    L-BFGS crawls, and steps back from points where a symbol is undefined.
    """
    masks = [layer.mask.detach() != 0 for layer in network.symbolic_fun]
    affine = [layer.affine.detach().clone() for layer in network.symbolic_fun]
    start = torch.cat([values[mask].flatten() for values, mask in zip(affine, masks, strict=True)])
    sizes = [4 * int(mask.sum()) for mask in masks]

    def residuals(parameters: Tensor) -> Tensor:
        x = inputs[:, network.input_id.long()]
        for depth, (part, mask) in enumerate(zip(parameters.split(sizes), masks, strict=True)):
            x = _symbolic_layer(network, depth, torch.nonzero(mask).tolist(), part.view(-1, 4), x)
        return x[:, 0] - targets[:, 0]

    def as_numpy(function):
        return lambda parameters: function(torch.from_numpy(parameters)).numpy()

    with torch.no_grad():
        jacobian = as_numpy(torch.func.jacfwd(residuals))
        found = least_squares(
            as_numpy(residuals), start.numpy(), jac=lambda p: np.nan_to_num(jacobian(p)), max_nfev=evaluations,
            x_scale="jac", ftol=1e-12, xtol=1e-12, gtol=1e-12,
        )  # fmt: skip
        for layer, mask, part in zip(network.symbolic_fun, masks, torch.from_numpy(found.x).split(sizes), strict=True):
            layer.affine[mask] = part.view(-1, 4)


def _symbolic_layer(network: nn.Module, depth: int, live: list[list[int]], affine: Tensor, x: Tensor) -> Tensor:
    """Return the outputs of a layer, shape (batch, outputs), from the parameters of its live edges, (edges, 4)."""
    layer = network.symbolic_fun[depth]
    sums = [x.new_zeros(len(x)) for _ in range(layer.out_dim)]
    for (target, source), (a, b, c, d) in zip(live, affine, strict=True):
        sums[target] = sums[target] + c * layer.funs[target][source](a * x[:, source] + b) + d
    y = network.subnode_scale[depth] * torch.stack(sums, dim=1) + network.subnode_bias[depth]
    return network.node_scale[depth] * y + network.node_bias[depth]


def suggest(network: nn.Module, place: tuple[int, int, int], library: Iterable[str], weight_simple: float) -> Edge:
    """Return an edge with the symbol that is best for it by itself, as pykan's `suggest_symbolic` ranks them.

    The network's last forward pass supplies the edge's inputs and outputs. The edge stays a spline.
    """
    layer, source, target = place
    fits = {}
    for name in library:
        r2 = float(network.fix_symbolic(*place, name, verbose=False, log_history=False))
        fits[name] = r2, tuple(network.symbolic_fun[layer].affine[target][source].tolist())
        release(network, place)
    ranked = dict(sorted(fits.items(), key=lambda fit: preference(fit[0], fit[1][0], weight_simple)))
    return Edge(*place, next(iter(ranked)), ranked)


def preference(name: str, r2: float, weight_simple: float) -> float:
    """Return what pykan minimises: complexity against the logarithm of the unexplained variance."""
    unexplained = math.log2(max(1 + FLOOR - r2, 1e-12)) if math.isfinite(r2) else math.inf
    return weight_simple * formula.COMPLEXITY[name] + (1 - weight_simple) * unexplained


def fix(network: nn.Module, edge: Edge, name: str) -> None:
    """Make an edge a symbol, with the parameters that were fitted to it."""
    network.fix_symbolic(*edge.place, name, fit_params_bool=False, verbose=False, log_history=False)
    with torch.no_grad():
        network.symbolic_fun[edge.layer].affine[edge.output, edge.input] = torch.tensor(edge.fits[name][1])


def release(network: nn.Module, place: tuple[int, int, int]) -> None:
    """Make an edge a spline again.

    pykan's `unfix_symbolic` leaves the function in place behind a mask of 0, and 0 times a logarithm of a negative
    number is not 0; so the function is replaced first.
    """
    network.fix_symbolic(*place, "0", fit_params_bool=False, verbose=False, log_history=False)
    network.unfix_symbolic(*place, log_history=False)


def choose_isolated(network: nn.Module, edges: list[Edge]) -> list[Edge]:
    """Make every edge the symbol that fits it best by itself; return the edges."""
    for edge in edges:
        fix(network, edge, edge.symbol)
    return edges


def choose_in_context(
    network: nn.Module, edges: list[Edge], inputs: Tensor, targets: Tensor, probe: Tensor, settings: Mapping[str, Any]
) -> list[Edge]:
    """Make the edges symbols one after the other, each the one with which the whole network fits the data best.

    Greedy selection as in-context symbolic regression for KANs (arXiv 2603.15250) has it: a candidate is put in place,
    all that is free is fitted for `context_iterations`, and the R² of the network takes the place of the edge's in the
    preference. Tried are the `candidates` best by the edge's own R²; the edges with the smallest share in the output
    come first.

    Returns:
        The edges with their symbols, in the order of `edges`.
    """
    network(probe)
    network.attribute()
    shares = {edge.place: float(network.edge_scores[edge.layer][edge.output, edge.input]) for edge in edges}
    variance, weight = float(targets.var(correction=0)), settings["weight_simple"]
    chosen = {}
    for edge in sorted(edges, key=lambda edge: shares[edge.place]):
        network(probe)
        edge = suggest(network, edge.place, list(edge.fits)[: settings["candidates"]], weight)
        before, tried = _snapshot(network), {}
        for name in edge.fits:
            fix(network, edge, name)
            refit(network, inputs, targets, settings["context_iterations"])
            r2 = 1 - loss_of(network, inputs, targets) / variance
            tried[name] = preference(name, r2, weight), _snapshot(network)
            release(network, edge.place)
            network.load_state_dict(before)
        name = min(tried, key=lambda symbol: tried[symbol][0])
        fix(network, edge, name)
        network.load_state_dict(tried[name][1])
        chosen[edge.place] = replace(edge, symbol=name)
    return [chosen[edge.place] for edge in edges]


def _snapshot(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def expression(network: nn.Module, variables: list[Expr]) -> Expr:
    """Return the formula of a network whose live edges all are symbols, for the expressions of its inputs."""
    values = [variables[int(index)] for index in network.input_id]
    for layer, symbols in enumerate(network.symbolic_fun):
        sums = []
        for target in range(symbols.out_dim):
            total = Integer(0)
            for source in range(symbols.in_dim):
                if symbols.mask[target, source] != 0:
                    affine = symbols.affine[target][source].tolist()
                    total += formula.apply(symbols.funs_name[target][source], affine, values[source])
            scale, shift = (float(part[layer][target]) for part in (network.subnode_scale, network.subnode_bias))
            total = scale * total + shift
            scale, shift = (float(part[layer][target]) for part in (network.node_scale, network.node_bias))
            sums.append(formula.expand(scale * total + shift))
        values = sums
    return values[0]
