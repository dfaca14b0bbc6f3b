"""What feeding costs: an epoch on tensors that live on the device against a torchvision `DataLoader`.

    python benchmarks/data_loading.py [--batch-size 1024] [--workers 0] [--repeats 3] [--threads 1]

Same network [784, 32, 10], same images, same batch size, same optimiser; only the feeding differs. `DataLoader` runs
`ToTensor` and `Normalize` for every image, as the usual training script does. Epochs of the two alternate. The goal
is a ratio of 0.5 at most. Without MNIST on disk (KANBENCH_DATA) random images of its shape stand in, at equal work.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from kanbench.base import seeds
from kanbench.base.errors import MissingData
from kanbench.data import datasets
from kanbench.data.torchvision_compat import import_datasets
from kanbench.tasks import images, taskinfo

WIDTH = [784, 32, 10]
GOAL = 0.5


def raw_images() -> tuple[datasets.Images, str]:
    """Return MNIST, or random images of its shape, and which of the two it is."""
    try:
        return datasets.read("mnist"), "MNIST"
    except MissingData:
        generator = seeds.numpy_generator(0, "synthetic images")
        pixels = generator.integers(0, 256, (70000, 1, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, 70000)
        made = datasets.Images(pixels, labels, np.arange(60000), np.arange(60000, 70000), canonical=False)
        return made, "random images of the shape of MNIST"


def models() -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Yield what is trained: an MLP, and a MetaKAN where the package is complete."""
    yield "MLP", lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.SiLU(), nn.Linear(32, 10))
    try:
        from metakan import MetaKAN
    except ImportError:
        return
    yield "MetaKAN", lambda: nn.Sequential(nn.Flatten(), MetaKAN(WIDTH))


def loader(raw: datasets.Images, chosen: np.ndarray, batch_size: int, workers: int) -> Iterable[tuple[Tensor, Tensor]]:
    """Return the usual torchvision pipeline over the chosen images."""
    kind = import_datasets().MNIST
    from torchvision import transforms

    dataset = kind.__new__(kind)  # its own indexing, over images that are in memory already
    dataset.data = torch.from_numpy(raw.images[chosen, 0])
    dataset.targets = torch.from_numpy(raw.labels[chosen])
    dataset.target_transform = None
    dataset.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    return torch.utils.data.DataLoader(dataset, batch_size, shuffle=True, num_workers=workers)


def epoch(model: nn.Module, optimiser: torch.optim.Optimizer, batches: Iterable, device: torch.device) -> float:
    """Return the seconds of one epoch of training."""
    _wait(device)
    started = time.perf_counter()
    for inputs, targets in batches:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs.to(device)), targets.to(device))
        loss.backward()
        optimiser.step()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Print seconds of an epoch both ways, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--workers", type=int, default=0, help="processes of the DataLoader")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; more suffer where cores are shared")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    raw, kind = raw_images()
    info, settings = taskinfo.discover()["mnist"], taskinfo.resolve("mnist", {})
    task = images.from_images(info, raw, settings, seed=0, dtype=torch.float32, device=device)
    usual = loader(raw, images.split_indices(info, raw, settings, 0)["train"], options.batch_size, options.workers)
    resident = task.batches(options.batch_size, seeds.generator(0, "order", device))
    steps = task.steps_per_epoch(options.batch_size)
    print(f"{kind}, {task.train_size} images, batch {options.batch_size}, {device}, {options.workers} workers")
    for name, build in models():
        model = build().to(device)
        optimiser = torch.optim.Adam(model.parameters())
        ways = {"tensors": lambda: (next(resident) for _ in range(steps)), "DataLoader": lambda: usual}
        seconds = {way: [] for way in ways}
        for way, feed in list(ways.items()) * (options.repeats + 1):
            seconds[way].append(epoch(model, optimiser, feed(), device))
        ours, theirs = (statistics.median(values[1:]) for values in seconds.values())  # the first epoch warms up
        verdict = "goal met" if ours / theirs <= GOAL else "goal missed"
        print(f"{name:8} tensors {ours:6.2f} s   DataLoader {theirs:6.2f} s   ratio {ours / theirs:.3f}   {verdict}")


if __name__ == "__main__":
    main()
