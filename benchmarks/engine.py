"""Memory and speed of the engine against its promises, all in one run.

    python benchmarks/engine.py [--rounds 9] [--threads 2] [--only walk]

Sections are fully_connected, walk, quickest, finer_grids, small, second_order, linear, convolution and parity.

Prints one row a promise: what was measured, the limit, and whether it holds; exits with 1 if one does not.

* Peaks are simulated by torch's memory tracker on one Adam step in float32, once the optimiser's state exists.
* Times are CPU seconds of a whole training step (zero_grad, forward, backward, Adam). The networks that a ratio
  compares take turns within each round, and the median of the rounds' ratios is printed, since absolute times drift.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed._tools.mem_tracker import MemTracker

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from metakan import KAN, MetaConvKAN, MetaKAN  # noqa: E402

WIDTH = [784, 1024, 1024, 10]
SMALL = [784, 64, 64, 10]
CHANNELS = (16, 32, 64, 128, 256, 256, 512, 512)
MIB = 2**20


@dataclass(frozen=True)
class Row:
    promise: str
    measured: float
    limit: float
    unit: str
    detail: str

    @property
    def holds(self) -> bool:
        return self.measured <= self.limit

    def __str__(self) -> str:
        verdict = "pass" if self.holds else "FAIL"
        return f"{self.promise:<58} {self.measured:>10.3g} {self.limit:>8.3g} {self.unit:<7} {verdict}  {self.detail}"


def make_mlp() -> nn.Module:
    """Return the multilayer perceptron of the same widths."""
    return nn.Sequential(*_dense(WIDTH))


def _dense(width: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in zip(width[:-1], width[1:], strict=True):
        layers += [nn.Linear(inputs, outputs), nn.SiLU()]
    return layers[:-1]


def make_efficient_kan(width: list[int] | None = None) -> nn.Module:
    """Return efficient-KAN in the formulation of `baselines/efficient_kan`."""
    path = ROOT / "baselines/efficient_kan/model.py"
    spec = importlib.util.spec_from_file_location("benchmark_efficient_kan", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EfficientKAN(width or WIDTH)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "MLP": make_mlp,
    "efficient-KAN": make_efficient_kan,
    "MetaKAN": lambda: MetaKAN(WIDTH),
    "MetaKAN, G = 50": lambda: MetaKAN(WIDTH, grid_size=50),
    "MetaKAN linear": lambda: MetaKAN(WIDTH, meta_activation="none"),
    "MetaKAN plain": lambda: MetaKAN(WIDTH, mode="materialized"),
    "tiled KAN": lambda: KAN(WIDTH, mode="tiled"),
}


VARIANTS: dict[str, Callable[[int], nn.Module]] = {
    "hidden_dim 8": lambda grid_size: MetaKAN(WIDTH, grid_size=grid_size, hidden_dim=8),
    "hidden_dim 64": lambda grid_size: MetaKAN(WIDTH, grid_size=grid_size, hidden_dim=64),
    "hidden_dim 128": lambda grid_size: MetaKAN(WIDTH, grid_size=grid_size, hidden_dim=128),
    "far prompts": lambda grid_size: make_far(grid_size),
}
"""Networks that the walk takes on other curves, or elsewhere on them, for a grid size."""


def make_far(grid_size: int) -> nn.Module:
    """Return a MetaKAN whose prompts lie far outside of all kinks, on either side."""
    model = MetaKAN(WIDTH, grid_size=grid_size)
    with torch.no_grad():
        for layer in model.layers:
            layer.prompts.add_(100 * layer.prompts.sign())
    return model


class Step:
    """One training step of a network on a fixed batch."""

    def __init__(self, model: nn.Module, x: Tensor, labels: Tensor):
        self.model, self.x, self.labels = model, x, labels
        self.optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
        self()

    def __call__(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(self.model(self.x), self.labels).backward()
        self.optimiser.step()

    def seconds(self) -> float:
        """Return the time of one step."""
        start = time.perf_counter()
        self()
        return time.perf_counter() - start

    def peak(self) -> float:
        """Return the simulated peak of one step in MiB."""
        self.optimiser.zero_grad(set_to_none=True)
        tracker = MemTracker()
        tracker.track_external(self.model, self.optimiser, self.x, self.labels)
        with tracker:
            self()
        return tracker.get_tracker_snapshot("peak")[self.x.device]["Total"] / MIB


def image_step(name: str, batch: int) -> Step:
    """Return a step of a fully connected network on random inputs that reach beyond the grid."""
    torch.manual_seed(0)
    return Step(NETWORKS[name](), 1.5 * torch.randn(batch, WIDTH[0]), torch.randint(10, (batch,)))


def ratios(names: list[str], reference: str, batch: int, rounds: int) -> dict[str, tuple[float, str]]:
    """Return each network's step time over the reference's: the median over rounds, and milliseconds in words."""
    return compared({name: image_step(name, batch) for name in [reference, *names]}, reference, rounds)


def compared(steps: dict[str, Step], reference: str, rounds: int) -> dict[str, tuple[float, str]]:
    """Return what `ratios` does of any steps, among them the reference."""
    names = [name for name in steps if name != reference]
    for step in steps.values():
        step()
    times = [{name: step.seconds() for name, step in steps.items()} for _ in range(rounds)]
    typical = {name: statistics.median(round_[name] for round_ in times) * 1e3 for name in steps}
    return {
        name: (
            statistics.median(round_[name] / round_[reference] for round_ in times),
            f"{typical[name]:.0f} ms against {typical[reference]:.0f} ms ({reference})",
        )
        for name in names
    }


def fully_connected(rounds: int) -> list[Row]:
    """Check the ReLU MetaKAN's peak against the MLP and its time against efficient-KAN."""
    rows = []
    for batch, ratio, ceiling, speed in ((128, 1.25, 46, 0.75), (1024, 1.5, 67, 0.35)):
        mlp, ours = image_step("MLP", batch).peak(), image_step("MetaKAN", batch).peak()
        others = {name: image_step(name, batch).peak() for name in ("efficient-KAN", "MetaKAN plain", "tiled KAN")}
        detail = ", ".join(f"{name} {peak:.1f}" for name, peak in {"MLP": mlp, **others}.items())
        rows.append(Row(f"peak, batch {batch}", ours, ceiling, "MiB", detail))
        rows.append(Row(f"peak over MLP, batch {batch}", ours / mlp, ratio, "x", f"{ours:.1f} against {mlp:.1f} MiB"))
        name = "MetaKAN"
        found, detail = ratios([name], "efficient-KAN", batch, rounds)[name]
        rows.append(Row(f"step time over efficient-KAN, batch {batch}", found, speed, "x", detail))
    return rows


def walk(rounds: int) -> list[Row]:
    """Check the ReLU MetaKAN's time against the MLP and against itself on a finer grid, and a small network's peak."""
    rows = []
    for batch, limit in ((128, 4.0), (1024, 3.5)):
        found, detail = ratios(["MetaKAN"], "MLP", batch, rounds)["MetaKAN"]
        rows.append(Row(f"step time over MLP, batch {batch}", found, limit, "x", detail))
    for batch in (128, 1024):
        name = "MetaKAN, G = 50"
        found, detail = ratios([name], "MetaKAN", batch, rounds)[name]
        rows.append(Row(f"G = 50: step time over G = 5, batch {batch}", found, 1.25, "x", detail))
        fine, coarse = (image_step(each, batch).peak() for each in (name, "MetaKAN"))
        rows.append(Row(f"G = 50: peak over G = 5, batch {batch}", fine / coarse, 1.3, "x", f"{fine:.1f} MiB"))
    steps = {}
    for name, model in {"MLP": nn.Sequential(*_dense(SMALL)), "MetaKAN": MetaKAN(SMALL)}.items():
        steps[name] = Step(model, torch.randn(128, SMALL[0]), torch.randint(10, (128,))).peak()
    detail = f"{steps['MetaKAN']:.2f} against {steps['MLP']:.2f} MiB"
    rows.append(Row("55 k edges: peak over MLP, batch 128", steps["MetaKAN"] / steps["MLP"], 2.0, "x", detail))
    return rows


def quickest(rounds: int) -> list[Row]:
    """Check the ReLU MetaKAN's time against the quickest dense KAN: packages that are installed, and our own."""
    from peers import DENSE, MethodStep  # beside this file; the packages are found by the suite's baselines

    from kanbench.baselines.build import Unavailable

    rows = []
    for batch in (128, 1024):
        steps: dict[str, Step] = {"MetaKAN": image_step("MetaKAN", batch)}
        for name in DENSE:
            with contextlib.suppress(Unavailable):
                steps[name] = MethodStep(name, WIDTH, batch)
        found = compared(steps, "MetaKAN", rounds)
        name = min(found, key=lambda each: found[each][0])
        ratio, detail = found[name]
        detail = f"{name} quickest of {', '.join(sorted(found))}: {detail}"
        rows.append(Row(f"step time over the quickest dense KAN, batch {batch}", 1 / ratio, 0.45, "x", detail))
    return rows


def finer_grids(rounds: int) -> list[Row]:
    """Check that neither time nor peak grows with the grid, for other curves and other places on them."""
    rows = []
    for name, make in VARIANTS.items():
        for batch in (128, 1024):
            torch.manual_seed(0)
            x, labels = 1.5 * torch.randn(batch, WIDTH[0]), torch.randint(10, (batch,))
            steps = {f"G = {size}": Step(make(size), x, labels) for size in (5, 50)}
            found, detail = compared(steps, "G = 5", rounds)["G = 50"]
            rows.append(Row(f"{name}, G = 50: step over G = 5, batch {batch}", found, 1.25, "x", detail))
            coarse, fine = (step.peak() for step in steps.values())
            detail = f"{fine:.1f} against {coarse:.1f} MiB"
            rows.append(Row(f"{name}, G = 50: peak over G = 5, batch {batch}", fine / coarse, 1.3, "x", detail))
    return rows


class FittingStep(Step):
    """One training step on the squared error of a function."""

    def __call__(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        nn.functional.mse_loss(self.model(self.x), self.labels).backward()
        self.optimiser.step()


def small(rounds: int) -> list[Row]:
    """Check that small networks are no slower than in the tiled form."""
    points = 2 * torch.rand(1000, 2) - 1
    problems = [
        (FittingStep, [2, 5, 5, 1], points, points.prod(1, keepdim=True)),
        (Step, [784, 32, 10], torch.randn(1024, 784), torch.randint(10, (1024,))),
    ]
    rows = []
    for kind, width, x, targets in problems:
        steps = {mode: kind(MetaKAN(width, mode=mode), x, targets) for mode in ("auto", "tiled")}
        found, detail = compared(steps, "tiled", 10 * rounds)["auto"]
        rows.append(Row(f"{width}, batch {len(x)}: step time over tiled form", found, 1.02, "x", detail))
    return rows


class ResidualStep(Step):
    """One training step on the squared residual of a Poisson problem, with four dimensions of the Laplacian."""

    def __call__(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        x = self.x.detach().requires_grad_()
        u = self.model(x.view_as(x))
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        curvature = [torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(4)]
        (sum(curvature) - 1).square().mean().backward()
        self.optimiser.step()


def second_order(rounds: int) -> list[Row]:
    """Check a step with second derivatives against efficient-KAN."""
    width, x = [10, 128, 128, 128, 1], torch.rand(100, 10) - 0.5
    models = {"MetaKAN": MetaKAN(width), "efficient-KAN": make_efficient_kan(width)}
    steps = {name: ResidualStep(model, x, torch.zeros(1)) for name, model in models.items()}
    times = [{name: step.seconds() for name, step in steps.items()} for _ in range(rounds)]
    ratio = statistics.median(each["MetaKAN"] / each["efficient-KAN"] for each in times)
    ours, theirs = (step.peak() for step in steps.values())
    typical = {name: statistics.median(each[name] for each in times) * 1e3 for name in steps}
    detail = f"{typical['MetaKAN']:.0f} ms against {typical['efficient-KAN']:.0f} ms"
    return [
        Row("Poisson residual: step time over efficient-KAN", ratio, 0.5, "x", detail),
        Row(
            "Poisson residual: peak over efficient-KAN", ours / theirs, 0.5, "x", f"{ours:.1f} against {theirs:.1f} MiB"
        ),
    ]


def linear(rounds: int) -> list[Row]:
    """Check the factorised variant's peak and time against the MLP."""
    rows = []
    for batch in (128, 1024):
        name = "MetaKAN linear"
        mlp, ours = image_step("MLP", batch).peak(), image_step(name, batch).peak()
        detail = f"{ours:.1f} against {mlp:.1f} MiB"
        rows.append(Row(f"linear: peak over MLP, batch {batch}", ours / mlp, 1.6, "x", detail))
        found, detail = ratios([name], "MLP", batch, 3 * rounds)[name]
        rows.append(Row(f"linear: step time over MLP, batch {batch}", found, 1.6, "x", detail))
    return rows


def convolution(rounds: int) -> list[Row]:
    """Check the convolutional network's peak and time against its plain form."""
    x, labels = torch.randn(64, 3, 32, 32), torch.randint(10, (64,))
    steps = {mode: Step(MetaConvKAN(CHANNELS, mode=mode), x, labels) for mode in ("auto", "materialized")}
    ours, theirs = (step.peak() for step in steps.values())
    times = [{mode: step.seconds() for mode, step in steps.items()} for _ in range(max(3, rounds // 3))]
    ratio = statistics.median(each["auto"] / each["materialized"] for each in times)
    typical = {mode: statistics.median(each[mode] for each in times) * 1e3 for mode in steps}
    detail = f"{typical['auto']:.0f} ms against {typical['materialized']:.0f} ms"
    return [
        Row("convolution: peak over plain form", ours / theirs, 0.25, "x", f"{ours:.0f} against {theirs:.0f} MiB"),
        Row("convolution: step time over plain form", ratio, 0.5, "x", detail),
    ]


def _values(model: nn.Module, mode: str, x: Tensor, second: bool) -> list[Tensor]:
    for layer in model.layers:
        layer.mode = mode
    x = x.clone().requires_grad_()
    y = model(x)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    loss = (y * weights).sum()
    if second:
        slope = torch.autograd.grad(loss, x, create_graph=True)[0]
        loss = (slope * slope).sum()
    return [y.detach(), *(g for g in torch.autograd.grad(loss, [x, *model.parameters()]))]


def parity(rounds: int) -> list[Row]:
    """Check values and gradients of the tiled form against the plain form in float64."""
    del rounds
    rows = []
    for dtype, limit in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        for second in (False, True):
            worst = 0.0
            for basis in ("bspline", "rbf", "wavelet", "legendre", "gram", "chebyshev"):
                torch.manual_seed(1)
                exact = MetaKAN([7, 12, 3], basis=basis).double()
                model = MetaKAN([7, 12, 3], basis=basis).to(dtype)
                model.load_state_dict(exact.state_dict())
                exact.load_state_dict(model.state_dict())
                x = 1.5 * torch.randn(33, 7).to(dtype)
                pairs = zip(
                    _values(exact, "materialized", x.double(), second), _values(model, "tiled", x, second), strict=True
                )
                worst = max(worst, *(float((a - b).abs().max() / a.abs().max()) for a, b in pairs))
            order = "second" if second else "first"
            rows.append(Row(f"parity: {dtype}, {order} order".replace("torch.", ""), worst, limit, "rel.", "all bases"))
    return rows


SECTIONS = {
    "fully_connected": fully_connected,
    "walk": walk,
    "quickest": quickest,
    "finer_grids": finer_grids,
    "small": small,
    "second_order": second_order,
    "linear": linear,
    "convolution": convolution,
    "parity": parity,
}


def main() -> int:
    """Run the sections and print their rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=list(SECTIONS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, widths {WIDTH}, Adam, float32")
    print(f"{'promise':<58} {'measured':>10} {'limit':>8}")
    rows = []
    for name, section in SECTIONS.items():
        if options.only in (None, name):
            for row in section(options.rounds):
                print(row, flush=True)
                rows.append(row)
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
