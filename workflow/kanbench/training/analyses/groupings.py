"""How far apart the layers' coefficients are, and whether layers that share a meta-learner are closer than others."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy.spatial.distance import cdist

from kanbench.statistics import partitions

DEFAULTS = {"sample": 400, "permutations": 999}
REQUIRES = ("coefficients",)
DIGITS = 5


def finish(subject, settings) -> dict:
    """Return `distances`, layer by layer, and for a network with `clusters` what its groups have to do with them.

    A distance is the energy distance of Szekely and Rizzo (2013) between the coefficients of two layers, each number
    over its spread in all layers together; large layers are represented by `sample` of their edges, drawn once a run.
    `within` and `between` are mean distances of the pairs of layers that share a meta-learner and that do not, `r` and
    `p` those of `partitions.anosim`; null where a network has no pair of the one or the other kind. Layers that share a
    meta-learner draw their coefficients from one curve, so their closeness is a consequence of sharing as well;
    whether layers belong together is asked of the distances in a dense network, which shares nothing.
    """
    samples = _samples(subject, settings["sample"])
    scale = np.concatenate(samples).std(axis=0)
    scaled = [sample / np.where(scale > 0, scale, 1.0) for sample in samples]
    distances = energy_distances(scaled)
    clusters = subject.capabilities["clusters"]() if "clusters" in subject.capabilities else None
    found = {"distances": np.round(distances, DIGITS).tolist(), "clusters": clusters}
    if clusters is None:
        return found
    seed = int(torch.randint(2**31, (1,), generator=subject.generator("groupings/permutations")))
    return {**found, **_separation(distances, clusters, settings["permutations"], np.random.default_rng(seed))}


def energy_distances(samples: list[np.ndarray]) -> np.ndarray:
    """Return the energy distance between every two samples ``(n, d)``: the root of 2 E|X-Y| - E|X-X'| - E|Y-Y'|."""
    inner = [cdist(sample, sample).mean() for sample in samples]
    found = np.zeros((len(samples),) * 2)
    for a, b in itertools.combinations(range(len(samples)), 2):
        square = 2 * cdist(samples[a], samples[b]).mean() - inner[a] - inner[b]
        found[a, b] = found[b, a] = max(square, 0.0) ** 0.5
    return found


def _separation(distances: np.ndarray, clusters: list[int], permutations: int, rng: np.random.Generator) -> dict:
    rows, columns = np.triu_indices(len(clusters), 1)
    labels, pairs = np.asarray(clusters), distances[rows, columns]
    same = labels[rows] == labels[columns]
    if same.all() or not same.any():
        return {"within": None, "between": None, "r": None, "p": None}
    r, p = partitions.anosim(distances, clusters, rng, permutations=permutations)
    return {"within": float(pairs[same].mean()), "between": float(pairs[~same].mean()), "r": r, "p": p}


def _samples(subject, size: int) -> list[np.ndarray]:
    """Return the coefficients of at most `size` edges a layer, each (edges, n_b)."""
    rows = []
    for number, layer in enumerate(subject.capabilities["coefficients"]()):
        if len(layer) > size:
            chosen = torch.randperm(len(layer), generator=subject.generator(f"groupings/{number}"))[:size]
            layer = layer[chosen.to(layer.device)]
        rows.append(layer.detach().double().cpu().numpy())
    return rows
