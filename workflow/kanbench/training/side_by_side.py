"""L-BFGS steps of the stacked runs of an ensemble: each run its own search, one evaluation for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kanbench.training import compiled, lbfgs

Losses = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Any], Tensor]


class SideBySide:
    """Takes the steps of stacked runs. A run's trained numbers are one row; its model's parameters are views of it.

    Args:
        models: The models of the runs.
        parameters: Their stacked parameters by name; trained ones are replaced by views of the rows.
        buffers: Their stacked buffers by name.
        losses: Losses, shape (runs,), of stacked parameters, buffers and a stacked batch.
        single: The optimiser of the first run, whose settings hold for all.
        rates: The learning rate of each run before a schedule.
    """

    def __init__(
        self,
        models: list[nn.Module],
        parameters: dict[str, Tensor],
        buffers: Mapping[str, Tensor],
        losses: Losses,
        single: torch.optim.LBFGS,
        rates: list[float],
    ):
        self._buffers, self._losses = buffers, losses
        trained = {name: tensor for name, tensor in parameters.items() if tensor.requires_grad}
        self._fixed = {name: tensor.detach() for name, tensor in parameters.items() if name not in trained}
        self._sizes = {name: tensor[0].numel() for name, tensor in trained.items()}
        self._shapes = {name: tensor.shape for name, tensor in trained.items()}
        self.points = torch.cat([tensor.detach().flatten(1) for tensor in trained.values()], dim=1)
        parameters.update(self._by_name(self.points))
        for index, model in enumerate(models):
            for name, parameter in model.named_parameters():
                if name in trained:
                    parameter.data = parameters[name][index]
        options = single.param_groups[0]
        kept = ("history_size", "max_iter", "tolerance_grad", "tolerance_change")
        self.optimiser = lbfgs.LBFGS(self.points, rates=rates, **{name: options[name] for name in kept})
        self._evaluate: compiled.Function = self.evaluate

    def choose(self, training: Mapping[str, Any], steps: int, batch: Any) -> dict[str, Any]:
        """Compile the evaluation where that pays; return what the record says about it."""
        arguments = self.points, self._fixed, self._buffers, batch
        evaluations = steps * self.optimiser.max_eval
        self._evaluate, told = compiled.choose(training, evaluations, self.evaluate, arguments)
        return told

    def step(self, batch: Any, going: Iterable[int], renewed: bool) -> Tensor:
        """Take a step with the runs `going`; `renewed` says that the batch is another than that of the last step."""

        def evaluate(points: Tensor) -> tuple[Tensor, Tensor]:
            return self._evaluate(points, self._fixed, self._buffers, batch)

        return self.optimiser.step(evaluate, list(going), renewed=renewed)

    def evaluate(
        self, points: Tensor, fixed: Mapping[str, Tensor], buffers: Mapping[str, Tensor], batch: Any
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of all runs, shape (runs,), and their gradients, shape (runs, trained numbers)."""

        def total(points: Tensor) -> tuple[Tensor, Tensor]:
            losses = self._losses({**fixed, **self._by_name(points)}, buffers, batch)
            return losses.sum(), losses

        gradients, (_, losses) = torch.func.grad_and_value(total, has_aux=True)(points)
        return losses, gradients

    def _by_name(self, points: Tensor) -> dict[str, Tensor]:
        parts = points.split(list(self._sizes.values()), dim=1)
        return {name: part.view(shape) for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)}
