"""What a study leaves open about a method: learning rates by name, or searched for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kanbench.base.errors import InvalidInput
from kanbench.study import cost, rates, search
from kanbench.study.config import Study
from kanbench.tasks.taskinfo import TaskInfo


def drawn(
    study: Study, key: str, task: tuple[TaskInfo, Mapping[str, Any]], method: tuple, rounds: search.Rounds
) -> Iterator[dict[str, float]]:
    """Yield the learning rates of each run of a method by knob, beside those that its training settings type.

    Args:
        key: The experiment.
        task: A task and its settings.
        method: The method, its settings and its training settings.
        rounds: The trials of learning rates that were added to the first ones.

    Raises:
        InvalidInput: the study asks for a rate that nobody has chosen.
    """
    (info, _), (which, _, training, *_) = task, method
    experiment, rate = study.content["experiments"][key], training.get(rates.RATE)
    if which.baseline.fits_itself:
        yield from [] if rate == rates.SEARCHED else [{}]
    elif rate == rates.SEARCHED:
        names = search.knobs(which.baseline.groups, training["optimiser"])
        made = rounds.of(key, info.family, which.name)
        yield from search.trials(names, experiment["search"], made)
    elif rate == rates.TUNED:
        choices, steps = rates.load(), cost.steps(*task, training)
        found = choices.find(rates.source(key, experiment), info.family, which.name, steps)
        if found is None and not which.skip_reason(info.family):
            raise InvalidInput([rates.missing(study.label, key, experiment, info.family, which.name, choices)])
        yield rates.beside(found or rates.UNUSED, training)
    else:
        yield {}


FAR = 2.0
"""Factor between two budgets from which rates chosen at the one are said to be used at the other."""


def far_lines(study: Study, runs: Iterable[Any], tasks: Mapping[str, TaskInfo]) -> list[str]:
    """Return a line for each experiment whose rates were tuned at another budget, with both budgets in steps.

    Args:
        runs: The planned runs.
        tasks: Tasks by name.
    """
    found: dict[str, set[tuple[int, int]]] = {}
    for run in runs:
        task, training = run.spec["task"], run.spec["training"]
        info = tasks[task["name"]]
        for key in run.experiments:
            experiment = study.content["experiments"][key]
            if experiment["training"].get(rates.RATE) != rates.TUNED:
                continue
            steps = cost.steps(info, task["settings"], training)
            source = rates.source(key, experiment)
            tuned = rates.load().budget(source, info.family, run.spec["method"]["name"], steps)
            if tuned and max(tuned / steps, steps / tuned) > FAR:
                found.setdefault(key, set()).add((steps, tuned))
    return [
        f"rates of {key}: trained for {steps} steps, tuned at {tuned}"
        for key, pairs in found.items()
        for steps, tuned in sorted(pairs)
    ]
