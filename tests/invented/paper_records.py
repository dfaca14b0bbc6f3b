"""An invented record set of the paper's sweeps: convolutions, meta-learners, sizes, learning rates, configurations.

It is computed, not stored: `records()` gives the same records at every call, and none of the numbers is a measurement.
`python tests/invented/paper_records.py FOLDER` writes them, with those of `make_records`, to be rendered.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import sys
from pathlib import Path

import make_records
import numpy as np

from kanbench.base.spec import run_name

BASES = {"bspline": 1.0, "rbf": 0.8, "legendre": 0.9, "gram": 0.7, "chebyshev": 1.1}
CHANCE = 0.9
SAMPLED_TASK = {
    "formula": "I.6.20b",
    "train_samples": 500,
    "validation_samples": 200,
    "test_samples": 500,
    "noise": 0.0,
}
OPTIMISED = {"optimiser": "adam", "learning_rate": 0.01, "steps": 300, "batch_size": 128, "schedule": "cosine"}
OPTIMISED |= {"weight_decay": 0.0, "evaluations": 6, "timeout_seconds": None}


def noise(*purpose: object) -> float:
    """Return a standard normal number that depends on the purpose alone."""
    return float(np.random.default_rng(list(str(purpose).encode())).normal())


def trained(
    task: str,
    method: str,
    settings: dict,
    seed: int,
    experiment: str,
    *,
    error: float,
    label: str = "",
    parameters: int = 1000,
    training: dict | None = None,
    configuration: str = "controlled",
    status: str = "ok",
    task_settings: dict | None = None,
) -> dict:
    """Return a record of a classification run with the given error; a failed one has neither metrics nor curve."""
    baseline, _, variant = method.partition("-")
    spec = {
        "protocol": 1,
        "task": {"name": task, "settings": task_settings or {}},
        "method": {"name": method, "baseline": baseline, "variant": variant or None, "settings": settings},
        "training": {**OPTIMISED, **(training or {})},
        "configuration": configuration,
        "seed": seed,
        "dtype": "float32",
        "device": "cpu",
    }
    error = min(error * math.exp(0.05 * noise(task, method, settings, seed)), CHANCE)
    entry = copy.deepcopy(_TEMPLATE)
    entry.update(run=run_name(spec), spec=spec, experiments=[experiment], label=label or make_records.LABELS[method])
    entry["data"]["name"] = task
    entry["parameters"] = {"trainable": parameters, "total": parameters, "buffers": 0, "groups": {}}
    entry["memory"]["simulated_peak_bytes"] = 16 * parameters
    for place in ("last", "selected"):
        entry["metrics"][place] = make_records.evaluation(300, "accuracy", 1 - error, "accuracy")
    entry["metrics"]["legacy_best_on_test"] = {"step": 200, "value": round(1 - 0.97 * error, 6)}
    if status != "ok":
        entry.update(status=status, reason="the training loss is not finite at step 3", curve=[])
        entry["metrics"] = dict.fromkeys(entry["metrics"])
    return entry


_TEMPLATE = make_records.record(
    make_records.spec_of("digits", {}, "mlp", make_records.settings_of("mlp", 32, 1, 5), 0), ["E5"]
)


def convolutions() -> list[dict]:
    """Return dense and generated forms of five bases in 4 and 8 layers, three plain networks, C from 1 to 6."""
    found = []
    cells = list(itertools.product(("mnist", "cifar10"), (4, 8), range(6)))
    for (task, layers, seed), (basis, quality) in itertools.product(cells, BASES.items()):
        base = {"mnist": 0.02, "cifar10": 0.4}[task] * quality * (4 / layers) ** 0.3
        settings = {"basis": basis, "layers": layers, "grid_size": 5}
        dense = {"label": f"ConvKAN ({basis})", "parameters": 3_494_958}
        found.append(trained(task, f"conv_kan-{basis}", settings, seed, "E6", error=base, **dense))
        settings = {**settings, "prompt_dim": 1, "hidden_dim": 64, "num_clusters": 1}
        meta = {"label": f"MetaConvKAN ({basis})", "parameters": 392_183}
        worse = 1.6 if basis == "chebyshev" else 1.02
        found.append(trained(task, f"meta_conv_kan-{basis}", settings, seed, "E6", error=base * worse, **meta))
    for task, layers, seed in cells:
        base = {"mnist": 0.01, "cifar10": 0.3}[task]
        plain = {"label": "CNN (equal width)", "parameters": 390_000}
        found.append(trained(task, "cnn-plain", {"layers": layers}, seed, "E6", error=base, **plain))
    for number, seed in itertools.product((2, 3, 5, 6), range(6)):
        settings = {"basis": "bspline", "layers": 8, "grid_size": 5, "prompt_dim": 1, "hidden_dim": 64}
        settings |= {"num_clusters": number}
        more = {"label": "MetaConvKAN (bspline)", "parameters": 4_530_283 + 713 * number}
        error = 0.33 * (1 - 0.02 * number)
        found.append(trained("cifar10", "meta_conv_kan-bspline", settings, seed, "E4", error=error, **more))
    for record in found:
        if record["experiments"] == ["E6"] and record["spec"]["method"]["settings"]["layers"] == 8:
            record["experiments"].append("E4")
    return found


def sizes() -> list[dict]:
    """Return the sweep of hidden_dim and prompt_dim: the error falls until hidden_dim 16, then no more."""
    found = []
    for hidden, prompt, seed in itertools.product((1, 2, 4, 8, 16, 32, 64, 128), (1, 2, 4), range(6)):
        settings = make_records.settings_of("metakan-relu", 32, 1, 5, hidden) | {"prompt_dim": prompt}
        error = 0.03 + 0.2 / min(hidden, 16) ** 1.5
        parameters = 25408 * prompt + (prompt + 1) * hidden + (hidden + 1) * 9
        common = np.exp(0.02 * noise("seed", seed))
        options = {"error": error * common, "parameters": parameters}
        found.append(trained("mnist", "metakan-relu", settings, seed, "E3", **options))
    return found


def rates() -> list[dict]:
    """Return a grid of two learning rates: out of balance the error is large, far out of balance training diverges."""
    found = []
    for prompts, learners, seed in itertools.product((1e-4, 1e-3, 1e-2, 1e-1), (1e-4, 1e-3, 1e-2, 1e-1), (0, 1)):
        distance = abs(math.log10(prompts / learners) - 1)
        lost = distance >= 4 or (distance == 3 and seed == 1)
        groups = {"prompts": {"learning_rate": prompts}, "meta_learners": {"learning_rate": learners}}
        settings = make_records.settings_of("metakan-relu", 32, 1, 5)
        options = {"training": {"groups": groups}, "status": "diverged" if lost else "ok", "parameters": 2729}
        found.append(trained("digits", "metakan-relu", settings, seed, "E9", error=0.03 * 3**distance, **options))
    return found


def configurations() -> list[dict]:
    """Return a dense and a generated network under two further configurations."""
    found = []
    for (name, schedule, factor), seed in itertools.product(
        (("paper", "exponential", 2.0), ("upstream_default", "constant", 1.2)), range(6)
    ):
        for method, share in (("efficient_kan", 1.0), ("metakan-relu", 0.6)):
            settings = make_records.settings_of(method, 32, 1, 5)
            options = {"training": {"schedule": schedule}, "configuration": name, "error": 0.03 * factor**share}
            found.append(trained("digits", method, settings, seed, "E5schedule", **options))
    return found


def sampled() -> list[dict]:
    """Return two runs with sampled edge functions."""
    points = np.linspace(-1, 1, 21)
    found = []
    for method, wave in (("efficient_kan", 2.0), ("metakan-relu", 3.0)):
        record = make_records.record(
            make_records.spec_of("feynman", SAMPLED_TASK, method, make_records.settings_of(method, 3, 1, 5), 0),
            ["E12"],
        )
        values = [[round(float(math.sin(wave * (t + edge))), 6) for t in points] for edge in range(9)]
        layers = [
            {"t": points.round(6).tolist(), "values": values},
            {"t": points.round(6).tolist(), "values": values[:3]},
        ]
        record["analyses"] = {"edge_functions": {"status": "ok", "reason": None, "curve": [], "layers": layers}}
        found.append(record)
    return found


def records() -> list[dict]:
    """Return the whole set."""
    return [*convolutions(), *sizes(), *rates(), *configurations(), *sampled()]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record, sort_keys=True) + "\n" for record in [*make_records.records(), *records()]]
    (folder / "records.jsonl").write_text("".join(lines))
