"""What the records say about a claim in a sentence for readers who know neither the statistics nor the code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kanbench.pages import findings, style
from kanbench.verdicts.outcome import Outcome

ANSWERS = {
    "holds": "Yes.",
    "in part": "In part.",
    "undecided": "Not settled.",
    "fails": "No.",
    "no records": "Not measured.",
}
MEANINGS = {
    "holds": "the runs show it: every comparison is as stated, or all that their scatter leaves open",
    "in part": "some comparisons are as stated, others are not",
    "undecided": "the runs are too few, or scatter too much, to say either",
    "fails": "the runs show the contrary, or that it is not so",
    "no records": "this record set has no runs that measure it",
}
"""What each verdict means, in the order of the report."""
COUNTED = {
    "parameters.trainable": ("has", "trainable parameters", ""),
    "memory.simulated_peak_bytes": ("needs", "peak memory", " in a training step (simulated)"),
    "memory.peak_allocated_bytes": ("needs", "peak memory", " in a training step (measured)"),
}
"""Verb and noun of what is counted or simulated, and how it was."""
NOUNS = {
    "analyses.prompts.alarm": "alarm (1: the prompts collapse, 0: they do not)",
    "error": "test error",
    "legacy_error": "test error",
}
AXES = {
    "num_clusters": "number of meta-learners",
    "hidden_dim": "hidden width of the meta-learner",
    "prompt_dim": "dimension of the prompts",
}
SCORES = {"score_truth": "The agreement of formulas with the truth", "score_network": "The agreement with the network"}
ERRORS = ("error", "legacy_error")
EXAMPLES = 1000
"""Test examples of which the wrong ones are told."""
FIRST, SECOND = "the first of the two compared", "the second"
"""What the two sides are called that differ in a setting, not in their method."""
SURE = "95 %"


def by_question(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[tuple[str, list[Outcome]]]]:
    """Return the headline claims, and all claims under the questions of `findings.yaml` that they answer.

    Claims that are declared elsewhere than `claims.yaml` make a group of their own.
    """
    content, found = findings.declared(), {outcome.id: outcome for outcome in outcomes}
    headline = [found[name] for name in content["headline"] if name in found]
    groups = [
        (section["title"], [found.pop(name) for name in section["claims"] if name in found])
        for section in content["sections"]
    ]
    return headline, [
        (title, members) for title, members in (*groups, (findings.FURTHER, [*found.values()])) if members
    ]


def sentence(outcome: Outcome, claim: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Return the answer to a claim as if it were a question, then what was measured and what would settle it.

    Args:
        claim: As it was declared, or empty.
        labels: The label of each method.
    """
    parts = [ANSWERS.get(outcome.verdict, f"{outcome.verdict.capitalize()}.")]
    if outcome.verdict == "no records":
        parts.append("This record set has no runs for it.")
    elif math.isnan(outcome.estimate):
        parts.append("Its runs gave no value that can be compared.")
    else:
        text = f"{_measured(outcome, claim.get('criterion', {}), labels)}{_span(outcome, claim.get('criterion', {}))}"
        parts.append(f"{text[:1].upper()}{text[1:]}.")
    if outcome.verdict == "undecided":
        parts.append(_settling(outcome))
    return " ".join(parts)


def _settling(outcome: Outcome) -> str:
    unit = "tasks" if outcome.unit == "tasks" else "repeated runs" if not outcome.scope else "repetitions (seeds)"
    if math.isnan(outcome.needed):
        return f"More {unit} are needed to tell."
    if math.isinf(outcome.needed):
        return f"It would take more {unit} than the study declares."
    return f"About {outcome.needed:.0f} {unit} would tell."


def _sides(criterion: Mapping[str, Any], outcome: Outcome, labels: Mapping[str, str]) -> tuple[str, str]:
    method, reference = criterion.get("method"), outcome.reference or criterion.get("reference")
    if not isinstance(method, str) or not isinstance(reference, str) or method == reference:
        return FIRST, SECOND
    return labels.get(method, method), labels.get(reference, reference)


def _measured(outcome: Outcome, criterion: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    method, reference = _sides(criterion, outcome, labels)
    metric, number = criterion.get("metric", ""), outcome.estimate
    verb, noun, how = COUNTED.get(metric, ("has", metric, ""))
    along = criterion.get("along", "axis")
    along = AXES.get(along, along.replace("_", " "))
    if outcome.kind == "count_ratio":
        return f"{method} {verb} {share(number, noun, reference)}{how}"
    if outcome.kind == "trend":
        share_of = f"the {noun} of {method} as a share of that of {reference}"
        return f"each doubling of the {along} multiplies {share_of} by {style.number(2**number)}"
    if outcome.kind == "monotone":
        return f"the next larger {along} multiplies the error by up to {style.number(number)}"
    if outcome.kind == "win_count":
        return f"{method} has the lower error on {100 * number:.0f} % of the tasks"
    if outcome.kind == "paired_ratio":
        return _compared(metric, number, method, reference)
    if outcome.kind == "paired_difference" and metric in ERRORS:
        than = "than" if round(EXAMPLES * abs(number)) else "as"
        return f"of {EXAMPLES:,} test examples, {method} gets {wrong(number)} wrong {than} {reference}"
    if outcome.kind == "paired_difference":
        score = SCORES.get(metric.rpartition(".")[2], "The value")
        return f"{score} is {_moved(number)} with {method} {'than' if number else 'as'} with {reference}"
    subject = criterion.get("method", "")
    subject = labels.get(subject, subject) if isinstance(subject, str) else FIRST
    return f"the {NOUNS.get(metric, metric)} of {subject} is {style.number(number)}"


def share(ratio: float, noun: str, reference: str) -> str:
    """Return how much of a quantity that is: "about 1/9 of the peak memory of the KAN", "2.5 times the ..."."""
    if 0.95 <= ratio <= 1.05:
        return f"about the same {noun} as {reference}"
    if ratio > 1:
        return f"{style.number(ratio, 2)} times the {noun} of {reference}"
    part = f"about 1/{1 / ratio:.0f}" if 0 < ratio <= 0.55 else f"{100 * ratio:.0f} %"
    return f"{part} of the {noun} of {reference}"


def wrong(difference: float) -> str:
    """Return a difference of error rates as test examples of a thousand: "3 fewer", "22 more", "as many"."""
    count = round(EXAMPLES * abs(difference))
    return f"{count} {'more' if difference > 0 else 'fewer'}" if count else "as many"


def _moved(difference: float) -> str:
    return f"{style.number(abs(difference), 2)} {'higher' if difference > 0 else 'lower'}" if difference else "the same"


def _compared(metric: str, ratio: float, method: str, reference: str) -> str:
    if metric == "steps_to_target":
        if math.isinf(ratio):
            return f"in most pairs {method} never gets as far as {reference}"
        return f"{method} takes {style.number(ratio, 2)} times the training steps of {reference}"
    if math.isinf(ratio):
        return f"most runs of {method} failed where those of {reference} did not"
    if abs(math.log(max(ratio, 1e-300))) < 0.02:
        return f"the error of {method} is about that of {reference}"
    return f"the error of {method} is {style.number(ratio, 2)} times that of {reference}"


def _span(outcome: Outcome, criterion: Mapping[str, Any]) -> str:
    """Return what the interval leaves open, after a comma; nothing where there is a single value."""
    low, high = outcome.low, outcome.high
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return ""
    if outcome.kind == "paired_difference":
        written = wrong if criterion.get("metric") in ERRORS else _moved
    elif outcome.kind == "win_count":
        written = "{:.0%}".format
    elif outcome.kind == "trend":
        written = lambda exponent: style.number(2**exponent)
    else:
        written = style.number
    ends = [written(end).replace("%", " %") for end in (low, high)]
    unit = " times" if outcome.kind in ("count_ratio", "paired_ratio") else ""
    if SURE in outcome.interval:
        return f", between {ends[0]} and {ends[1]}{unit} with 95 % confidence"
    return f", in single comparisons from {ends[0]} to {ends[1]}{unit}"
