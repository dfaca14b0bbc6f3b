"""Which layers share a meta-learner."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from . import checks

CLUSTERINGS = ("kmeans_width", "kmeans_in_out", "contiguous", "random", "per_layer", "learned")
STARTS, ITERATIONS = 2000, 100
"""Of `kmeans`: starts at most, and Lloyd steps at most from each."""


def kmeans_1d(values: Sequence[float], clusters: int) -> list[int]:
    """Partition numbers into the k-means optimum, with labels in the order of the centres.

    In one dimension optimal clusters are runs of the sorted values, so that dynamic programming finds the global
    optimum (Wang and Song, 2011) and no seed is involved. Equal values share a cluster; ties: the smaller first run.

    Raises:
        ValueError: if there are fewer distinct values than clusters, since a cluster would stay empty.
    """
    distinct = sorted(set(values))
    if len(distinct) < clusters:
        raise ValueError(
            f"num_clusters: found {clusters}, expected at most {len(distinct)}, the number of distinct widths in "
            f"{list(values)}; a larger number would leave a meta-learner without layers "
            '(clustering="contiguous" or a list of cluster ids has no such limit)'
        )
    counts = [sum(value == other for other in values) for value in distinct]

    def cost(start: int, stop: int) -> float:
        total = sum(counts[start:stop])
        mean = sum(c * v for c, v in zip(counts[start:stop], distinct[start:stop], strict=True)) / total
        return sum(c * (v - mean) ** 2 for c, v in zip(counts[start:stop], distinct[start:stop], strict=True))

    best = {(0, 0): (0.0, [])}
    for stop in range(1, len(distinct) + 1):
        for used in range(1, min(clusters, stop) + 1):
            options = [
                (best[start, used - 1][0] + cost(start, stop), [*best[start, used - 1][1], start])
                for start in range(used - 1, stop)
                if (start, used - 1) in best
            ]
            best[stop, used] = min(options, key=lambda option: option[0])
    starts = best[len(distinct), clusters][1]
    return [sum(distinct.index(value) >= start for start in starts) - 1 for value in values]


def kmeans(points: Tensor, clusters: int) -> list[int]:
    """Partition few points ``(n, d)`` by k-means, without a seed; clusters are numbered in the order of the points.

    Coordinates are standardised first; constant ones do not count. Lloyd's iteration (1982) starts from every choice
    of ``clusters`` distinct points, or from 2000 of them that are drawn once and for all, and the partition with the
    least sum of squares is returned. Equal points share a cluster.

    Raises:
        ValueError: if there are fewer distinct points than clusters, since a cluster would stay empty.
    """
    points = points.detach().to("cpu", torch.float64)
    spread = points.std(dim=0, correction=0)
    kept = spread > 1e-9 * points.abs().amax(dim=0).clamp_min(1e-300)
    points = (points[:, kept] - points[:, kept].mean(dim=0)) / spread[kept]
    distinct = torch.unique(points, dim=0) if kept.any() else points[:1]
    if len(distinct) < clusters:
        raise ValueError(
            f"num_clusters: found {clusters}, expected at most {len(distinct)}, the number of layers that differ in "
            "what they are grouped by; a larger number would leave a meta-learner without layers"
        )
    centres = distinct[_starts(len(distinct), clusters)]  # (starts, clusters, d)
    best, found = math.inf, torch.zeros(len(points), dtype=torch.long)
    for _ in range(ITERATIONS):
        distances = (points[None, :, None] - centres[:, None]).square().sum(-1)  # (starts, n, clusters)
        ids = distances.argmin(dim=-1)
        members = torch.nn.functional.one_hot(ids, clusters).to(points)
        counts = members.sum(dim=1)
        means = members.transpose(1, 2) @ points / counts.clamp_min(1).unsqueeze(-1)
        moved = torch.where(counts.unsqueeze(-1) > 0, means, centres)
        costs = (points - torch.gather(moved, 1, ids.unsqueeze(-1).expand(-1, -1, points.shape[1]))).square()
        costs = costs.sum(dim=(1, 2)).masked_fill((counts == 0).any(dim=1), math.inf)
        if costs.min() < best - 1e-12:
            best, found = float(costs.min()), ids[costs.argmin()]
        if torch.equal(moved, centres):
            break
        centres = moved
    return in_order(found.tolist())


def _starts(points: int, clusters: int) -> Tensor:
    """Return choices of ``clusters`` of the points, ``(starts, clusters)``: all of them where they are few."""
    if math.comb(points, clusters) <= STARTS:
        return torch.tensor(list(itertools.combinations(range(points), clusters)))
    drawn = torch.rand(STARTS, points, generator=torch.Generator().manual_seed(0))
    return drawn.argsort(dim=1)[:, :clusters]


def in_order(ids: Sequence[int]) -> list[int]:
    """Return the same groups, numbered in the order in which they first occur."""
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(ids))}
    return [numbers[cluster] for cluster in ids]


def assign_layers(
    output_widths: Sequence[int],
    num_clusters: int,
    clustering: str | Sequence[int] = "kmeans_width",
    *,
    input_widths: Sequence[int] | None = None,
    seed: int = 0,
) -> list[int]:
    """Return the cluster id of each layer.

    Args:
        output_widths: output width (or channels) of each layer.
        num_clusters: number of meta-learners; one a layer if it equals the number of layers.
        clustering: "kmeans_width" groups by output width as the MetaKAN paper does, "kmeans_in_out" by the logarithms
            of input and output width, "contiguous" cuts the depth into runs of equal length, "random" deals the groups
            of "kmeans_width" (groups of equal size where there are too few widths) to the layers at random, so that
            it differs from it in who is grouped and not in how many, "per_layer" gives each layer its own, and
            "learned" is the start of an assignment that is trained (`metakan.MixedLearner`); or the ids themselves,
            one a layer.
        input_widths: input width of each layer; "kmeans_in_out" needs them.
        seed: of "random".

    Raises:
        ValueError: if the clusters cannot all be used.
    """
    output_widths = checks.widths("output_widths", output_widths, minimum_length=1)
    layers, num_clusters = len(output_widths), checks.integer("num_clusters", num_clusters)
    ids = checks.entries(clustering)
    if ids is None and not isinstance(clustering, str):
        raise TypeError(
            f"clustering: found {clustering!r} of type {type(clustering).__name__}, expected a name or a list of ids"
        )
    if ids is not None:
        return _explicit(ids, layers, num_clusters)
    checks.choice("clustering", clustering, CLUSTERINGS)
    if clustering == "per_layer" and num_clusters not in (1, layers):
        raise ValueError(f"num_clusters: found {num_clusters}, expected {layers} with clustering='per_layer'")
    if clustering == "per_layer" or num_clusters == layers:
        return list(range(layers))
    if num_clusters > layers:
        raise ValueError(f"num_clusters: found {num_clusters}, expected at most {layers}, the number of layers")
    if clustering == "kmeans_width":
        return kmeans_1d(output_widths, num_clusters)
    if clustering == "kmeans_in_out":
        ins = checks.widths("input_widths", input_widths, minimum_length=1)
        if len(ins) != layers:
            raise ValueError(f"input_widths: found {len(ins)} entries, expected {layers}, one a layer")
        return kmeans(torch.tensor([ins, list(output_widths)]).double().log().t(), num_clusters)
    blocks = [layer * num_clusters // layers for layer in range(layers)]
    if clustering != "random":
        return blocks
    groups = kmeans_1d(output_widths, num_clusters) if len(set(output_widths)) >= num_clusters else blocks
    order = torch.randperm(layers, generator=torch.Generator().manual_seed(checks.integer("seed", seed, 0)))
    return in_order([groups[position] for position in order.tolist()])


def _explicit(clustering: Sequence[int], layers: int, num_clusters: int) -> list[int]:
    ids = [checks.integer("clustering", entry, 0) for entry in clustering]
    if len(ids) != layers or sorted(set(ids)) != list(range(num_clusters)):
        raise ValueError(
            f"clustering: found {ids}, expected {layers} ids (one a layer) that use each of "
            f"0 to {num_clusters - 1} (num_clusters={num_clusters})"
        )
    return ids
