"""What becomes of the prompts: do they spread, or collapse onto few values? Followed through training, by layer."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

DEFAULTS = {"sample": 2000, "bins": 40, "resolution": 0.001}
REQUIRES = ("prompts",)
ALARM_SPREAD, ALARM_DISTINCT = 0.1, 0.1
"""Collapse: the spread, or the share of distinct prompts, below this part of what it was before training."""


def observe(subject, settings) -> dict:
    """Return the statistics of every layer's prompts at this moment."""
    layers = _layers(subject, settings)
    curve = subject.results["curve"]
    spreads = [layer["spread"] for layer in curve[0]["layers"]] if curve else [_spread(prompts) for prompts in layers]
    cells = [settings["resolution"] * spread for spread in spreads]
    return {"layers": [_statistics(prompts, cell) for prompts, cell in zip(layers, cells, strict=True)]}


def finish(subject, settings) -> dict:
    """Return the last distribution of every layer and whether any layer collapsed since the first observation.

    `alarm` is true where a layer's spread (standard deviation) or share of distinct prompts fell below a tenth of what
    it was; `alarms` names layer and quantity. `histograms` are over the pooled coordinates of a layer's prompts.
    """
    curve = subject.results["curve"]
    alarms = [
        {"layer": layer, "quantity": quantity, "before": before[quantity], "after": after[quantity]}
        for quantity, share in (("spread", ALARM_SPREAD), ("distinct", ALARM_DISTINCT))
        for layer, (before, after) in enumerate(zip(curve[0]["layers"], curve[-1]["layers"], strict=True))
        if after[quantity] < share * before[quantity]
    ]
    histograms = []
    for prompts in _layers(subject, settings):
        counts, edges = np.histogram(prompts, bins=settings["bins"])
        histograms.append({"edges": np.round(edges, 6).tolist(), "counts": counts.tolist()})
    return {"alarm": bool(alarms), "alarms": alarms, "histograms": histograms}


def _layers(subject, settings) -> list[np.ndarray]:
    """Return each layer's prompts as rows; large layers are represented by `sample` of them, drawn once a run."""
    rows = []
    for number, prompts in enumerate(subject.capabilities["prompts"]()):
        flat = prompts.detach().double().cpu().flatten(0, -2)
        if len(flat) > settings["sample"]:
            chosen = torch.randperm(len(flat), generator=subject.generator(f"prompts/{number}"))[: settings["sample"]]
            flat = flat[chosen]
        rows.append(flat.numpy())
    return rows


def _spread(prompts: np.ndarray) -> float:
    """Return the root of the mean variance of the coordinates."""
    return float(np.sqrt(prompts.var(axis=0).mean()))


def _statistics(prompts: np.ndarray, cell: float) -> dict:
    """Return mean, spread, effective rank, nearest-neighbour distance and share of distinct prompts of one layer.

    effective_rank: exp of the entropy of the normalised squared singular values of the centred prompts (Roy, Vetterli
    2007), 1 for scalar prompts. nearest: median distance to the nearest other prompt. distinct: share that is left
    when prompts that round to the same multiple of `cell` are one.
    """
    centred = prompts - prompts.mean(axis=0)
    energies = np.linalg.svd(centred, compute_uv=False) ** 2
    shares = energies[energies > 0] / energies.sum() if energies.sum() > 0 else np.ones(1)
    distances = cKDTree(prompts).query(prompts, k=2)[0][:, 1] if len(prompts) > 1 else np.zeros(1)
    different = np.unique(np.round(prompts / cell), axis=0) if cell > 0 else prompts[:1]
    return {
        "mean": float(prompts.mean()),
        "spread": _spread(prompts),
        "effective_rank": float(np.exp(-(shares * np.log(shares)).sum())),
        "nearest": float(np.median(distances)),
        "distinct": len(different) / len(prompts),
    }
