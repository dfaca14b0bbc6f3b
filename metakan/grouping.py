"""Groups of layers from data: from what enters them, or from what they have learned."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from . import checks
from .bases import Basis
from .clustering import kmeans
from .sharing import SharedLearners

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DENSE = re.compile(r"layers\.(\d+)\.edges\.weight$")
ROWS = 100_000
"""Rows of a sample that statistics are taken of at most, evenly spaced."""


def regroup_by_inputs(network: SharedLearners, x: Tensor) -> None:
    """Group the layers of a network anew by the distribution of what enters them when it evaluates ``x``.

    Raises:
        ValueError: as `group_by_distribution`.
    """
    network.set_clusters(group_by_distribution(layer_inputs(network, x), len(network.meta_learners)))


def regroup_by_numbers(network: SharedLearners, dense: Mapping[str, Tensor]) -> None:
    """Group the layers of a network anew by the edge numbers that a dense network of its shape has learned.

    Args:
        network: whose layers are grouped.
        dense: the state dict of a `KAN` or `ConvKAN` (or of a module that contains one) with as many layers.

    Raises:
        ValueError: if the numbers of layers or of numbers an edge differ, or as `group_by_distribution`.
    """
    found = {int(match[1]): value for name, value in dense.items() if (match := DENSE.search(name))}
    if len(found) != len(network.layers):
        raise ValueError(f"dense: found the numbers of {len(found)} layers, expected {len(network.layers)}")
    samples = []
    for number in sorted(found):
        if found[number].shape[-1] != network.basis.numbers:
            raise ValueError(
                f"dense: found {found[number].shape[-1]} numbers an edge in layer {number}, "
                f"expected {network.basis.numbers}, those of the basis {network.basis.name!r}"
            )
        samples.append(unit_numbers(found[number], network.basis))
    network.set_clusters(group_by_distribution(samples, len(network.meta_learners)))


def group_by_distribution(samples: Sequence[Tensor], num_clusters: int) -> list[int]:
    """Return a cluster id a layer: k-means on the statistics of one sample ``(n, d)`` a layer (see `statistics`).

    Raises:
        ValueError: if fewer than ``num_clusters`` layers differ.
    """
    clusters = checks.integer("num_clusters", num_clusters)
    return kmeans(torch.stack([statistics(sample) for sample in samples]), clusters)


def statistics(sample: Tensor) -> Tensor:
    """Return mean, standard deviation and the quantiles 5, 25, 50, 75 and 95 % of each of d columns, ``(7 * d,)``."""
    rows = _thinned(sample.detach()).double().cpu()
    levels = torch.tensor(QUANTILES, dtype=rows.dtype)
    moments = torch.stack([rows.mean(dim=0), rows.std(dim=0, correction=0)])
    return torch.cat([moments, torch.quantile(rows, levels, dim=0)]).flatten()


def unit_numbers(numbers: Tensor, basis: Basis) -> Tensor:
    """Return edge numbers ``(out, edges, n_b)`` of a layer as rows ``(out * edges, n_b)`` free of the layer's width.

    Amplitudes are multiplied by the root of the fan-in, the factor by which initialisation makes wide layers small and
    which `MetaKAN` applies outside the meta-learner: what is left is what a shared meta-learner must generate.
    """
    factors = [numbers.shape[1] ** 0.5 if amplitude else 1.0 for amplitude in basis.amplitude]
    return numbers.detach().flatten(0, 1) * numbers.new_tensor(factors)


@torch.no_grad()
def layer_inputs(network: nn.Module, x: Tensor) -> list[Tensor]:
    """Return what enters each of ``network.layers`` when the network evaluates ``x``: a sample ``(n, 1)`` a layer.

    The network is in evaluation mode meanwhile, so that nothing is dropped and no running statistic changes.
    """
    seen: list[Tensor] = []
    modes = {module: module.training for module in network.modules()}
    handles = [
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(_thinned(inputs[0].reshape(-1, 1)).clone()))
        for layer in network.layers
    ]
    try:
        network.eval()(x)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return seen


def _thinned(rows: Tensor) -> Tensor:
    return rows[:: -(-len(rows) // ROWS)] if len(rows) > ROWS else rows
