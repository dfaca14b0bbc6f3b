"""Memory and speed of the engine on a GPU against its promises, all in one run.

    python benchmarks/gpu_engine.py [--rounds 20] [--only peaks|times|billion]

Prints one row a promise: what was measured, the limit, and whether it holds. Exits with 1 if one does not, and with 2
where there is no CUDA device. Rows marked "aim" are goals beyond the promises and do not count.

* Peaks are the allocator's over one Adam step in float32, once the optimiser's state exists, less what was allocated
  before the network was built (the libraries' workspaces, which are warmed up first). Each network has the device to
  itself.
* Times are those of a whole training step (zero_grad, forward, backward, Adam) by CUDA events. The networks that a
  ratio compares take turns within each round, and the median of the rounds' ratios is printed.

`--device cpu` runs the same comparisons on a processor, with simulated peaks: a check of this script, not of the
promises, for which `--width`, `--batches` and `--features` make it small.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial

import engine
import torch
from engine import MIB, NETWORKS, Row, Step
from torch import nn

from metakan import MetaKAN, MetaKANLinear

BATCHES = (128, 256, 512, 1024, 2048, 4096)
FEATURES = 32768
MOST_BYTES = 24e9
STEPS_A_ROUND = 5
OURS, TILED = "MetaKAN", "MetaKAN tiled"


class Aim(Row):
    """A goal beyond the promises, which may be missed."""

    def __str__(self) -> str:
        return super().__str__().replace(" FAIL ", " miss ")


def make(name: str, device: torch.device) -> nn.Module:
    """Return a network by name; built on the processor, where efficient-KAN's least-squares start is supported."""
    torch.manual_seed(0)
    model = MetaKAN(engine.WIDTH, mode="tiled") if name == TILED else NETWORKS[name]()
    return model.to(device)


def image_step(name: str, batch: int, device: torch.device) -> Step:
    """Return a step of a network on random inputs that reach beyond the grid; its constructor runs the first one."""
    model = make(name, device)
    x = 1.5 * torch.randn(batch, engine.WIDTH[0], device=device)
    return Step(model, x, torch.randint(engine.WIDTH[-1], (batch,), device=device))


def warm_up(device: torch.device) -> None:
    """Make the libraries allocate their workspaces, which stay and belong to no network."""
    square = torch.rand(256, 256, device=device, requires_grad=True)
    (square @ square).sum().backward()


def peak_bytes(build: Callable[[], Step], device: torch.device) -> tuple[int, nn.Module]:
    """Return the bytes that a training step needs at its peak, and the model."""
    if device.type != "cuda":
        step = build()
        return int(step.peak() * MIB), step.model
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    step = build()
    step.optimiser.zero_grad(set_to_none=True)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before, step.model


def seconds(step: Step, device: torch.device) -> float:
    """Return the time of one step, the mean of a few."""
    if device.type != "cuda":
        return step.seconds()
    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(STEPS_A_ROUND):
        step()
    stop.record()
    torch.cuda.synchronize(device)
    return start.elapsed_time(stop) / 1e3 / STEPS_A_ROUND


def peaks(options: argparse.Namespace) -> Iterator[Row]:
    """Compare the peaks at every batch size; the smallest carries the promises."""
    for batch in options.batches:
        found = {}
        for name in ("MLP", "efficient-KAN", OURS, TILED):
            build = partial(image_step, name, batch, options.device)
            found[name], model = peak_bytes(build, options.device)
            mode = f" ({model.mode_used})" if name == OURS else ""
            print(f"  batch {batch:>5}  peak of {name + mode:<40} {found[name] / MIB:>10.1f} MiB")
            del model
        detail = f"{found[OURS] / MIB:.1f} MiB"
        if batch == options.batches[0]:
            yield Row(f"peak over MLP, batch {batch}", found[OURS] / found["MLP"], 1.25, "x", detail)
            ratio = found[OURS] / found["efficient-KAN"]
            yield Row(f"peak over efficient-KAN, batch {batch}", ratio, 1 / 7, "x", detail)


def times(options: argparse.Namespace) -> Iterator[Row]:
    """Compare the step times at every batch size."""
    for batch in options.batches:
        names = ("MLP", "efficient-KAN", OURS, TILED)
        steps = {name: image_step(name, batch, options.device) for name in names}
        for step in steps.values():
            seconds(step, options.device)
        rounds = [{name: seconds(step, options.device) for name, step in steps.items()} for _ in range(options.rounds)]
        typical = {name: 1e3 * statistics.median(round_[name] for round_ in rounds) for name in names}
        detail = ", ".join(f"{name} {milliseconds:.2f} ms" for name, milliseconds in typical.items())
        mode = steps[OURS].model.mode_used
        ratio = statistics.median(round_[OURS] / round_["efficient-KAN"] for round_ in rounds)
        yield Row(f"step time over efficient-KAN, batch {batch}", ratio, 1.0, "x", detail)
        yield Aim(f"aim: step time over efficient-KAN, batch {batch}", ratio, 0.35, "x", mode)


def billion(options: argparse.Namespace) -> Iterator[Row]:
    """Train one step of a layer with over a billion edges."""
    features, batch = options.features, options.batches[0]

    def build() -> Step:
        with options.device:  # drawn where it stays: prompts of 4 GiB
            model = MetaKANLinear(features, features)
            return Step(model, torch.randn(batch, features), torch.randint(features, (batch,)))

    name = f"one step of [{features}, {features}], {features**2 / 1e9:.2f} billion edges, batch {batch}"
    dense = 4 * 4 * features**2 * 9 / 1e9
    try:
        found, model = peak_bytes(build, options.device)
    except torch.OutOfMemoryError as error:
        print(f"  {name}: out of memory: {error}")
        yield Row(name, float("inf"), MOST_BYTES / 1e9, "GB", "out of memory")
        return
    detail = f"{model.mode_used}; weights, gradient and moments of a dense KAN alone: {dense:.0f} GB"
    yield Row(name, found / 1e9, MOST_BYTES / 1e9, "GB", detail)


SECTIONS = {"peaks": peaks, "times": times, "billion": billion}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options; the device is cuda unless another one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", choices=list(SECTIONS))
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--width", type=int, nargs="+", default=engine.WIDTH)
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--features", type=int, default=FEATURES)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the sections and print their rows."""
    options = parse(arguments)
    if options.device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: torch finds none here, and these promises are about one", file=sys.stderr)
        return 2
    engine.WIDTH = options.width
    warm_up(options.device)
    name = torch.cuda.get_device_name(options.device) if options.device.type == "cuda" else "a processor, simulated"
    print(f"torch {torch.__version__}, {name}, widths {engine.WIDTH}, Adam, float32")
    print(f"{'promise':<58} {'measured':>10} {'limit':>8}")
    held = True
    for section, rows in SECTIONS.items():
        if options.only in (None, section):
            for row in rows(options):
                print(row, flush=True)
                held = held and (row.holds or isinstance(row, Aim))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
