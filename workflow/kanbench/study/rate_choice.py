"""Chooses learning rates from the records of the study `tuning`, by validation, and the trials of the next round.

A trial's score is what its runs select their step by, on the validation split: of an error minus its logarithm, so that
no task outweighs another. A run that failed is worse than any. The best mean over tasks, seeds and networks is chosen;
a trial whose rate is the lowest or the highest of all tried is passed over for an inner one within a standard error
of it (paired differences), and where there is none the range is widened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kanbench.base.budget import whole
from kanbench.study import cost, rates, search
from kanbench.study.choice import own_seeds, without
from kanbench.tasks import taskinfo

SMALLEST = 1e-300
"""Errors below count as this much: their logarithm has to be finite."""
MOST_ROUNDS = 4
"""Rounds after the first trials that are made on their own; what is on the edge then stays marked."""


@dataclass(frozen=True)
class Cell:
    """The trials of one method in one experiment of the study.

    Attributes:
        scores: One row a task, seed and network, one column a trial (`rates.text`), higher is better; -inf where a run
            failed, NaN where one is missing.
        values: The score in the metric's own units, in the same form; NaN where there is none.
    """

    experiment: str
    method: str
    family: str
    budget: int
    metric: str
    goal: str
    seeds: tuple[int, ...]
    scores: pd.DataFrame
    values: pd.DataFrame

    @property
    def tried(self) -> list[dict[str, float]]:
        """The rates of all trials."""
        return [rates.parse(name) for name in self.scores.columns]

    @property
    def behind(self) -> tuple[pd.Series, pd.Series]:
        """How far each trial's mean score lies behind the best one's, and the standard error of that difference."""
        best = self.scores[self.scores.mean().idxmax()]
        lost = self.scores.rsub(best, axis=0)
        return lost.mean(), lost.replace(math.inf, math.nan).std() / math.sqrt(len(lost))

    @property
    def chosen(self) -> str | None:
        """The trial that is chosen; None where every trial has failed."""
        means = self.scores.mean()
        if means.max() == -math.inf:
            return None
        lost, error = self.behind
        near = [name for name in means.index if lost[name] <= (error[name] if lost[name] > 0 else 0.0)]
        inner = [name for name in near if not self.edges(name)]
        return max(inner or [means.idxmax()], key=lambda name: means[name])

    def edges(self, name: str) -> dict[str, int]:
        """Return -1 or 1 for each rate of a trial that is the lowest or the highest of those tried."""
        found, tried = rates.parse(name), self.tried
        sides = {}
        for knob, value in found.items():
            levels = [each[knob] for each in tried]
            if value in (min(levels), max(levels)):
                sides[knob] = -1 if value == min(levels) else 1
        return sides

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the table, one a trial."""
        (lost, error), means, chosen = self.behind, self.scores.mean(), self.chosen
        for name in sorted(means.index, key=lambda name: list(rates.parse(name).values())):
            yield {
                "experiment": whole(self.experiment),
                "family": self.family,
                "budget": self.budget,
                "method": self.method,
                "settings": name,
                "metric": self.metric,
                "runs": len(self.scores),
                "validation_score": _significant(_back(means[name], self.goal)),
                "behind_best": _significant(lost[name]),
                "standard_error": _significant(error[name]),
                "chosen": name == chosen,
                "on_edge": name == chosen and bool(self.edges(name)),
                "provenance": f"validation, seeds {', '.join(map(str, self.seeds))}",
            }


def cells(records: Sequence[Mapping[str, Any]], experiments: Mapping[str, Any]) -> list[Cell]:
    """Return the trials by experiment, family of tasks and method, where the learning rate is `searched`.

    Raises:
        ValueError: seeds that studies report.
    """
    found = []
    for key in searched(experiments):
        groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for record in records:
            if key in record["experiments"] and record["status"] not in ("absent", "skipped"):
                groups.setdefault((record["family"], record["spec"]["method"]["name"]), []).append(record)
        found += [_cell(key, method, runs) for (_, method), runs in groups.items()]
    return found


def searched(experiments: Mapping[str, Any]) -> list[str]:
    """Return the ids of the experiments that search learning rates."""
    return [key for key, entry in experiments.items() if entry["training"].get(rates.RATE) == rates.SEARCHED]


def _cell(key: str, method: str, runs: Sequence[Mapping[str, Any]]) -> Cell:
    seeds = sorted({run["spec"]["seed"] for run in runs})
    own_seeds(key, seeds)
    selection, specs = runs[0]["selection"], [run["spec"] for run in runs]
    known = taskinfo.discover()
    table = pd.DataFrame(
        {
            "trial": [rates.text(trial_of(spec)) for spec in specs],
            "unit": [without(spec, _places(spec)) for spec in specs],
            "value": [_value(run) for run in runs],
        }
    )
    table["score"] = [_score(value, selection["goal"]) for value in table["value"]]
    scores = table.pivot(index="unit", columns="trial", values="score")
    return Cell(
        experiment=key,
        method=method,
        family=runs[0]["family"],
        budget=max(cost.steps(known[s["task"]["name"]], s["task"]["settings"], s["training"]) for s in specs),
        metric=selection["metric"],
        goal=selection["goal"],
        seeds=tuple(seeds),
        scores=scores.loc[:, scores.notna().all()],
        values=table.pivot(index="unit", columns="trial", values="value"),
    )


def trial_of(spec: Mapping[str, Any]) -> dict[str, float]:
    """Return the learning rates of a run by knob."""
    training = spec["training"]
    own = {f"{group}.{rates.RATE}": entry.get(rates.RATE) for group, entry in training.get("groups", {}).items()}
    return {rates.RATE: training[rates.RATE], **{name: value for name, value in own.items() if value is not None}}


def _places(spec: Mapping[str, Any]) -> list[str]:
    groups = [group for group, entry in spec["training"].get("groups", {}).items() if rates.RATE in entry]
    return [f"training.{rates.RATE}", *(f"training.groups.{group}.{rates.RATE}" for group in groups)]


def _value(run: Mapping[str, Any]) -> float:
    """Return what a run selects its step by, on validation; NaN where it has failed."""
    found = ((run["metrics"].get("selected") or {}).get("validation") or {}).get(run["selection"]["metric"])
    return math.nan if run["status"] != "ok" or found is None else float(found)


def _score(value: float, goal: str) -> float:
    if math.isnan(value):
        return -math.inf
    return value if goal == "max" else -math.log(max(value, SMALLEST))


def _back(score: float, goal: str) -> float:
    return score if goal == "max" else math.exp(-score)


def _significant(value: float) -> float:
    return float(f"{value:.4g}")


def next_rounds(found: Sequence[Cell], experiments: Mapping[str, Any], rounds: search.Rounds) -> list[str]:
    """Add to `rounds` what is to be tried next; return a sentence for each experiment about it.

    All methods of an experiment get a round where fewer than its `rounds` were made, or where the choice of any of
    them lies on the edge of what was tried, up to `MOST_ROUNDS`. An experiment with missing runs waits for them.
    """
    said = []
    for key in searched(experiments):
        settings, members = experiments[key]["search"], [cell for cell in found if cell.experiment == key]
        members = [cell for cell in members if cell.chosen is not None]
        done = max((len(rounds.of(key, cell.family, cell.method)) for cell in members), default=0)
        edge = [cell.method for cell in members if cell.edges(cell.chosen)]
        if any(not _complete(cell, key, settings, rounds) for cell in members):
            said.append(f"{key}: waits for runs that are missing")
        elif done < settings["rounds"] or (edge and done < MOST_ROUNDS):
            for cell in members:
                best = rates.parse(cell.chosen)
                trials = search.further(best, cell.edges(cell.chosen), done, settings)
                rounds.add(key, cell.family, cell.method, trials)
            widened = f"; wider for {', '.join(edge)}" if edge else ""
            said.append(f"{key}: round {done + 1} of {settings['further']} trials a method{widened}")
        elif edge:
            said.append(f"{key}: still on the edge after {done} rounds: {', '.join(edge)}")
    return said


def _complete(cell: Cell, key: str, settings: Mapping[str, Any], rounds: search.Rounds) -> bool:
    wanted = search.trials(list(cell.tried[0]), settings, rounds.of(key, cell.family, cell.method))
    return {rates.text(trial) for trial in wanted} <= set(cell.scores.columns)


def merged(table: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Return a new table with the rows of the one before it for what was not tuned now."""
    keys = ["experiment", "family", "method"]
    new = set(map(tuple, table[keys].fillna("").to_numpy()))
    new |= {(experiment, family, rates.UNTUNED) for experiment, family, _ in new}
    old = before[[tuple(row) not in new for row in before[keys].fillna("").to_numpy()]]
    old, table = (each.astype({name: "Int64" for name in WHOLE if name in each}) for each in (old, table))
    order = [column for column in COLUMNS if column in {*table, *old}]
    joined = pd.concat([old, table], ignore_index=True)[order]
    return joined.sort_values(["experiment", "budget", "method"], kind="stable", ignore_index=True)


WHOLE = ("budget", "runs")
"""Columns of whole numbers, some of which are empty."""
COLUMNS = (
    *("experiment", "family", "budget", "method", "settings", "metric", "runs", "validation_score", "behind_best"),
    *("standard_error", "operations", "on_edge", "chosen", "provenance"),
)
