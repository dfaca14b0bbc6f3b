"""The contract of a method that is no network: an object with `fit` and `predict`, as scikit-learn has them.

`build(problem, settings)` of `model.py` returns it unfitted. It gets NumPy arrays: inputs of shape (samples, inputs),
images flattened; targets of shape (samples,) where there is one output or a class, else (samples, outputs). `predict`
returns targets of that shape; a classifier returns the probabilities of its classes from `predict_proba`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kanbench.base.errors import Unavailable
from kanbench.baselines import build as building
from kanbench.baselines.build import BrokenContract
from kanbench.baselines.discovery import Method
from kanbench.tasks.task import Problem

OFFERS = ("build", "declines", "describe", "count_parameters")
"""Functions of `model.py` that the harness calls where they are offered; the last two get the fitted estimator."""
LEAST = 1e-12
"""Probability that stands for zero in a logarithm."""


class Fitted(nn.Module):
    """An estimator as tasks evaluate it: `forward` maps (batch, *input_shape) to (batch, outputs).

    Outputs of a classifier are logarithms of probabilities; a class that the training split lacked has `LEAST`.
    """

    def __init__(self, estimator: Any, problem: Problem):
        super().__init__()
        self.estimator, self.problem = estimator, problem

    def fit(self, inputs: Tensor, targets: Tensor) -> None:
        """Fit to a training split; the estimator gets copies."""
        x, y = self._rows(inputs), targets.detach().cpu().numpy().copy()
        self.estimator.fit(x, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y)

    def forward(self, inputs: Tensor) -> Tensor:
        classes = self.problem.family == "classification"
        values = self._scores(inputs) if classes else self._values(inputs)
        return torch.as_tensor(values).to(inputs.device, inputs.dtype)

    def _rows(self, inputs: Tensor) -> np.ndarray:
        return inputs.detach().cpu().flatten(1).numpy().copy()

    def _values(self, inputs: Tensor) -> np.ndarray:
        found = np.asarray(self.estimator.predict(self._rows(inputs)), dtype=float)
        if found.ndim == 1 and self.problem.outputs == 1:
            found = found[:, None]
        return self._of_shape(found, "predict", len(inputs), self.problem.outputs)

    def _scores(self, inputs: Tensor) -> np.ndarray:
        known = np.asarray(getattr(self.estimator, "classes_", np.arange(self.problem.outputs)))
        if not hasattr(self.estimator, "predict_proba"):
            raise BrokenContract("shapes: a classifier needs predict_proba, beside which labels say too little")
        found = np.asarray(self.estimator.predict_proba(self._rows(inputs)), dtype=float)
        found = self._of_shape(found, "predict_proba", len(inputs), len(known))
        spread = np.zeros((len(inputs), self.problem.outputs))
        spread[:, known.astype(int)] = found
        return np.log(np.maximum(spread, LEAST))

    def _of_shape(self, found: np.ndarray, name: str, rows: int, columns: int) -> np.ndarray:
        if found.shape != (rows, columns):
            raise BrokenContract(f"shapes: {name} returned the shape {found.shape}, expected {(rows, columns)}")
        return found


def build(method: Method, settings: Mapping[str, Any], problem: Problem) -> Fitted:
    """Return an estimator for a problem, not fitted yet; it draws from the global generators, which are left alone.

    Raises:
        Unavailable: a package is absent, or the baseline declines these settings on this problem.
        BrokenContract: `model.py` cannot be imported, or what it builds has no `fit` or no `predict`.
    """
    module = building.load_model_module(method.baseline)
    declines = building.capability(module, "declines")
    if declines and (reason := declines(problem, building.read_only(settings))):
        raise Unavailable(f"{method.name} cannot be built: {reason}")
    found = module.build(problem, building.read_only(settings))
    lacking = [name for name in ("fit", "predict") if not callable(getattr(found, name, None))]
    if lacking:
        kind = type(found).__name__
        raise BrokenContract(f"builds: {method.name} built a {kind} without {' and '.join(lacking)}")
    return Fitted(found, problem)


def parameters(module: Any, fitted: Fitted) -> int | None:
    """Return how many numbers a fitted estimator has learned, where the baseline counts them. Raises BrokenContract."""
    count = building.capability(module, "count_parameters")
    if count is None:
        return None
    found = count(fitted.estimator)
    if isinstance(found, bool) or not isinstance(found, (int, np.integer)) or found < 1:
        raise BrokenContract(f"count: count_parameters returned {found!r}, not a number of parameters")
    return int(found)
