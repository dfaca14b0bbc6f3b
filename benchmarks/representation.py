"""What bounds a form of a generated KAN: whether its numbers can be those of a dense KAN, or whether they are found.

    python benchmarks/representation.py [--formulas I.16.6 ...] [--depth 1] [--seeds 2] [--steps 30]

A dense KAN is trained. Each form is then fitted to the dense numbers, weighted by what they do to the outputs (the
second moments of the features at the training points), from several starts. Printed are the error that is left in the
edge functions, and validation errors over the dense KAN's: of the fitted network, of the same trained further on the
task, and of one trained on the task from its usual start for as long. A form whose fit is good and whose training from
its usual start is not is bounded by conditioning; one whose fit stays bad, by what it can express.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from kanbench.base import seeds
from kanbench.tasks import feynman, taskinfo
from metakan import KAN, MetaKAN

LINEAR = {"meta_activation": "none", "hidden_dim": 0}
FORMS: dict[str, dict[str, object]] = {
    "curve": {"hidden_dim": 16},
    "curve with amplitudes": {"hidden_dim": 16, "amplitude": True},
    "sum of two curves": {"hidden_dim": 16, "prompt_dim": 2, "separate": True},
    "ReLU, three numbers": {"hidden_dim": 16, "prompt_dim": 3},
    **{f"{count} functions mixed": {**LINEAR, "prompt_dim": count} for count in (1, 2, 3, 4)},
}
SAMPLES = {"train": 1000, "validation": 500}
STARTS = 3
FIRST_SEED = 1000


def points(formula: str, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return inputs on [-1, 1] and targets of each split, as the task of function fitting draws them."""
    known = taskinfo.formulas()[formula]
    bounds, found = feynman.ranges(known), {}
    for split, count in SAMPLES.items():
        unit = seeds.numpy_generator(seed, f"points/{split}").random((count, len(bounds)))
        values = feynman.target(known, bounds[:, 0] + np.ptp(bounds, axis=1) * unit)
        found[split] = torch.as_tensor(2 * unit - 1).float(), torch.as_tensor(values[:, None]).float()
    return found


def minimise(model: nn.Module, loss: Callable[[], Tensor], steps: int) -> None:
    """Take L-BFGS steps as the harness takes them."""
    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=20, history_size=10, line_search_fn="strong_wolfe", tolerance_grad=1e-32,
        tolerance_change=1e-32,
    )  # fmt: skip

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    for _ in range(steps):
        optimiser.step(closure)


def trained(model: nn.Module, data: dict[str, tuple[Tensor, Tensor]], steps: int) -> float:
    """Train on the task; return the root mean square error on validation."""
    x, y = data["train"]
    minimise(model, lambda: nn.functional.mse_loss(model(x), y), steps)
    return error(model, data)


@torch.no_grad()
def error(model: nn.Module, data: dict[str, tuple[Tensor, Tensor]]) -> float:
    x, y = data["validation"]
    return float(nn.functional.mse_loss(model(x), y)) ** 0.5


@torch.no_grad()
def moments(dense: KAN, x: Tensor) -> list[Tensor]:
    """Return the second moments of the features of every input of every layer, ``(in, n_b, n_b)``."""
    found = []
    for layer in dense.layers:
        features = layer.basis.features(x)
        found.append(torch.einsum("nia,nib->iab", features, features) / len(x))
        x = layer(x)
    return found


def misfit(model: MetaKAN, dense: KAN, weights: list[Tensor]) -> Tensor:
    """Return the squared error of the edge functions over their size, the mean over layers."""
    total = 0.0
    for own, other, weight in zip(model.layers, dense.layers, weights, strict=True):
        wanted = other.numbers().detach()
        left, whole = (torch.einsum("oia,iab,oib->", each, weight, each) for each in (own.numbers() - wanted, wanted))
        total = total + left / whole
    return total / len(weights)


def fitted(form: dict[str, object], dense: KAN, weights: list[Tensor], steps: int) -> tuple[MetaKAN, float]:
    """Return the network of a form that comes closest to the dense one, and the relative error of its functions."""
    found = []
    for _ in range(STARTS):
        model = MetaKAN(dense.width, num_clusters=len(dense.width) - 1, **form)
        minimise(model, lambda model=model: misfit(model, dense, weights), steps)
        found.append((misfit(model, dense, weights).item() ** 0.5, model))
    least, model = min(found, key=lambda each: each[0])
    return model, least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--formulas", nargs="+", default=["I.6.20b", "I.16.6", "I.18.4", "I.26.2"])
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in FORMS}
    for formula in options.formulas:
        for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
            torch.manual_seed(seed)
            data = points(formula, seed)
            width = [data["train"][0].shape[1], *[5] * options.depth, 1]
            dense = KAN(width)
            unit, weights = trained(dense, data, options.steps), moments(dense, data["train"][0])
            for name, form in FORMS.items():
                model, left = fitted(form, dense, weights, options.steps)
                values = [error(model, data), trained(model, data, options.steps)]
                usual = MetaKAN(width, num_clusters=len(width) - 1, **form)
                values.append(trained(usual, data, options.steps))
                rows[name].append((left, *(value / unit for value in values)))
    headings = ("edge functions left", "fitted", "fitted, then trained", "from its usual start")
    print(f"{'form':24s}" + "".join(f"{heading:>22s}" for heading in headings))
    for name, found in rows.items():
        medians = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{name:24s}" + "".join(f"{value:22.3g}" for value in medians))


if __name__ == "__main__":
    main()
