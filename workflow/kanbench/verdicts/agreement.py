"""Whether one record set repeats another: cell by cell, network by network, data set by data set, run by run.

A cell is a spec without its seeds. Of trained cells the median over the seeds of one set is held against the interval
that the spread over seeds in the other one predicts for so many seeds (`statistics.prediction`); what is counted has to
be equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from kanbench.base.spec import canonical, digest
from kanbench.records.frame import FAILED
from kanbench.statistics import hypotheses, prediction, stats

COUNTS = {"parameters": "parameters.trainable", "peak": "memory.simulated_peak_bytes"}
COUNT_TOLERANCE = {"parameters": 0.0, "peak": 0.01}
"""By how much counts may differ: parameters not at all, simulated peaks by what other versions of torch round up."""
ROUNDING = 1e-6
"""Relative difference that other processors and libraries make of one and the same computation, without training."""
SHIFT_LEVEL = 0.01
"""Error rate of all cells that are called far, and of all methods that are called shifted."""
FAR_SEEDS = 3
"""Seeds from which a median stands for its cell whatever one of them does."""
MOST_GRAINS = 10**6
CELLS = (
    *("key", "family", "task", "method", "label", "settings", "n", "n_published", "value", "value_published", "low"),
    *("high", "coverage", "how", "inside", "deviation", "p", "parameters", "peak", "failed", "failed_published"),
    *("runs", "far"),
)


@dataclass(frozen=True)
class Agreement:
    """What two record sets have in common.

    Attributes:
        cells: One row a cell that both have: `CELLS`. `value` is the median error of the first set, `low` and `high`
            the interval that the other one predicts for it, `inside` whether it lies there (None: no interval exists),
            `deviation` the difference from the published median on the scale of comparison (of errors that of
            logarithms), `p` how likely so large a one is and `far` whether it is unlikely among all cells, of medians
            over `FAR_SEEDS` or more; `parameters` and `peak` whether these counts are equal (None: not counted).
        methods: One row a method: `cells`, `judged`, `inside`, `ratio` (median of value over published value), `tasks`,
            `p` (sign test over tasks, whose cells share seeds; after Holm among the methods that could show a shift)
            and `shifted`.
        runs: One row a run that both have: `run`, `value`, `value_published`, `relative` difference, `equal`.
        data: One row a task and seed with fingerprints in both: `task`, `seed`, `equal`.
    """

    cells: pd.DataFrame
    methods: pd.DataFrame
    runs: pd.DataFrame
    data: pd.DataFrame

    @property
    def judged(self) -> pd.DataFrame:
        """The cells for which an interval exists."""
        return self.cells[self.cells["inside"].notna()]

    @property
    def inside(self) -> int:
        return int(self.judged["inside"].astype(bool).sum())

    @property
    def expected(self) -> float:
        """How many of the judged cells should lie inside."""
        return float(self.judged["coverage"].sum())

    @property
    def least(self) -> int:
        """The fewest that chance leaves inside, but in one of a hundred repetitions."""
        judged = self.judged
        return prediction.least_inside(len(judged), float(judged["coverage"].mean())) if len(judged) else 0


def replicates(spec: Mapping[str, Any]) -> str:
    """Identify what runs have in common that differ in seeds alone, also in those of the runs that they start from."""
    return digest(canonical(_without_seeds(spec)), 12)


def _without_seeds(spec: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in spec.items() if key != "seed"}
    source = (kept.get("source") or {}).get("spec")
    return {**kept, "source": {**kept["source"], "spec": _without_seeds(source)}} if source else kept


def compare(mine: pd.DataFrame, published: pd.DataFrame) -> Agreement:
    """Return what a record set has in common with a published one.

    Args:
        mine, published: Frames of records with the columns `replicates` (of the spec of each run) and `problem` (its
            task with all settings).
    """
    mine, published = (rows[rows["status"].isin(("ok", *FAILED))] for rows in (mine, published))
    grains = _grains(pd.concat([mine, published]))
    theirs = dict(iter(published.groupby("replicates", sort=False)))
    cells = [
        _cell(key, runs, theirs[key], grains.get(runs["task"].iloc[0], 0.0))
        for key, runs in mine.groupby("replicates", sort=False)
        if key in theirs
    ]
    table = pd.DataFrame(cells, columns=list(CELLS)).sort_values(["task", "method", "settings", "key"])
    table = table.reset_index(drop=True)
    counts = (table["n"] >= FAR_SEEDS) & table["inside"].notna()
    adjusted = pd.Series(hypotheses.holm(list(table.loc[counts, "p"])), index=table.index[counts], dtype=float)
    table["far"] = adjusted.reindex(table.index, fill_value=1.0) <= SHIFT_LEVEL
    return Agreement(table, _shifts(table), _common_runs(mine, published), _fingerprints(mine, published))


def _grains(rows: pd.DataFrame) -> dict[str, float]:
    """Return by task the distance between neighbouring values of a metric that counts test samples; 0 of others."""
    found = {}
    for task, runs in rows[rows["goal"] == "max"].groupby("task"):
        shares = [Fraction(value).limit_denominator(10**5) for value in runs["value"].dropna().unique()]
        samples = math.lcm(*(share.denominator for share in shares)) if shares else 0
        found[task] = 1 / samples if 0 < samples < MOST_GRAINS else 0.0
    return found


def _cell(key: str, mine: pd.DataFrame, published: pd.DataFrame, grain: float) -> dict[str, Any]:
    first = mine.iloc[0]
    errors = [_errors(rows) for rows in (mine, published)]
    found = {
        "key": key,
        **{name: first[name] for name in ("family", "task", "method", "label", "settings")},
        "n": errors[0].size,
        "n_published": errors[1].size,
        "value": stats.median(errors[0]),
        "value_published": stats.median(errors[1]),
        "failed": int(mine["status"].isin(FAILED).sum()),
        "failed_published": int(published["status"].isin(FAILED).sum()),
        "runs": " ".join(mine["run"]),
        **{name: _equal_counts(mine, published, name) for name in COUNTS},
    }
    return {**found, **_judged(*errors, grain, ratio=first["goal"] != "max")}


def _errors(rows: pd.DataFrame) -> np.ndarray:
    """Return the errors of the runs of a cell, those of failed runs infinite; none where nothing was trained for."""
    trained = rows["error"].notna() | rows["status"].isin(FAILED)
    return rows.loc[trained, "error"].where(rows["status"] == "ok", math.inf).to_numpy(float)


def _judged(mine: np.ndarray, published: np.ndarray, grain: float, *, ratio: bool) -> dict[str, Any]:
    """Return interval and judgement of one cell; ratios are compared on the scale of logarithms."""
    ratio = ratio and bool((np.r_[mine, published] > 0).all())
    scaled = [np.log(values) if ratio else values for values in (mine, published)]
    nothing = {"low": math.nan, "high": math.nan, "coverage": math.nan, "how": "no interval", "inside": None}
    if not mine.size or not published.size:
        return {**nothing, "deviation": math.nan, "p": 1.0}
    middle, there = (stats.median(values) for values in scaled)
    deviation = 0.0 if middle == there else middle - there
    found = prediction.of_median(scaled[1], mine.size, grain=grain)
    if found is None:
        return {**nothing, "deviation": deviation, "p": 1.0}
    low, high = (math.exp(end) if ratio else max(0.0, end) for end in (found.low, found.high))
    inside = found.holds(middle, ROUNDING)
    how = found.how + (" of logarithms" if ratio and found.how == prediction.STUDENT else "")
    return {
        **{"low": low, "high": high, "coverage": found.coverage, "how": how},
        **{"inside": inside, "deviation": deviation},
        "p": prediction.p_value(scaled[1], middle, mine.size, grain=grain),
    }


def _equal_counts(mine: pd.DataFrame, published: pd.DataFrame, name: str) -> bool | None:
    counts = [rows[COUNTS[name]].dropna().to_numpy(float) for rows in (mine, published)]
    if not all(each.size for each in counts):
        return None
    first, second = (stats.median(each) for each in counts)
    return bool(abs(first - second) <= COUNT_TOLERANCE[name] * abs(second))


def differs(equal: object) -> bool:
    """Tell whether an entry of `parameters`, `peak` or `inside` is false; null is not."""
    return not pd.isna(equal) and not equal


def _shifts(cells: pd.DataFrame) -> pd.DataFrame:
    """Return by method whether its cells lie to one side of the published ones, which no single one need show."""
    rows = []
    known = cells[np.isfinite(cells["deviation"].astype(float)) | cells["inside"].notna()]
    for (method, label), own in known.groupby(["method", "label"], sort=True):
        by_task = own.groupby("task")["deviation"].agg(lambda each: stats.median(each.to_numpy(float))).to_numpy()
        positive = own[(own["value"] > 0) & (own["value_published"] > 0)]
        ratios = (positive["value"] / positive["value_published"]).astype(float).to_numpy()
        judged = own["inside"].dropna()
        rows.append(
            {
                **{"method": method, "label": label, "cells": len(own), "judged": len(judged)},
                "inside": int(judged.astype(bool).sum()),
                "ratio": stats.median(ratios[np.isfinite(ratios)]),
                "tasks": by_task.size,
                "p": hypotheses.sign_test(by_task[by_task != 0]),
            }
        )
    table = pd.DataFrame(rows, columns=["method", "label", "cells", "judged", "inside", "ratio", "tasks", "p"])
    smallest = [hypotheses.smallest_p(tasks) for tasks in table["tasks"]]
    table["p"] = hypotheses.adjusted(list(table["p"]), smallest, SHIFT_LEVEL)
    return table.assign(shifted=table["p"] <= SHIFT_LEVEL)


def _common_runs(mine: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    columns = ["run", "method", "task", "seed", "error"]
    both = mine[columns].merge(published[["run", "error"]], on="run", suffixes=("", "_published")).dropna()
    apart = (both["error"] - both["error_published"]).abs()
    size = both[["error", "error_published"]].abs().max(axis=1)
    both["relative"] = (apart / size.where(size > 0, 1.0)).astype(float)
    renamed = both.rename(columns={"error": "value", "error_published": "value_published"})
    return renamed.assign(equal=renamed["relative"] <= ROUNDING).reset_index(drop=True)


def _fingerprints(mine: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Return the tasks and seeds of which both sets say what data they had, and whether it is the same."""
    if not all("data.fingerprint" in rows for rows in (mine, published)):
        return pd.DataFrame(columns=["task", "seed", "equal"])
    keys = ["problem", "seed"]
    sides = [
        rows.loc[rows["data.fingerprint"].notna(), ["task", *keys, "data.fingerprint"]].drop_duplicates(keys)
        for rows in (mine, published)
    ]
    both = sides[0].merge(sides[1], on=keys, suffixes=("", "_published"))
    both["equal"] = both["data.fingerprint"] == both["data.fingerprint_published"]
    return both[["task", "seed", "equal"]].sort_values(["task", "seed"]).reset_index(drop=True)
