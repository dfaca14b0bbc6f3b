"""What bounds a form of a generated KAN: whether its numbers can be those of a dense KAN, or whether they are found.

Each form is fitted to the numbers of the trained dense network, weighted by what they do to its outputs, and trained on
the task from there and from its usual start. A form that is good after the fit and bad from its usual start is bounded
by conditioning; one that stays bad after both, by what it can express.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kanbench.training.analysis import Skip

DEFAULTS = {"starts": 3, "steps": 30}
REQUIRES = ("generated_forms",)


def finish(subject, settings) -> dict:
    """Return the validation error of the dense network and, form by form, what the fit leaves and the errors reached.

    An entry of `forms` has `parameters`; `functions_left`, the root of the relative squared error of the edge functions
    that the baseline's `generated_forms` compares by; and the validation errors `fitted`, `trained_further` and
    `usual_start`. The best of `starts` fits counts; every minimisation takes `steps` steps of L-BFGS.
    """
    task = subject.task
    batch = next(task.batches(None, subject.generator("batches")))
    forms = subject.capabilities["generated_forms"](batch[0])
    if not forms:
        raise Skip("the edge functions of the network are not linear in their numbers")
    seed, found = subject.generator("starts").initial_seed(), []
    with torch.random.fork_rng(devices=[]):
        for name, form in forms.items():
            torch.manual_seed(seed)
            found.append({"form": name, **_measured(*form, task, batch, settings)})
    return {"dense": _error(subject.model, task), "forms": found}


def _measured(start: Callable, misfit: Callable, task: Any, batch: Any, settings: dict[str, int]) -> dict[str, float]:
    fits = []
    for _ in range(settings["starts"]):
        model = start()
        _minimise(model, lambda model=model: misfit(model), settings["steps"])
        fits.append((misfit(model).item() ** 0.5, len(fits), model))
    left, _, model = min(fits)
    errors = {"fitted": _error(model, task)}
    for name, each in (("trained_further", model), ("usual_start", start())):
        _minimise(each, lambda each=each: task.loss(each, batch), settings["steps"])
        errors[name] = _error(each, task)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"parameters": parameters, "functions_left": left, **errors}


def _error(model: nn.Module, task: Any) -> float:
    value = task.evaluate(model, "validation")[task.selection["metric"]]
    return 1 - value if task.selection["goal"] == "max" else value


def _minimise(model: nn.Module, loss: Callable[[], Tensor], steps: int) -> None:
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
