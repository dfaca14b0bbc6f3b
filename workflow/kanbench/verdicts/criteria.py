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
FLOORED = ("error", "legacy_error")
"""Metrics for which a task's record says what a trivial predictor reaches."""
STEPS = "steps_to_target"
"""Metric of a pair: training steps until the validation metric is as good as the best one of the reference."""
TUNING_SEEDS = 1000
"""Seeds from this on are those that settings and references were chosen on; no verdict counts them."""
RATES = tuple(f"spec.training.groups.{group}.learning_rate" for group in ("prompts", "meta_learners"))
BALANCE = "learning_rate_ratio"
"""Name by which a claim selects runs by the learning rate of the prompts over that of the meta-learners."""
LEVEL = "learning_rate_level"
"""Name of the geometric mean of the two learning rates, which a claim on their balance holds fixed."""
NEEDS = {
    "count_ratio": ["method"],
    "threshold": ["method"],
    "trend": ["method", "along"],
    "monotone": ["method", "along"],
    "win_count": ["share", "margin"],
    "paired_ratio": ["expect", "margin"],
    "paired_difference": ["expect", "margin"],
}
BOUNDED = ("count_ratio", "threshold", "trend", "monotone")
ALONG = ("trend", "monotone")
PAIRED = ("paired_ratio", "paired_difference")
RATIOS = ("paired_ratio", "count_ratio", "trend", "monotone")
"""Kinds that take ratios, and so need positive values."""


def missing(criterion: Mapping[str, Any]) -> Iterable[str]:
    """Yield the keys that a criterion of this kind needs and lacks, beyond what the schema can say."""
    kind = criterion["kind"]
    yield from (key for key in NEEDS[kind] if key not in criterion)
    compares = {"reference", "references", "reference_metric", "reference_where"} & criterion.keys()
    if kind not in ("threshold", *ALONG) and not compares:
        yield "reference"
    if kind in BOUNDED and not {"at_least", "at_most"} & criterion.keys():
        yield "at_most"


def prepared(claims: Iterable[Mapping[str, Any]], frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of a records frame that these claims read, and what they derive from it.

    Added are `learning_rate_level` and `floor`. Runs of tuning seeds stay in, for the choice of references.
    """
    read = {"run", "status", "method", "task", "seed", "family", "metric", "goal", "curve", "experiments", "value"}
    read |= {*SHORT.values(), *_SIZES, *stats.SHARED, *RATES, "selection.goal", "selection.metric"}
    for claim in claims:
        criterion = claim["criterion"]
        read |= {criterion["metric"], criterion.get("reference_metric", "error")}
        for part in ("select", "method_where", "reference_where"):
            read |= {SHORT.get(key, key) for key in criterion.get(part, {})}
    kept = [name for name in frame if name in read or name.startswith("metrics.selected.validation.")]
    floors = floor_errors(frame)
    return _with_level(frame[kept].assign(floor=frame["run"].map(floors).astype(float)))


def compared(
    criterion: Mapping[str, Any], experiments: Iterable[str], direction: str, frame: pd.DataFrame
) -> pd.DataFrame:
    """Return the pairs of a claim (for a threshold its runs) from a frame that was `prepared`.

    Columns as of `stats.pairs`, and `complete` (both values are finite), `unmeasurable` (a failed run without a count)
    and `floor` (error of the best trivial predictor of the pair's task and seed; NaN where its record has none).
    """
    rows = select(of_experiments(frame, experiments), criterion.get("select", {}))
    rows = rows[~(rows["seed"] >= TUNING_SEEDS)]
    method = select(_of(rows, criterion["method"]) if "method" in criterion else rows, criterion.get("method_where"))
    reference = None
    if "reference" in criterion or "reference_where" in criterion:
        named = criterion.get("reference", criterion.get("method"))
        reference = select(_of(rows, named) if named else rows, criterion.get("reference_where"))
    chosen = {**criterion.get("method_where", {}), **criterion.get("reference_where", {})}
    counted, steps = criterion["metric"].startswith(COUNTED), criterion["metric"] == STEPS
    pairs = stats.pairs(
        method,
        reference,
        "value" if steps else criterion["metric"],
        reference_metric=criterion.get("reference_metric"),
        lower_is_better=direction == "lower",
        counted=counted,
        apart=[SHORT.get(key, key) for key in chosen],
        within=criterion.get("within", ()),
        lone=criterion["kind"] in (*PAIRED, "win_count"),
    )
    if steps:
        pairs = _steps(pairs, rows)
    if criterion["kind"] == "threshold" or (criterion["kind"] in ALONG and reference is None):
        # Of a run alone: a failed one is infinitely bad.
        pairs["usable"], pairs["unfinished"] = pairs["value"].notna(), False
    failed = pairs["status"].isin(FAILED) | pairs["reference_status"].isin(FAILED)
    pairs["unmeasurable"] = ~pairs["usable"] & failed if counted else False
    pairs["complete"] = pairs["usable"] & np.isfinite(pairs["value"]) & np.isfinite(pairs["reference_value"])
    floors = dict(zip(rows["run"], rows["floor"], strict=True))
    pairs["floor"] = pairs["run"].map(floors).fillna(pairs["reference_run"].map(floors)).astype(float)
    return pairs


def _with_level(rows: pd.DataFrame) -> pd.DataFrame:
    if not set(RATES) <= set(rows.columns):
        return rows.assign(**{LEVEL: math.nan})
    level = np.sqrt(rows[RATES[0]].astype(float) * rows[RATES[1]].astype(float))
    return rows.assign(**{LEVEL: [float(f"{value:.3g}") for value in level]})


def _steps(pairs: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Replace the values of pairs by steps to the reference's best validation metric; infinite where never reached.

    A network that starts as good counts as one step.
    """
    curves = dict(zip(rows["run"], rows["curve"], strict=True))
    goals = dict(zip(rows["run"], rows.get("selection.goal", pd.Series("min", index=rows.index)), strict=True))

    def reached(run: str, reference: str, value: float) -> float:
        sign = -1 if goals.get(reference) == "max" else 1
        known = [
            [(point["step"], sign * point["validation"]) for point in curves[name] if point["validation"] is not None]
            for name in (run, reference)
        ]
        if math.isinf(value) or not all(known):
            return value if math.isinf(value) else math.nan
        target = min(error for _, error in known[1])
        return next((max(float(step), 1.0) for step, error in known[0] if error <= target), math.inf)

    found = pairs.copy()
    for position, pair in pairs[pairs["usable"]].iterrows():
        run, reference = pair["run"], pair["reference_run"]
        found.loc[position, "value"] = reached(run, reference, pair["value"])
        found.loc[position, "reference_value"] = reached(reference, reference, pair["reference_value"])
    found["usable"] &= found["value"].notna() & found["reference_value"].notna()
    return found


def has_floor(criterion: Mapping[str, Any]) -> bool:
    """Tell whether the metric of a claim is one that trivial predictors were measured in."""
    return {criterion["metric"], criterion.get("reference_metric", "error")} <= set(FLOORED)


def floor_errors(rows: pd.DataFrame) -> dict[str, float]:
    """Return for each run the test error of the best trivial predictor of its task, where its record has one."""
    found: dict[str, float] = {}
    for (metric, goal), runs in rows.groupby(["metric", "goal"]):
        columns = [name for name in runs if name.startswith("floors.") and name.endswith(f".{metric}")]
        if columns:
            values = runs[columns].astype(float)
            best = 1 - values.max(axis=1) if goal == "max" else values.min(axis=1)
            found.update(zip(runs["run"], best, strict=True))
    return found


def select(rows: pd.DataFrame, wanted: Mapping[str, Any] | None) -> pd.DataFrame:
    """Return the rows whose columns have the wanted value, one of several, or one within {at_least, at_most}.

    Null stands for no value, which is also what a column that no record has holds.
    """
    for key, value in (wanted or {}).items():
        entries = rows.get(SHORT.get(key, key), pd.Series(math.nan, index=rows.index))
        if key in (BALANCE, LEVEL) and set(RATES) <= set(rows.columns):
            entries = rows[RATES[0]] / rows[RATES[1]] if key == BALANCE else rows[LEVEL]
        if isinstance(value, Mapping):
            inside = entries.between(value.get("at_least", -math.inf), value.get("at_most", math.inf))
        else:
            values = value if isinstance(value, list) else [value]
            inside = entries.isin([v for v in values if v is not None]) | (entries.isna() & (None in values))
        rows = rows[inside.astype(bool)]
    return rows


def _of(rows: pd.DataFrame, names: str | list[str]) -> pd.DataFrame:
    return rows[rows["method"].isin([names] if isinstance(names, str) else names)]


def effects(criterion: Mapping[str, Any], pairs: pd.DataFrame) -> pd.Series:
    """Return, for each pair, the difference or the logarithm of the ratio; NaN where nothing can be compared."""
    found = pd.Series(math.nan, index=pairs.index)
    ratio = criterion["kind"] in ("paired_ratio", "count_ratio")
    found[pairs["usable"]] = stats.log_ratios(pairs) if ratio else stats.differences(pairs)
    return found


def values_of(criterion: Mapping[str, Any], pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the values that bounds are held against: one a usable pair, of a `trend` or `monotone` one a network.

    Columns `task`, `seed` and `value`; a value that is not positive has no ratio (NaN).
    """
    usable, kind = pairs[pairs["usable"]], criterion["kind"]
    if kind in ALONG:
        return along_axis(criterion, pairs)
    values = usable["value"].to_numpy(float) if kind == "threshold" else np.exp(stats.log_ratios(pairs))
    return usable[["task", "seed"]].assign(value=values).reset_index(drop=True)


def along_axis(criterion: Mapping[str, Any], pairs: pd.DataFrame) -> pd.DataFrame:
    """Return how the ratio (without a reference: the metric) changes along an axis, one row a network and seed.

    Of a `trend` the exponent, by least squares of logarithms; of a `monotone` claim the largest factor between
    neighbours on the axis, in which 1 is no change and a failure is an infinite rise. Over the pairs that are alike in
    everything else. A trend leaves out a pair that a failure decided; a value that is not positive makes either NaN.
    """
    along, kind = criterion["along"], criterion["kind"]
    found: list[dict[str, Any]] = []
    counts = pairs["complete" if kind == "trend" else "usable"]
    if along not in pairs or not counts.any():
        return pd.DataFrame(found, columns=["task", "seed", "value"])
    axis = pd.to_numeric(pairs[along], errors="coerce")
    points = pairs.assign(axis=axis)[counts & axis.notna()]
    alone = not {"reference", "reference_where"} & criterion.keys()
    logs = stats.log_ratios(points.assign(reference_value=1.0) if alone else points)
    points = points.assign(log_ratio=logs)
    others = [
        key for key in ("task", "seed", *AXES, *_SIZES, "spec.training.batch_size") if key in pairs and key != along
    ]
    for _, line in points.groupby(others, dropna=False):
        if line["axis"].nunique() > 1:
            value = math.nan
            if line["log_ratio"].notna().all() and (line["axis"] > 0).all():
                value = _slope(line) if kind == "trend" else _largest_rise(line)
            found.append({"task": line["task"].iloc[0], "seed": line["seed"].iloc[0], "value": value})
    return pd.DataFrame(found, columns=["task", "seed", "value"])


def _slope(line: pd.DataFrame) -> float:
    return float(np.polynomial.polynomial.polyfit(np.log(line["axis"]), line["log_ratio"], 1)[1])


def _largest_rise(line: pd.DataFrame) -> float:
    levels = line.groupby("axis", sort=True)["log_ratio"].median()
    return float(np.exp(levels.diff().max()))


def names_of(criterion: Mapping[str, Any]) -> str:
    """Return the methods that a claim speaks of, in words."""
    methods = [criterion.get("method"), criterion.get("references", criterion.get("reference"))]
    return " and ".join(" / ".join(m) if isinstance(m, list) else m for m in methods if m) or "all methods"
