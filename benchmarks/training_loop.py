"""What the loop costs: training steps a second of the suite's loop against the usual one, side by side.

    python benchmarks/training_loop.py [--seeds 10] [--steps 300] [--repeats 3] [--threads 1]

Both train the same networks on the same data with the same batch size and Adam, and evaluate as often on the same
splits; they alternate, so that a busy machine slows both. The usual loop is what released code does: a `DataLoader`
over a `TensorDataset`, the loss read with `.item()` at every step, evaluation through further `DataLoader`s, one seed
after another. The suite draws batches on the device, reads the loss where it is needed, and trains the seeds of a
small cell together (`kanbench.training.ensemble`). Counted is a step of one network; the goal is a ratio of 3 in
function fitting. Without MNIST on disk (KANBENCH_DATA) random images of its shape stand in, at equal work. On a GPU
the suite's loop is timed twice, with steps taken eagerly and with steps replayed as a CUDA graph (`training.capture`).
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from kanbench.base import seeds
from kanbench.base.errors import MissingData
from kanbench.baselines import discovery
from kanbench.data import datasets
from kanbench.study import config
from kanbench.tasks import task as tasks
from kanbench.tasks import taskinfo
from kanbench.training import ensemble, train

GOAL = 3.0
EVALUATIONS = 10
CASES = (
    ("feynman", "mlp", {"hidden_width": 5, "depth": 3}, None),
    ("feynman", "efficient_kan", {"hidden_width": 5, "depth": 3}, None),
    ("feynman", "metakan-relu", {"hidden_width": 5, "depth": 3}, None),
    ("mnist", "mlp", {"hidden_width": 32, "depth": 1}, 128),
    ("mnist", "metakan-relu", {"hidden_width": 32, "depth": 1}, 128),
)
"""Task, method, its size and batch size; `None` is the full batch of 1,000 samples."""


def specs(name: str, method_name: str, size: Mapping[str, int], batch_size: int | None, options: Any) -> list[dict]:
    """Return the specs of one cell, a seed each."""
    info = taskinfo.discover()[name]
    method = next(m for b in discovery.discover().values() for m in b.methods.values() if m.name == method_name)
    settings = {"formula": "I.6.20", "train_samples": 1000} if name == "feynman" else {}
    wished = {"steps": options.steps, "evaluations": EVALUATIONS, "batch_size": batch_size}
    (training,), _ = config.trainings([wished, None], "benchmark", "training")
    spec = {
        "protocol": 1,
        "configuration": "controlled",
        "dtype": "float32",
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "task": {"name": name, "settings": taskinfo.resolve(name, settings)},
        "method": {
            "name": method.name,
            "baseline": method.baseline.name,
            "variant": method.variant,
            "settings": discovery.resolve(method, info.family, size),
        },
        "training": training,
    }
    count = options.seeds if batch_size is None else 1
    return [{**copy.deepcopy(spec), "seed": seed} for seed in range(count)]


def raw_images() -> datasets.Images:
    """Return MNIST, or random images of its shape where it is not on disk."""
    try:
        return datasets.read("mnist")
    except MissingData:
        generator = seeds.numpy_generator(0, "synthetic images")
        pixels = generator.integers(0, 256, (70000, 1, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, 70000)
        return datasets.Images(pixels, labels, np.arange(60000), np.arange(60000, 70000), canonical=False)


def ours(attempts: list[train.Attempt]) -> None:
    """Train prepared runs with the suite's loop: together where there are several."""
    if len(attempts) > 1:
        ensemble.Ensemble(attempts).run()
    else:
        attempts[0].train()


def usual(attempts: list[train.Attempt]) -> None:
    """Train the same runs as released code does, one after another."""
    for attempt in attempts:
        model, task, device = attempt.session.trainee.model, attempt.task, attempt.device
        optimiser = torch.optim.Adam(model.parameters(), lr=attempt.spec["training"]["learning_rate"])
        parts = {split: TensorDataset(*(part.cpu() for part in task.splits[split])) for split in tasks.SPLITS}
        size = attempt.spec["training"]["batch_size"] or task.train_size
        loader = DataLoader(parts["train"], size, shuffle=True)
        criterion = nn.functional.cross_entropy if attempt.spec["task"]["name"] == "mnist" else nn.functional.mse_loss
        losses, step, total = [], 0, attempt.session.steps
        while step < total:
            for inputs, targets in loader:
                optimiser.zero_grad()
                loss = criterion(model(inputs.to(device)), targets.to(device))
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
                step += 1
                if step % (total // EVALUATIONS) == 0:
                    for split in ("validation", "test"):
                        _evaluate(model, DataLoader(parts[split], tasks.EVALUATION_BATCH), criterion, device)
                if step == total:
                    break


@torch.no_grad()
def _evaluate(model: nn.Module, loader: DataLoader, criterion: Callable, device: torch.device) -> float:
    model.eval()
    values = [criterion(model(inputs.to(device)), targets.to(device)).item() for inputs, targets in loader]
    model.train()
    return sum(values) / len(values)


def seconds(way: Callable[[list[train.Attempt]], None], attempts: list[train.Attempt], capture: str = "eager") -> float:
    """Return the seconds of training runs anew; what prepares them is not counted, the check of captured steps is."""
    for attempt in attempts:
        attempt.spec["training"]["capture"] = capture
        attempt.build()
        attempt.result.update(status="ok", reason=None)
    if attempts[0].device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    way(attempts)
    if attempts[0].device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    """Print steps a second both ways, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="runs of a function-fitting cell")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; more suffer where cores are shared")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    raw = raw_images()
    datasets.read = lambda *arguments, **more: raw  # so that the task can be loaded without MNIST, too
    for name, method, size, batch_size in CASES:
        attempts = [train.Attempt(spec) for spec in specs(name, method, size, batch_size, options)]
        for attempt in attempts:
            attempt.prepare()
        taken: dict[str, list[float]] = {"ours": [], "usual": []}
        for _ in range(options.repeats):
            taken["ours"].append(seconds(ours, attempts))
            taken["usual"].append(seconds(usual, attempts))
            if attempts[0].device.type == "cuda":
                taken.setdefault("captured", []).append(seconds(ours, attempts, "cuda_graph"))
        steps = options.steps * len(attempts)
        rate = {way: steps / statistics.median(values) for way, values in taken.items()}
        ratio = rate["ours"] / rate["usual"]
        verdict = ("goal met" if ratio >= GOAL else "goal missed") if name == "feynman" else ""
        print(
            f"{name:8} {method:14} {len(attempts):3} seeds   suite {rate['ours']:8.0f} steps/s   "
            f"usual {rate['usual']:8.0f} steps/s   ratio {ratio:5.2f}   {verdict}",
            flush=True,
        )
        if "captured" in rate:
            told = attempts[0].session.capture
            how = f"{told['used']}" + (f" ({told['reason']})" if told["reason"] else "")
            print(
                f"{'':8} {'':14} {'':3}         captured {rate['captured']:5.0f} steps/s   "
                f"over eager {rate['captured'] / rate['ours']:5.2f}   used: {how}",
                flush=True,
            )


if __name__ == "__main__":
    main()
