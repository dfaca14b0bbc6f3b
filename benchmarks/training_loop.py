"""What the loop costs: training steps a second of the suite's loop against the usual one, side by side.

    python benchmarks/training_loop.py [--part adam|lbfgs] [--seeds 10] [--steps 300] [--repeats 3] [--threads 1]
        [--methods mlp …]

Part adam. Both train the same networks on the same data with the same batch size and Adam, and evaluate as often on
the same splits; they alternate, so that a busy machine slows both. The usual loop is what released code does: a
`DataLoader` over a `TensorDataset`, the loss read with `.item()` at every step, evaluation through further
`DataLoader`s, one seed after another. The suite draws batches on the device, reads the loss where it is needed, and
trains the seeds of a small cell together (`kanbench.training.ensemble`). Counted is a step of one network; the goal is
a ratio of 3 in function fitting. Without MNIST on disk (KANBENCH_DATA) random images of its shape stand in, at equal
work. On a GPU the suite's loop is timed twice, with steps taken eagerly and with steps replayed as a CUDA graph
(`training.capture`).

Part lbfgs. Runs of three formulas and several seeds, networks [2, 5, 5, 1] on 1,000 points, 100 steps of L-BFGS:
trained together (`training.side_by_side`) against one after another with `torch.optim.LBFGS` in the suite's loop.
Steps of one run a second; compiling the stacked evaluation counts. Of the single runs a few are trained for some
steps, before and after the others, since a step costs the same in each.
"""

from __future__ import annotations

import argparse
import copy
import itertools
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
FORMULAS = ("I.6.20", "I.14.4", "I.29.4")
LBFGS_CASES = (("mlp", None), ("efficient_kan", 3.0), ("metakan-relu", 5.0))
"""Method, and the ratio that is the goal."""
LBFGS_STEPS, SINGLE_RUNS, SINGLE_STEPS = 100, 2, 25
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


def lbfgs_specs(method: str, steps: int, options: Any) -> list[dict]:
    """Return the specs of runs of some formulas and seeds."""
    wished = argparse.Namespace(seeds=options.seeds, steps=steps)
    found = []
    for formula, spec in itertools.product(
        FORMULAS, specs("feynman", method, {"hidden_width": 5, "depth": 2}, None, wished)
    ):
        spec = copy.deepcopy(spec)
        spec["task"]["settings"]["formula"] = formula
        spec["training"].update(optimiser="lbfgs", learning_rate=1.0)
        found.append(spec)
    return found


def prepared(wished: list[dict]) -> list[train.Attempt]:
    attempts = [train.Attempt(spec) for spec in wished]
    for attempt in attempts:
        attempt.prepare()
    return attempts


def part_lbfgs(options: Any) -> None:
    """Print steps a second of runs together and one by one, and their ratio."""
    train._memory = lambda *arguments: {}  # what prepares runs is not timed, and it takes longer than all else here
    for method, goal in LBFGS_CASES:
        if method not in (options.methods or [method]):
            continue
        together = prepared(lbfgs_specs(method, LBFGS_STEPS, options))
        single = prepared(lbfgs_specs(method, SINGLE_STEPS, options)[:: options.seeds][:SINGLE_RUNS])

        def one_by_one(attempts: list[train.Attempt]) -> None:
            for attempt in attempts:
                attempt.train()

        spent = [seconds(one_by_one, single)]
        alone = SINGLE_STEPS * len(single)
        joint = LBFGS_STEPS * len(together) / seconds(ours, together, "auto")
        spent.append(seconds(one_by_one, single))
        rates = [alone / each for each in spent]
        ratio = joint / statistics.mean(rates)
        verdict = "" if goal is None else f"goal {goal:g} {'met' if ratio >= goal else 'missed'}"
        ended = {attempt.result["status"] for attempt in together}
        print(
            f"lbfgs    {method:14} {len(together):3} runs    together {joint:6.1f} steps/s   one by one "
            f"{rates[0]:6.1f} and {rates[1]:6.1f} steps/s   ratio {ratio:5.2f}   {verdict}   "
            f"({together[0].session.capture['used']}; {', '.join(sorted(ended))})",
            flush=True,
        )


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("adam", "lbfgs"), help="both by default")
    parser.add_argument("--methods", nargs="+", help="of part lbfgs, all by default")
    parser.add_argument("--seeds", type=int, default=10, help="runs of a function-fitting cell")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; more suffer where cores are shared")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.part != "adam":
        part_lbfgs(options)
    if options.part != "lbfgs":
        part_adam(options)


def part_adam(options: Any) -> None:
    """Print steps a second of the suite's loop and of the usual one, and their ratio."""
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
