"""Which runs a claim compares, and the values that it is judged by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from kanbench.records.frame import AXES, FAILED, of_experiments
from kanbench.statistics import stats

COUNTED = ("parameters.", "memory.")
"""Metrics that are counted, simulated or measured once: they do not depend on how well training went."""
SHORT = {
    "family": "family",
    "task": "task",
    "configuration": "spec.configuration",
    **{axis: f"spec.method.settings.{axis}" for axis in AXES},
}
_SIZES = [f"spec.method.settings.{size}" for size in stats.SIZES]
RATES = tuple(f"spec.training.groups.{group}.learning_rate" for group in ("prompts", "meta_learners"))
BALANCE = "learning_rate_ratio"
"""Name by which a claim selects runs by the learning rate of the prompts over that of the meta-learners."""
NEEDS = {
    "count_ratio": ["method"],
    "threshold": ["method"],
    "trend": ["method", "along"],
    "win_count": ["share", "margin"],
    "paired_ratio": ["expect", "margin"],
    "paired_difference": ["expect", "margin"],
}
BOUNDED = ("count_ratio", "threshold", "trend")


def missing(criterion: Mapping[str, Any]) -> Iterable[str]:
    """Yield the keys that a criterion of this kind needs and lacks, beyond what the schema can say."""
    kind = criterion["kind"]
    yield from (key for key in NEEDS[kind] if key not in criterion)
    compares = {"reference", "reference_metric", "reference_where"} & criterion.keys()
    if kind not in ("threshold", "trend") and not compares:
        yield "reference"
    if kind in BOUNDED and not {"at_least", "at_most"} & criterion.keys():
        yield "at_most"


def compared(
    criterion: Mapping[str, Any], experiments: Iterable[str], direction: str, frame: pd.DataFrame
) -> pd.DataFrame:
    """Return the pairs of a claim (for a threshold its runs) with `usable` and `complete`."""
    rows = best_trials(select(of_experiments(frame, experiments), criterion.get("select", {})))
    method = select(_of(rows, criterion["method"]) if "method" in criterion else rows, criterion.get("method_where"))
    reference = None
    if "reference" in criterion or "reference_where" in criterion:
        named = criterion.get("reference", criterion.get("method"))
        reference = select(_of(rows, named) if named else rows, criterion.get("reference_where"))
    chosen = {**criterion.get("method_where", {}), **criterion.get("reference_where", {})}
    pairs = stats.pairs(
        method,
        reference,
        criterion["metric"],
        reference_metric=criterion.get("reference_metric"),
        lower_is_better=direction == "lower",
        counted=criterion["metric"].startswith(COUNTED),
        apart=[SHORT.get(key, key) for key in chosen],
    )
    if criterion["kind"] == "threshold":  # of a run alone: a failed one is infinitely bad
        pairs["usable"] = pairs["value"].notna()
    pairs["complete"] = pairs["usable"] & np.isfinite(pairs["value"]) & np.isfinite(pairs["reference_value"])
    return pairs


def select(rows: pd.DataFrame, wanted: Mapping[str, Any] | None) -> pd.DataFrame:
    """Return the rows whose columns have the wanted value, one of several, or one within {at_least, at_most}.

    Null stands for no value, which is also what a column that no record has holds.
    """
    for key, value in (wanted or {}).items():
        entries = rows.get(SHORT.get(key, key), pd.Series(math.nan, index=rows.index))
        if key == BALANCE and set(RATES) <= set(rows.columns):
            entries = rows[RATES[0]] / rows[RATES[1]]
        if isinstance(value, Mapping):
            inside = entries.between(value.get("at_least", -math.inf), value.get("at_most", math.inf))
        else:
            values = value if isinstance(value, list) else [value]
            inside = entries.isin([v for v in values if v is not None]) | (entries.isna() & (None in values))
        rows = rows[inside.astype(bool)]
    return rows


def _of(rows: pd.DataFrame, names: str | list[str]) -> pd.DataFrame:
    return rows[rows["method"].isin([names] if isinstance(names, str) else names)]


def best_trials(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `rows` with the best trial alone of every method that was tuned on a task, chosen on validation.

    Best is the median over seeds of the selected step's validation value; a failed run counts as infinitely bad. The
    choice looks at neither the test split nor single seeds.
    """
    if "spec.trial" not in rows or rows["spec.trial"].isna().all():
        return rows
    tuned = rows["spec.trial"].notna()
    kept = [rows[~tuned]]
    axes = [SHORT[axis] for axis in ("grid_size", "hidden_width", "depth")] + [s for s in _SIZES if s in rows]
    for _, trials in rows[tuned].groupby(["method", "task", *axes], dropna=False):
        scores = {trial: _score(runs) for trial, runs in trials.groupby("spec.trial")}
        kept.append(trials[trials["spec.trial"] == min(scores, key=scores.get)])
    return pd.concat(kept).sort_index()


def _score(runs: pd.DataFrame) -> float:
    values = [
        math.inf
        if run["status"] in FAILED
        else float(run.get(f"metrics.selected.validation.{run.get('selection.metric')}", math.nan))
        * (-1 if run.get("selection.goal") == "max" else 1)
        for _, run in runs.iterrows()
    ]
    known = [value for value in values if not math.isnan(value)]
    return stats.median(np.array(known)) if known else math.inf


def values_of(criterion: Mapping[str, Any], pairs: pd.DataFrame) -> np.ndarray:
    """Return one value a usable pair (of a trend: one slope a network) by which the claim is judged."""
    kind = criterion["kind"]
    if kind == "threshold":
        return pairs[pairs["usable"]]["value"].to_numpy(float)
    if kind == "count_ratio":
        return np.exp(stats.log_ratios(pairs))
    if kind == "trend":
        return slopes(criterion, pairs)["slope"].to_numpy(float)
    return stats.log_ratios(pairs) if kind == "paired_ratio" else stats.differences(pairs)


def slopes(criterion: Mapping[str, Any], pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the exponent with which the ratio grows along an axis, one row a network and seed (`task`, `seed`).

    Least squares of the logarithm of the ratio (without a reference: of the metric) on the logarithm of the axis, over
    the pairs that are alike in everything else. A pair that a failure decided has no finite ratio and is left out.
    """
    along = criterion["along"]
    found = []
    if along not in pairs:
        return pd.DataFrame(columns=["task", "seed", "slope"])
    alone = not {"reference", "reference_where"} & criterion.keys()
    logs = np.log(pairs["value"]) if alone else np.log(pairs["value"]) - np.log(pairs["reference_value"])
    points = pairs.assign(log_ratio=logs, log_axis=np.log(pairs[along].astype(float)))
    points = points[points["complete"] & np.isfinite(points["log_ratio"]) & np.isfinite(points["log_axis"])]
    others = [
        key for key in ("task", "seed", *AXES, *_SIZES, "spec.training.batch_size") if key in pairs and key != along
    ]
    for _, line in points.groupby(others, dropna=False):
        if line["log_axis"].nunique() > 1:
            slope = np.polynomial.polynomial.polyfit(line["log_axis"], line["log_ratio"], 1)[1]
            found.append({"task": line["task"].iloc[0], "seed": line["seed"].iloc[0], "slope": slope})
    return pd.DataFrame(found, columns=["task", "seed", "slope"])


def names_of(criterion: Mapping[str, Any]) -> str:
    """Return the methods that a claim speaks of, in words."""
    methods = [criterion.get("method"), criterion.get("reference")]
    return " and ".join(" / ".join(m) if isinstance(m, list) else m for m in methods if m) or "all methods"
