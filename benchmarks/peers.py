"""A training step of every dense package, of MLP and of MetaKAN, side by side.

    python benchmarks/peers.py [--width 784 1024 1024 10] [--batch 128] [--rounds 9] [--threads 2]

One row a method of `baselines/`: simulated peak of one Adam step in float32 and median time of a whole step, over the
MLP's as well, time also over that of the quickest dense KAN, and which implementation ran. The networks take turns
within each round, since absolute times drift. A package that is not installed (`pip install .[peers]`) is skipped.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "workflow")]

from engine import Step  # noqa: E402

from kanbench.baselines import build, discovery  # noqa: E402
from kanbench.tasks.task import Problem  # noqa: E402

DENSE = ("efficient_kan", "flashkan", "inkan", "kanditioned-eight", "tiled_kan")
METHODS = ("mlp", *DENSE, "metakan-relu", "metakan-linear")


class MethodStep(Step):
    """One training step of a method on a fixed batch; raises `build.Unavailable` where its package is absent."""

    def __init__(self, name: str, width: list[int], batch: int):
        method = discovery.discover()[name.partition("-")[0]].methods[name]
        problem = Problem("classification", inputs=width[0], outputs=width[-1])
        settings = discovery.resolve(method, problem.family, {"hidden_width": width[1], "depth": len(width) - 2})
        self.module = build.load_model_module(method.baseline)
        torch.manual_seed(0)
        model = build.build(method, settings, problem)
        super().__init__(model, 1.5 * torch.randn(batch, width[0]), torch.randint(width[-1], (batch,)))

    def implementation(self) -> str:
        """Return which implementation ran, or how the engine evaluated it."""
        told = build.described(self.module, self.model)
        return str(told.get("implementation") or told.get("mode") or "own")


def measure(width: list[int], batch: int, rounds: int) -> dict[str, dict[str, float | str]]:
    """Return implementation, peak in MiB and step time in seconds of each method, or why it was skipped."""
    rows: dict[str, dict[str, float | str]] = {}
    steps: dict[str, MethodStep] = {}
    for name in METHODS:
        try:
            steps[name] = MethodStep(name, width, batch)
        except build.Unavailable as error:
            rows[name] = {"skipped": str(error)}
        else:
            rows[name] = {"implementation": steps[name].implementation(), "peak": steps[name].peak()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(step.seconds())
    for name, found in times.items():
        rows[name]["seconds"] = statistics.median(found)
    return rows


def table(rows: dict[str, dict[str, float | str]]) -> list[str]:
    """Return the lines of the table."""
    dense = [name for name in DENSE if "seconds" in rows[name]]
    quickest = min(dense, key=lambda name: rows[name]["seconds"])
    lines = [f"{'method':<20}{'MiB':>8}{'/MLP':>7}{'ms':>9}{'/MLP':>7}{'/' + quickest:>15}  implementation"]
    for name, row in rows.items():
        if "skipped" in row:
            lines.append(f"{name:<20}skipped: {row['skipped']}")
            continue
        peak, seconds, reference = row["peak"], row["seconds"], rows["mlp"]
        ratios = seconds / reference["seconds"], seconds / rows[quickest]["seconds"]
        lines.append(
            f"{name:<20}{peak:>8.1f}{peak / reference['peak']:>7.2f}{1e3 * seconds:>9.1f}{ratios[0]:>7.2f}"
            f"{ratios[1]:>15.2f}  {row['implementation']}"
        )
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, nargs="+", default=[784, 1024, 1024, 10], help="hidden widths are equal")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    if len(options.width) < 3 or len(set(options.width[1:-1])) > 1:
        parser.error(f"--width: found {options.width}, expected inputs, equal hidden widths and outputs")
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        print("\n".join(table(measure(options.width, options.batch, options.rounds))))
    finally:
        torch.set_num_threads(before)
    return 0


if __name__ == "__main__":
    sys.exit(main())
