"""Distances between layers' coefficients, and statistics of groupings, against independent oracles."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import energy_distance

from kanbench.statistics import partitions, stats
from kanbench.training.analyses import groupings


def test_the_distance_is_the_energy_distance():
    rng = np.random.default_rng(0)
    samples = [rng.normal(shift, scale, size=(60, 1)) for shift, scale in ((0, 1), (1, 1), (0, 3))]
    found = groupings.energy_distances(samples)
    for a, b in itertools.product(range(3), repeat=2):
        assert found[a, b] == pytest.approx(energy_distance(samples[a].ravel(), samples[b].ravel()), abs=1e-7)


def test_groups_that_follow_the_distances_have_r_one():
    places = np.array([0.0, 0.1, 5.0, 5.2, 9.0, 9.4])
    distances = np.abs(places[:, None] - places[None])
    found, p_value = partitions.anosim(distances, [0, 0, 1, 1, 2, 2], stats.generator("anosim"))
    assert found == pytest.approx(1.0)
    # The three pairs can be dealt to the labels in 6!/(2!2!2!) = 90 ways, of which 3! keep the groups.
    assert p_value == pytest.approx(6 / 90, abs=0.025)
    # By hand: 15 pairs, of which 1-2, 3-4, 5-6 are ranked first; groups across them are far apart.
    worse, _ = partitions.anosim(distances, [0, 1, 0, 1, 2, 2], stats.generator("anosim"))
    ranks = {
        pair: rank
        for rank, pair in enumerate(sorted(itertools.combinations(range(6), 2), key=lambda p: distances[p]), 1)
    }
    inside = [ranks[pair] for pair in ((0, 2), (1, 3), (4, 5))]
    across = [rank for pair, rank in ranks.items() if pair not in ((0, 2), (1, 3), (4, 5))]
    assert len(set(np.round(distances[np.triu_indices(6, 1)], 9))) == 15, "no ties"
    assert worse == pytest.approx((np.mean(across) - np.mean(inside)) / 7.5)


def test_one_group_and_groups_of_one_say_nothing():
    distances = np.ones((3, 3)) - np.eye(3)
    for groups in ([0, 0, 0], [0, 1, 2]):
        assert np.isnan(partitions.anosim(distances, groups, stats.generator("none"))).all()


def test_groups_drawn_at_random_have_uniform_p_values():
    rng = np.random.default_rng(1)
    places = rng.normal(size=(60, 8))
    values = [
        partitions.anosim(np.abs(row[:, None] - row[None]), [0, 0, 0, 1, 1, 2, 2, 2], rng, permutations=99)[1]
        for row in places
    ]
    assert 0.3 < np.mean(values) < 0.7
    assert np.mean(np.array(values) <= 0.05) < 0.15


def test_the_adjusted_rand_index_by_hand():
    assert partitions.adjusted_rand([0, 0, 1, 1], [1, 1, 0, 0]) == 1.0
    # Pairs together: 2 and 2 of 6, one in common is expected 2*2/6 of; none is found: (0 - 2/3) / (2 - 2/3).
    assert partitions.adjusted_rand([0, 0, 1, 1], [0, 1, 0, 1]) == pytest.approx(-0.5)


class Subject:
    """What the analysis needs of a trained run."""

    def __init__(self, layers, clusters=None):
        self.capabilities = {"coefficients": lambda: layers}
        if clusters is not None:
            self.capabilities["clusters"] = lambda: clusters

    def generator(self, purpose):
        return torch.Generator().manual_seed(len(purpose))


def test_the_analysis_tells_pairs_inside_groups_from_others():
    generator = torch.Generator().manual_seed(0)
    layers = [torch.randn(900, 3, generator=generator) * scale for scale in (1, 1, 4, 4, 12)]
    settings = dict(groupings.DEFAULTS)
    found = groupings.finish(Subject(layers, [0, 0, 1, 1, 2]), settings)
    assert found["r"] == pytest.approx(1.0)
    assert found["within"] < 0.3 * found["between"]
    wrong = groupings.finish(Subject(layers, [0, 1, 0, 2, 1]), settings)
    assert wrong["r"] < 0.3
    assert wrong["distances"] == found["distances"], "the same sample whatever the groups"
    alone = groupings.finish(Subject(layers), settings)
    assert alone["clusters"] is None
    assert set(alone) == {"distances", "clusters"}
    assert groupings.finish(Subject(layers, [0] * 5), settings)["r"] is None
