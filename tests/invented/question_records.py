"""Invented records of the open questions: transfer, limits, symbolic fidelity. None of the numbers is a measurement."""

from __future__ import annotations

import copy
import itertools

from make_records import INPUTS, settings_of, spec_of
from make_records import record as made_record

from kanbench.records import record

TARGETS = {"I.14.3": "product", "I.18.4": "quotient", "I.18.16": "trigonometric"}
EIGHT = {**TARGETS, "I.12.11": "trigonometric", "I.34.10": "quotient", "I.8.4": "root"}
EIGHT |= {"I.10.7": "root", "I.12.1": "product"}
"""As many targets as a statement about unseen formulas needs."""
SOURCES = ("product", "quotient")
SEEDS = 8
SAMPLES = {"train_samples": 500, "validation_samples": 200, "test_samples": 500, "noise": 0.0}
FACTOR = {"frozen": 0.5, "warm": 0.8, "random_frozen": 1.0, None: 1.0}


def transfer_spec(formula: str, seed: int, adapt: str | None, kind: str | None, method: str = "metakan-relu") -> dict:
    spec = {
        "protocol": 1,
        "configuration": "controlled",
        "dtype": "float32",
        "device": "cpu",
        "task": {"name": "feynman", "settings": {"formula": formula, **SAMPLES}},
        "method": {"name": method, "baseline": method, "variant": None, "settings": {"hidden_width": 5, "depth": 1}},
        "training": {"steps": 100, "batch_size": None},
        "seed": seed,
    }
    if adapt is not None:
        source = copy.deepcopy(spec)
        source["task"] = {"name": "feynman_family", "settings": {"kind": kind, "members": "kind"}}
        spec["source"] = {"spec": source if kind else None, "adapt": adapt}
    return spec


def transfer_run(formula: str, seed: int, adapt: str | None = None, kind: str | None = None, **options) -> dict:
    spec = transfer_spec(formula, seed, adapt, kind, **options)
    found = record.blank(spec, label="MetaKAN", family="function_fitting", metric="rmse", goal="min")
    error = (1 + seed) * FACTOR[adapt]
    metrics = {"step": 100, "train": {"rmse": error}, "validation": {"rmse": error}, "test": {"rmse": error}}
    found["metrics"].update(last=metrics, selected=metrics, legacy_best_on_test={"step": 100, "value": error})
    found["curve"] = [
        {"step": step, "train_loss": None, "validation": error * 2 * 50 / step, "test_legacy": error}
        for step in (25, 50, 100)
    ]
    found["parameters"].update(trainable=30 if adapt in ("frozen", "random_frozen") else 90, total=90, buffers=0)
    found["memory"]["simulated_peak_bytes"] = 2**20
    found["data"] = {"name": formula, "fingerprint": "0", "canonical": True, "kind": EIGHT[formula]}
    return {**found, "experiments": ["E10"]}


def transfer(targets=TARGETS, seeds=SEEDS) -> list[dict]:
    """Return runs on held-out formulas: pretrained, random and from scratch, with the factors above."""
    runs = []
    for formula in targets:
        for seed in range(seeds):
            runs += [transfer_run(formula, seed), transfer_run(formula, seed, "random_frozen")]
            runs += [transfer_run(formula, seed, adapt, kind) for adapt in ("frozen", "warm") for kind in SOURCES]
    return runs


SETTINGS = {"hidden_width": 4, "depth": 1, "grid_size": 5}
META = {**SETTINGS, "hidden_dim": 16, "prompt_dim": 1}


def limits_run(method: str, seed: int, error: float, task: dict, analyses: dict | None = None, **changes) -> dict:
    settings = {**(META if method == "metakan-relu" else SETTINGS), **changes}
    spec = {
        "protocol": 1,
        "configuration": "controlled",
        "dtype": "float32",
        "device": "cpu",
        "task": task,
        "method": {"name": method, "baseline": method, "variant": None, "settings": settings},
        "training": {"steps": 100, "batch_size": None},
        "seed": seed,
    }
    found = record.blank(spec, label=method, family="function_fitting", metric="nrmse", goal="min")
    metrics = {"step": 100, **{split: {"nrmse": error} for split in ("train", "validation", "test")}}
    found["metrics"].update(last=metrics, selected=metrics, legacy_best_on_test={"step": 100, "value": error})
    found["selection"] = {"metric": "nrmse", "goal": "min"}
    found["analyses"] = analyses or {}
    return found


def diverse() -> list[dict]:
    """Return runs on targets with few and many functions, where MetaKAN loses a factor of three on many."""
    runs = []
    for distinct, factor in ((1, 1.0), (20, 3.0)):
        task = {"name": "edge_diversity", "settings": {"shape": "mixed", "distinct": distinct}}
        for seed in range(10):
            base = 0.1 * (1 + seed)
            runs += [limits_run("tiled_kan", seed, base, task), limits_run("metakan-relu", seed, factor * base, task)]
            runs.append(limits_run("metakan-relu", seed, 0.5 * factor * base, task, hidden_dim=64))
    return [{**run, "experiments": ["E13diversity"]} for run in runs]


def watched() -> list[dict]:
    """Return two runs whose second layer collapses, with pruning and the prompt axis."""

    def layer(spread, distinct):
        return {"mean": 0.0, "spread": spread, "effective_rank": 1.0, "nearest": 0.1, "distinct": distinct}

    curve = [
        {"step": 0, "layers": [layer(0.5, 1.0), layer(0.25, 1.0)]},
        {"step": 10, "layers": [layer(1.0, 1.0), layer(0.02, 0.5)]},
    ]
    pruned = [{"share": share, "validation": {"nrmse": error}} for share, error in ((0.0, 0.2), (0.5, 0.4), (0.9, 1.0))]
    axis = [{"z": [-1.0, 0.0, 1.0], "t": [-1.0, 1.0], "values": [[0.0, -1.0], [0.0, 0.0], [0.0, 1.0]]}]
    common = {"status": "ok", "reason": None, "curve": []}
    analyses = {
        "prompts": {**common, "curve": curve, "alarm": True, "alarms": [], "histograms": []},
        "pruning": {**common, "pruned": pruned, "exact": 0.0},
        "prompt_axis": {**common, "layers": axis},
    }
    task = {"name": "feynman", "settings": {"formula": "I.14.4", **SAMPLES}}
    runs = [limits_run("metakan-relu", seed, 0.2, task, copy.deepcopy(analyses)) for seed in (0, 1)]
    skipped = {"prompts": {"status": "skipped", "reason": "no prompts", "curve": []}}
    runs.append(limits_run("tiled_kan", 0, 0.1, task, skipped))
    return [{**run, "experiments": ["E13"]} for run in runs]


SYMBOLIC_METHODS = ("tiled_kan", "metakan-relu")
NOISES = (0.0, 0.1)
FORMULAS = tuple(INPUTS)[:8]
"""As many as a statement about formulas needs."""
CURVE = {
    "edge": [0, 1, 0],
    "symbol": "x^2",
    "r2": 0.9987,
    "t": [-1.0, 0.0, 1.0],
    "learned": [1, 0, 1],
    "fit": [1, 0, 1],
}


def reading(exact: bool, score: float, operations: int = 4) -> dict:
    return {
        "status": "ok",
        "reason": None,
        "formula": "1.0*x1*x2",
        "snapped": "x1*x2" if exact else "1.1*x1*x2",
        "equivalence": "exact" if exact else "different",
        "exact": exact,
        "r2_truth": score,
        "r2_network": score,
        "score_truth": score,
        "score_network": score,
        "equal_inside": exact,
        "equal_outside": False,
        "operations": operations,
        "edge_r2_median": 0.99,
        "edges": [[0, 1, 0, "x^2", 0.9987]],
    }


NOTHING = {
    **{"status": "no formula", "reason": "prune: no edge is left", "formula": None, "equivalence": "different"},
    **{"exact": False, "equal_inside": False, "equal_outside": False},
    **{"r2_truth": None, "r2_network": None, "score_truth": 0.0, "score_network": 0.0},
}


def analysis(isolated: dict, in_context: dict) -> dict:
    return {
        **{"status": "ok", "reason": None, "curve": [], "edges_before": 6, "edges_after": 3, "curves": [CURVE]},
        "isolated": isolated,
        "in_context": in_context,
    }


def symbolic(score_of, formulas=("product",), seeds=SEEDS) -> list[dict]:
    """Return one record a method, noise and seed; `score_of(method, noise, seed)` gives exact and score."""
    found = []
    for method in SYMBOLIC_METHODS:
        for noise in NOISES:
            for formula, seed in itertools.product(formulas, range(seeds)):
                task_settings = {"formula": formula, "noise": noise}
                spec = spec_of("feynman", task_settings, method, settings_of(method, 2, 1, 5, 8), seed)
                entry = made_record(spec, ["E12"])
                exact, score = score_of(method, noise, seed)
                entry["analyses"] = {"symbolic": analysis(reading(exact, score), reading(True, 0.999, 3))}
                found.append(entry)
    return found


def alike(method, noise, seed):
    return seed < 6, 0.9 + 0.001 * seed - 0.1 * noise


def worse(method, noise, seed):
    return (False, 0.5 + 0.001 * seed) if method == "metakan-relu" else alike(method, noise, seed)


def records() -> list[dict]:
    """Return the runs of all these questions."""
    return [*transfer(), *diverse(), *watched(), *symbolic(alike)]
