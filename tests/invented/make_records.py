"""Writes tests/invented/records.jsonl: an invented record set with the shape, the sizes and the mishaps of a real one.

Run `python tests/invented/make_records.py` after a change here. The numbers follow no measurement.
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np

from kanbench.base.spec import run_name
from kanbench.records.record import sealed

FILE = Path(__file__).with_name("records.jsonl")
INPUTS = {
    "product": 2,
    "I.6.20a": 1,
    "I.6.20b": 3,
    "I.8.4": 4,
    "I.12.11": 5,
    "I.15.3x": 4,
    "I.18.4": 4,
    "I.26.2": 2,
    "I.30.3": 3,
}
LABELS = {
    "mlp": "MLP",
    "pykan-default": "pykan",
    "pykan-fast": "pykan (fast mode)",
    "efficient_kan": "efficient-KAN",
    "tiled_kan": "KAN, recomputed",
    "metakan-relu": "MetaKAN (ReLU)",
    "metakan-linear": "MetaKAN (linear)",
    "metakan_released-relu": "MetaKAN as released (ReLU)",
    "metakan_released-affine": "MetaKAN as released (affine)",
}
QUALITY = {"mlp": 1.8, "metakan-relu": 0.93, "metakan-linear": 0.97, "pykan-default": 1.05, "pykan-fast": 1.05}
FAMILIES = {
    "feynman": ("function_fitting", "rmse", "min", "rmse", "min"),
    "digits": ("classification", "accuracy", "max", "accuracy", "max"),
    "poisson": ("pde", "relative_l2", "min", "residual", "min"),
}
TRAINING = {
    "feynman": {"optimiser": "lbfgs", "learning_rate": 1.0, "steps": 25, "batch_size": None},
    "digits": {"optimiser": "adam", "learning_rate": 0.01, "steps": 300, "batch_size": 128},
    "poisson": {"optimiser": "adam", "learning_rate": 0.003, "steps": 300, "batch_size": 64},
    "step_cost": {"optimiser": "adam", "learning_rate": 0.001, "steps": 1, "batch_size": None},
}
UNTRAINED = {
    "family": "classification",
    "metric": "cross_entropy",
    "goal": "min",
    "selection": None,
    "metrics": {"last": None, "selected": None, "legacy_best_on_test": None},
    "curve": [],
}
FLOORS = {"best multiple of the boundary factor": {"relative_l2": 0.145}, "affine fit": {"relative_l2": 0.06}}
ENVIRONMENT = {
    "gpu": None,
    "gpu_memory_bytes": None,
    "driver": None,
    "torch": "2.13.0+cpu",
    "cuda": None,
    "python": "3.11.9",
    "cpu": "Example CPU @ 2.00GHz",
    "threads": 1,
    "platform": "Linux-x86_64",
}
MISHAPS = {
    # (formula or dataset, method, seed, grid, depth) -> status, reason
    ("I.30.3", "efficient_kan", 1, 5, 1): ("diverged", "the training loss is not finite at step 17"),
    ("I.26.2", "mlp", 0, None, 1): ("timed_out", "900 s are over at step 12 of 25"),
    ("I.6.20b", "efficient_kan", 0, 20, 3): ("absent", "planned and not run"),
    ("step_cost", "efficient_kan", 0, 100, 2): ("out_of_memory", "tried to allocate 2.00 GiB"),
    ("I.6.20b", "efficient_kan", 1, 20, 3): ("absent", "planned and not run"),
}


def settings_of(method: str, width: int, depth: int, grid: int, hidden: int = 32) -> dict:
    settings = {"hidden_width": width, "depth": depth}
    if method != "mlp":
        settings |= {"grid_size": grid, "spline_order": 3}
    if method.startswith("metakan"):
        settings |= {"prompt_dim": 1, "hidden_dim": hidden, "num_clusters": 1}
    return settings


def parameters_of(method: str, widths: list[int], grid: int, hidden: int) -> dict:
    edges = sum(a * b for a, b in itertools.pairwise(widths))
    learner = 2 * hidden + (hidden + 1) * (grid + 4)
    if method == "mlp":
        groups = {"other": edges + sum(widths[1:])}
    elif method.startswith("metakan"):
        copies = len(widths) - 1 if "released" in method else 1
        groups = {"prompts": edges, "meta_learners": copies * learner, "other": 0}
    else:
        groups = {"other": edges * (grid + 5)}
    trainable = sum(groups.values())
    return {
        "trainable": trainable,
        "total": trainable + (edges if "pykan" in method else 0),
        "buffers": 0,
        "groups": groups,
    }


def memory_of(method: str, count: int, widths: list[int], grid: int, batch: int) -> dict:
    edges = sum(a * b for a, b in itertools.pairwise(widths))
    spread = {"mlp": 1, "metakan-relu": 2, "metakan-linear": 2, "tiled_kan": 2}.get(method, grid + 3)
    generated = 4 * edges * (grid + 4 + 32) if "released" in method else 0
    if "pykan" in method:
        generated = 4 * batch * edges * (3 if method == "pykan-default" else 1)
    activation = 4 * batch * sum(widths) * spread + generated
    parts = {
        "parameter": 4 * count,
        "buffer": 0,
        "gradient": 4 * count,
        "optimiser": 8 * count,
        "activation": activation,
        "temporary": activation // 5,
        "other": 0,
    }
    return {
        "peak_allocated_bytes": None,
        "peak_reserved_bytes": None,
        "eval_peak_allocated_bytes": None,
        "simulated_peak_bytes": sum(parts.values()),
        "breakdown": parts,
        "saved_for_backward_bytes": activation,
    }


def evaluation(step: int, metric: str, value: float, selection: str) -> dict:
    def split(factor: float) -> dict:
        quality = 1 - (1 - value) * factor if metric == "accuracy" else value * factor
        return {metric: round(quality, 6)} | ({} if selection == metric else {selection: round(value * 40, 6)})

    return {"step": step, "train": split(0.8), "validation": split(1.02), "test": split(1.0)}


def curve_of(error: float, metric: str, steps: int, rng: np.random.Generator) -> list[dict]:
    points = []
    for step in np.linspace(0, steps, 6).round().astype(int).tolist():
        level = error * (1 + 12 * math.exp(-5 * step / steps)) * math.exp(rng.normal(0, 0.03))
        level = min(level, 0.9) if metric == "accuracy" else level
        shown = 1 - level if metric == "accuracy" else level
        points.append({"step": step, "train_loss": round(level**2, 7), "validation": round(shown, 6)})
    return points


def spec_of(task: str, task_settings: dict, method: str, settings: dict, seed: int) -> dict:
    baseline, _, variant = method.partition("-")
    common = {"weight_decay": 0.0, "schedule": "constant", "evaluations": 6, "timeout_seconds": None}
    return {
        "protocol": 1,
        "task": {"name": task, "settings": task_settings},
        "method": {"name": method, "baseline": baseline, "variant": variant or None, "settings": settings},
        "training": {**TRAINING[task], **common},
        "configuration": "controlled",
        "seed": seed,
        "dtype": "float32",
        "device": "cpu",
    }


def error_of(spec: dict, rng: np.random.Generator) -> float:
    """Return a test error. What is common to a task and a seed makes the differences between methods pair up."""
    task, settings = spec["task"], spec["method"]["settings"]
    common = np.random.default_rng(list(f"{task['settings']} {spec['seed']}".encode())).normal(0, 0.25)
    base = {"feynman": 0.02, "digits": 0.03, "poisson": 0.05}[task["name"]] * math.exp(common)
    size = (5 / settings.get("grid_size", 5)) ** 0.6 / settings["depth"] ** 0.4
    return base * size * QUALITY.get(spec["method"]["name"], 1.0) * math.exp(rng.normal(0, 0.04))


def quality_of(spec: dict, rng: np.random.Generator) -> dict:
    family, metric, goal, selection, selection_goal = FAMILIES[spec["task"]["name"]]
    steps, error = spec["training"]["steps"], error_of(spec, rng)
    legacy = error * (1 - abs(rng.normal(0, 0.08)))
    value, legacy = (1 - error, 1 - legacy) if goal == "max" else (error, legacy)
    return {
        "family": family,
        "metric": metric,
        "goal": goal,
        "selection": {"metric": selection, "goal": selection_goal},
        "metrics": {
            "last": evaluation(steps, metric, value, selection),
            "selected": evaluation(int(steps * 0.8), metric, value, selection),
            "legacy_best_on_test": {"step": int(steps * 0.6), "value": round(legacy, 6)},
        },
        "curve": curve_of(error, selection, steps, rng),
    }


def cost_of(spec: dict, rng: np.random.Generator) -> dict:
    task, method, settings = spec["task"], spec["method"]["name"], spec["method"]["settings"]
    shapes = {"digits": (64, 10), "poisson": (4, 1), "step_cost": (784, 10)}
    inputs, outputs = shapes.get(task["name"]) or (INPUTS[task["settings"]["formula"]], 1)
    widths = [inputs, *[settings["hidden_width"]] * settings["depth"], outputs]
    grid, hidden = settings.get("grid_size", 5), settings.get("hidden_dim", 32)
    parameters = parameters_of(method, widths, grid, hidden)
    memory = memory_of(method, parameters["trainable"], widths, grid, spec["training"]["batch_size"] or 500)
    seconds = 2e-4 * (1 + memory["simulated_peak_bytes"] / 2**19) * math.exp(rng.normal(0, 0.05))
    quartiles = {"median": round(seconds, 7), "q25": round(seconds * 0.93, 7), "q75": round(seconds * 1.1, 7)}
    train = round(seconds * spec["training"]["steps"], 4)
    time = {"step_seconds": quartiles, "train_seconds": train, "exclusive": task["name"] in ("digits", "step_cost")}
    return {"parameters": parameters, "memory": memory, "time": time}


def record(spec: dict, experiments: list[str]) -> dict:
    name, task = run_name(spec), spec["task"]
    rng = np.random.default_rng(list(name.encode()))
    result = {
        "run": name,
        "spec": spec,
        "status": "ok",
        "reason": None,
        "label": LABELS[spec["method"]["name"]],
        **(quality_of(spec, rng) if task["name"] != "step_cost" else UNTRAINED),
        **cost_of(spec, rng),
        "data": {"name": task["name"], "fingerprint": "0" * 64, "canonical": True},
        "floors": FLOORS if task["name"] == "poisson" else {},
        "method_info": {},
        "artifacts": {},
        "code": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False, "digest": "f" * 64},
        "environment": ENVIRONMENT,
        "experiments": experiments,
    }
    settings = spec["method"]["settings"]
    key = (
        task["settings"].get("formula", task["name"]),
        spec["method"]["name"],
        spec["seed"],
        settings.get("grid_size"),
        settings["depth"],
    )
    return unhappy(result, *MISHAPS[key]) if key in MISHAPS else result


def unhappy(result: dict, status: str, reason: str) -> dict:
    result |= {"status": status, "reason": reason, "metrics": dict.fromkeys(result["metrics"])}
    if status == "absent":
        empty = {"trainable": None, "total": None, "buffers": None, "groups": {}}
        memory = dict.fromkeys(result["memory"]) | {"breakdown": {}}
        time = {"step_seconds": dict.fromkeys(("median", "q25", "q75")), "train_seconds": None, "exclusive": False}
        result |= {"family": "", "metric": "", "goal": "min", "parameters": empty, "memory": memory, "time": time}
        result |= {"curve": [], "data": None, "floors": {}, "code": None, "environment": None, "selection": None}
    return result


def records() -> list[dict]:
    """Return the whole set, in the order in which a plan would list it."""
    found: dict[str, dict] = {}

    def add(task: str, task_settings: dict, method: str, settings: dict, seed: int, experiment: str) -> None:
        entry = record(spec_of(task, task_settings, method, settings, seed), [experiment])
        if entry["run"] in found:
            found[entry["run"]]["experiments"].append(experiment)
        else:
            found[entry["run"]] = entry

    samples = {"train_samples": 500, "validation_samples": 200, "test_samples": 500, "noise": 0.0}
    for formula, method, seed in itertools.product(
        list(INPUTS)[1:], ("mlp", "efficient_kan", "metakan-relu", "pykan-fast"), (0, 1)
    ):
        add("feynman", {"formula": formula, **samples}, method, settings_of(method, 5, 1, 5), seed, "E1")
    for method, depth, grid, seed in itertools.product(
        ("efficient_kan", "metakan-relu"), (1, 2, 3), (5, 10, 20), (0, 1)
    ):
        add("feynman", {"formula": "I.6.20b", **samples}, method, settings_of(method, 5, depth, grid), seed, "E1grid")
    for method, seed in itertools.product(("mlp", "efficient_kan", "metakan-relu", "pykan-default"), (0, 1)):
        add("feynman", {"formula": "product", **samples}, method, settings_of(method, 2, 1, 5, 8), seed, "E2")
    for method, seed in itertools.product(LABELS, range(6)):
        add("digits", {}, method, settings_of(method, 32, 1, 5), seed, "E5")
    for method, seed in itertools.product(("mlp", "efficient_kan", "metakan-relu", "metakan-linear"), (0, 1)):
        add("poisson", {"dimension": 4}, method, settings_of(method, 16, 2, 5), seed, "E7")
    measured = ("mlp", "efficient_kan", "tiled_kan", "metakan-relu", "metakan_released-relu")
    for experiment, widths, grids in (("E8", (64, 512), (5,)), ("E8grid", (64,), (5, 20, 100))):
        for method, width, grid in itertools.product(measured, widths, grids):
            if method != "mlp" or grid == grids[0]:
                add("step_cost", {"batch_size": 128}, method, settings_of(method, width, 2, grid), 0, experiment)
    return list(found.values())


def write(file: Path = FILE) -> None:
    """Write the set, one sealed record a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = map(sealed, records())
    file.write_text("".join(json.dumps(entry, sort_keys=True, allow_nan=False) + "\n" for entry in lines))


if __name__ == "__main__":
    write()
