"""Invented records of groupings of layers. None of the numbers is a measurement."""

from __future__ import annotations

import numpy as np

from kanbench.records import record

SEEDS = 10
WIDTHS = {1: [0] * 8, 2: [0, 0, 0, 0, 0, 0, 1, 1], 3: [0, 0, 0, 0, 1, 1, 2, 2]}
BLOCKS = {2: [0, 0, 0, 0, 1, 1, 1, 1], 3: [0, 0, 0, 1, 1, 1, 2, 2]}
DRAWS = {0: [0, 1, 2, 0, 1, 2, 0, 0], 1: [2, 2, 0, 0, 0, 1, 1, 0]}
PER_LEARNER = 100
DISTANCES = np.abs(np.subtract.outer(*(np.array([0, 1, 2, 3, 20, 21, 40, 42.0]),) * 2))
"""Between layers of the dense network: groups of KMeans on widths are those of the distances."""


def spec_of(method: str, seed: int, **settings) -> dict:
    source = settings.pop("source", None)
    spec = {
        "protocol": 1,
        "configuration": "controlled",
        "dtype": "float32",
        "device": "cpu",
        "task": {"name": "kmnist", "settings": {}},
        "method": {
            "name": method,
            "baseline": method.partition("-")[0],
            "variant": "bspline",
            "settings": {"layers": 8},
        },
        "training": {"steps": 100, "batch_size": 64},
        "seed": seed,
    }
    spec["method"]["settings"].update(settings)
    return {**spec, "source": {"spec": source, "adapt": "oracle_groups"}} if source else spec


def run_of(spec: dict, accuracy: float, parameters: int, groups: list[int] | None, experiment: str = "E11") -> dict:
    found = record.blank(spec, label=spec["method"]["name"], family="classification", metric="accuracy", goal="max")
    metrics = {"step": 100, **{split: {"accuracy": accuracy} for split in ("train", "validation", "test")}}
    found["metrics"].update(last=metrics, selected=metrics, legacy_best_on_test={"step": 100, "value": accuracy})
    found["parameters"].update(trainable=parameters, total=parameters, buffers=0)
    found["analyses"] = {"groupings": {"status": "ok", "clusters": groups, "distances": DISTANCES.tolist()}}
    return {**found, "experiments": [experiment]}


def meta(seed: int, accuracy: float, groups: list[int], *, parameters: int | None = None, **settings) -> dict:
    count = max(groups) + 1
    chosen = {
        **{"hidden_dim": 16, "prompt_dim": 1, "num_clusters": count, "clustering": "kmeans_width", "grouping_seed": 0},
        **settings,
    }
    trained = 1000 + PER_LEARNER * (count - 1) if parameters is None else parameters
    spread = 0.0001 * ((7 * seed) % SEEDS)  # what varies with the seed, the same for all
    return run_of(spec_of("meta_conv_kan-bspline", seed, **chosen), accuracy + spread, trained, groups)


def records() -> list[dict]:
    """Return runs of every grouping, whose accuracies are those written here."""
    runs = []
    for seed in range(SEEDS):
        dense = spec_of("conv_kan-bspline", seed)
        runs.append(run_of(dense, 0.95, 9000, None, "E11dense"))
        runs += [meta(seed, accuracy, WIDTHS[count]) for count, accuracy in ((1, 0.80), (2, 0.85), (3, 0.90))]
        runs += [meta(seed, 0.88, BLOCKS[count], clustering="contiguous") for count in (2, 3)]
        runs += [
            meta(seed, 0.70 + 0.02 * draw, groups, clustering="random", grouping_seed=draw)
            for draw, groups in DRAWS.items()
        ]
        runs.append(meta(seed, 0.91, WIDTHS[3], clustering="coefficients", source=dense))
        runs.append(meta(seed, 0.897, list(range(8)), num_clusters="per_layer"))
        runs.append(meta(seed, 0.60, WIDTHS[1], hidden_dim=50, parameters=1200))
        runs.append(meta(seed, 0.65, WIDTHS[1], prompt_dim=2, parameters=1900))
    return runs
