"""Chooses settings that studies leave open from the records of the study `tuning`, by the validation split alone.

Of the candidates of an experiment the best mean validation score wins, paired run by run; where complexity counts, the
simplest one within a standard error of the best (the one-standard-error rule, Breiman et al. 1984). No number that was
taken on the test split is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kanbench.base.spec import canonical

FIRST_SEED = 1000
"""Seeds from here on belong to tuning: no study reports them."""


@dataclass(frozen=True)
class Question:
    """What is chosen from the runs of one experiment.

    Attributes:
        knobs: The chosen settings, as places in the spec.
        scores: Places in the record of the scores to be averaged, higher is better; one that is missing counts 0.
        complexity: Places of numbers that break what a standard error leaves open, lower is better.
    """

    experiment: str
    knobs: tuple[str, ...]
    scores: tuple[str, ...]
    complexity: tuple[str, ...] = ()


WAYS = ("isolated", "in_context")
QUESTIONS = (
    Question(
        "E12",
        ("analyses.symbolic.penalty", "analyses.symbolic.weight_simple"),
        tuple(f"analyses.symbolic.{way}.score_validation" for way in WAYS),
        tuple(f"analyses.symbolic.{way}.operations" for way in WAYS),
    ),
)


def choose(records: Sequence[Mapping[str, Any]], questions: Iterable[Question] = QUESTIONS) -> pd.DataFrame:
    """Return one row a candidate: experiment, its settings, runs, mean score, what it lacks to the best, choice.

    Raises:
        ValueError: seeds that studies report, or an experiment without records.
    """
    rows = []
    for question in questions:
        runs = [record for record in records if question.experiment in record["experiments"]]
        seeds = {record["spec"]["seed"] for record in runs}
        own_seeds(question.experiment, seeds)
        rows += _candidates(question, runs)
    return pd.DataFrame(rows)


def own_seeds(experiment: str, seeds: Collection[int]) -> None:
    """Raise ValueError where there are no seeds, or one that studies report."""
    if not seeds or min(seeds) < FIRST_SEED:
        found = f"the seeds {', '.join(map(str, sorted(seeds)))}" if seeds else "no records"
        raise ValueError(f"{experiment}: {found}, expected runs of seeds from {FIRST_SEED} on")


def _candidates(question: Question, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    table = pd.DataFrame(
        {
            "candidate": [canonical({knob: _at(run["spec"], knob) for knob in question.knobs}) for run in runs],
            "unit": [without(run["spec"], question.knobs) for run in runs],
            "score": [_mean(run, question.scores, 0.0) for run in runs],
            "complexity": [_mean(run, question.complexity, math.nan) for run in runs],
        }
    )
    scores = table.pivot(index="unit", columns="candidate", values="score").dropna()
    means, simple = scores.mean(), table.groupby("candidate")["complexity"].mean()
    best = means.idxmax()
    lost = scores.rsub(scores[best], axis=0)
    error = lost.std() / math.sqrt(len(scores))
    near = means.index[lost.mean() <= error] if question.complexity else [best]
    chosen = min(near, key=lambda candidate: (simple[candidate], -means[candidate])) if question.complexity else best
    return [
        {
            "experiment": question.experiment,
            "family": runs[0].get("family", ""),
            "method": "",
            **{"settings": ", ".join(f"{key.rpartition('.')[2]} {value:g}" for key, value in json.loads(name).items())},
            "runs": len(scores),
            "validation_score": round(means[name], 4),
            "behind_best": round(lost[name].mean(), 4),
            "standard_error": round(error[name], 4),
            "operations": round(simple[name], 2),
            "chosen": name == chosen,
            "provenance": f"validation, seeds {', '.join(map(str, sorted({run['spec']['seed'] for run in runs})))}",
        }
        for name in means.index
    ]


def _at(content: Mapping[str, Any], place: str) -> Any:
    for key in place.split("."):
        content = (content or {}).get(key)
    return content


def _mean(run: Mapping[str, Any], places: Sequence[str], missing: float) -> float:
    found = [_at(run, place) for place in places]
    known = [missing if value is None else float(value) for value in found]
    known = [value for value in known if value == value]
    return sum(known) / len(known) if known else missing


def without(spec: Mapping[str, Any], knobs: Sequence[str]) -> str:
    """Return what candidates are compared on: the spec without the knobs."""
    rest = json.loads(canonical(spec))
    for knob in knobs:
        *path, last = knob.split(".")
        inner = rest
        for key in path:
            inner = inner[key]
        inner[last] = None
    return canonical(rest)
