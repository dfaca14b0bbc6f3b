"""Which layers share a meta-learner."""

from __future__ import annotations

from collections.abc import Sequence

from . import checks

CLUSTERINGS = ("kmeans_width", "contiguous", "per_layer")


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


def assign_layers(
    output_widths: Sequence[int], num_clusters: int, clustering: str | Sequence[int] = "kmeans_width"
) -> list[int]:
    """Return the cluster id of each layer.

    Args:
        output_widths: output width (or channels) of each layer.
        num_clusters: number of meta-learners; one a layer if it equals the number of layers.
        clustering: "kmeans_width" groups by output width as the MetaKAN paper does, "contiguous" cuts the depth into
            runs of equal length, "per_layer" gives each layer its own; or the ids themselves, one a layer.

    Raises:
        ValueError: if the clusters cannot all be used.
    """
    layers = len(checks.widths("output_widths", output_widths, minimum_length=1))
    checks.integer("num_clusters", num_clusters)
    if not isinstance(clustering, (str, Sequence)):
        raise TypeError(
            f"clustering: found {clustering!r} of type {type(clustering).__name__}, expected a name or a list of ids"
        )
    if not isinstance(clustering, str):
        ids = [checks.integer("clustering", entry, 0) for entry in clustering]
        if len(ids) != layers or sorted(set(ids)) != list(range(num_clusters)):
            raise ValueError(
                f"clustering: found {ids}, expected {layers} ids (one a layer) that use each of "
                f"0 to {num_clusters - 1} (num_clusters={num_clusters})"
            )
        return ids
    checks.choice("clustering", clustering, CLUSTERINGS)
    if clustering == "per_layer" and num_clusters not in (1, layers):
        raise ValueError(f"num_clusters: found {num_clusters}, expected {layers} with clustering='per_layer'")
    if clustering == "per_layer" or num_clusters == layers:
        return list(range(layers))
    if num_clusters > layers:
        raise ValueError(f"num_clusters: found {num_clusters}, expected at most {layers}, the number of layers")
    if clustering == "kmeans_width":
        return kmeans_1d(output_widths, num_clusters)
    return [layer * num_clusters // layers for layer in range(layers)]
