"""Computes a verdict on every statement of `paper_figures/claims.yaml` from a record set. Nothing is typed in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kanbench import paths, recipes, schema, stats
from kanbench.errors import Finding, InvalidInput
from kanbench.frame import AXES, of_experiments

COUNTED = ("parameters.", "memory.")
"""Metrics that are counted, simulated or measured once: they do not depend on how well training went."""
SHORT = {"family": "family", "task": "task", **{axis: f"spec.method.settings.{axis}" for axis in AXES}}


@dataclass(frozen=True)
class Outcome:
    """A claim with what the records say about it.

    Attributes:
        estimate, low, high: Measured value and its interval, NaN where there is none; ratios as ratios.
        interval: How the interval was made and over what.
        comparison: better / worse / equivalent / undecided for paired comparisons, else empty.
        verdict: holds / in part / fails / undecided / no records.
        n_ok, n_planned: Pairs (runs for a threshold) with a measured value, and planned ones.
        detectable: Smallest true effect that this many independent values would show (power 0.8).
        reason: Why the verdict is what it is, in a sentence.
    """

    id: str
    statement: str
    source: str
    claimed: str
    experiments: tuple[str, ...]
    family: str
    kind: str
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    interval: str = ""
    n_ok: int = 0
    n_planned: int = 0
    comparison: str = ""
    p_value: float = math.nan
    p_holm: float = math.nan
    detectable: float = math.nan
    verdict: str = "no records"
    reason: str = ""
    runs: tuple[str, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON: NaN and infinities become null and text."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("infinite" if value > 0 else "-infinite")
    return list(value) if isinstance(value, tuple) else value


def load(path: Path | None = None) -> list[dict[str, Any]]:
    """Return the declared claims.

    Raises:
        InvalidInput: unknown keys, missing ones, repeated ids and families that are not declared, all at once.
    """
    path = path or recipes.folder() / recipes.CLAIMS_FILE
    label = paths.relative(path)
    content = schema.read_yaml(path, label)
    problems = schema.findings(content, "claims", label)
    if problems:
        raise InvalidInput(problems)
    seen: set[str] = set()
    for position, claim in enumerate(content["claims"]):
        where = f"claims.{position}"
        if claim["id"] in seen:
            problems.append(Finding(label, f"{where}.id", claim["id"], "each id once", "rename one of the two"))
        seen.add(claim["id"])
        family = claim.get("family")
        if family and family not in content["families"]:
            known = ", ".join(content["families"])
            step = "declare the family or correct the name"
            problems.append(Finding(label, f"{where}.family", family, f"one of {known}", step))
        problems += [
            Finding(
                label,
                f"{where}.criterion.{key}",
                "missing",
                f"{key}, which {claim['criterion']['kind']} needs",
                "add it",
            )
            for key in _missing(claim["criterion"])
        ]
    if problems:
        raise InvalidInput(problems)
    return content["claims"]


def _missing(criterion: Mapping[str, Any]) -> Iterable[str]:
    compares = "reference" in criterion or "reference_metric" in criterion
    needs = {
        "count_ratio": ["method"],
        "threshold": ["method"],
        "win_count": ["share", "margin"],
        "paired_ratio": ["expect", "margin"],
        "paired_difference": ["expect", "margin"],
    }[criterion["kind"]]
    yield from (key for key in needs if key not in criterion)
    if criterion["kind"] != "threshold" and not compares:
        yield "reference"
    if criterion["kind"] in ("count_ratio", "threshold") and not {"at_least", "at_most"} & criterion.keys():
        yield "at_most"


def evaluate(claims: Sequence[Mapping[str, Any]], frame: pd.DataFrame) -> list[Outcome]:
    """Return the outcome of every claim, in the order of declaration.

    P-values are adjusted by Holm inside each declared family of claims; claims without records do not count into
    the family, since nothing was tested.
    """
    measured = [_measure(claim, frame) for claim in claims]
    adjusted = {}
    for family in {claim.get("family") for claim in claims} - {None}:
        members = [
            i
            for i, (claim, (outcome, _)) in enumerate(zip(claims, measured, strict=True))
            if claim.get("family") == family and not math.isnan(outcome.p_value)
        ]
        adjusted.update(zip(members, stats.holm([measured[i][0].p_value for i in members]), strict=True))
    outcomes = []
    for position, (claim, (outcome, values)) in enumerate(zip(claims, measured, strict=True)):
        if values is not None:
            outcome = _decide(claim, replace(outcome, p_holm=adjusted.get(position, outcome.p_value)), values)
        outcomes.append(outcome)
    return outcomes


def _measure(claim: Mapping[str, Any], frame: pd.DataFrame) -> tuple[Outcome, np.ndarray | None]:
    """Return the outcome without verdict, and the values to judge it by; None where there are no records."""
    criterion = claim["criterion"]
    outcome = Outcome(
        id=claim["id"],
        statement=claim["statement"],
        source=claim["source"],
        claimed=claim["claimed"],
        experiments=_experiments(claim),
        family=claim.get("family", ""),
        kind=criterion["kind"],
    )
    compared = _compared(claim, frame)
    usable = compared[compared["usable"]]
    outcome = replace(outcome, n_planned=len(compared), n_ok=int(compared["complete"].sum()), runs=_runs(usable))
    if usable.empty:
        return replace(outcome, runs=_runs(compared), reason=_no_records(claim, compared)), None
    values = {
        "count_ratio": _ratios,
        "threshold": lambda pairs: pairs[pairs["usable"]]["value"].to_numpy(float),
        "paired_ratio": stats.log_ratios,
        "paired_difference": stats.differences,
        "win_count": stats.differences,
    }[criterion["kind"]](compared)
    if criterion["kind"] in ("count_ratio", "threshold"):
        return _extent(outcome, values), values
    if criterion["kind"] == "win_count":
        return _wins(claim, outcome, compared, values)
    return _paired(claim, outcome, compared, values)


def _experiments(claim: Mapping[str, Any]) -> tuple[str, ...]:
    listed = claim["experiment"]
    return tuple([listed] if isinstance(listed, str) else listed)


def _compared(claim: Mapping[str, Any], frame: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of a claim (for a threshold its runs) with `usable` and `complete`."""
    criterion = claim["criterion"]
    rows = of_experiments(frame, _experiments(claim))
    rows = _where(rows, criterion.get("select", {}))
    counted = criterion["metric"].startswith(COUNTED)
    method = _of(rows, criterion["method"]) if "method" in criterion else rows
    method = _where(method, criterion.get("method_where", {}))
    # A threshold looks at single runs: each is paired with itself and only its own value is used.
    reference = _of(rows, criterion["reference"]) if "reference" in criterion else None
    if reference is not None:
        reference = _where(reference, criterion.get("reference_where", {}))
    compared = stats.pairs(
        method,
        reference,
        criterion["metric"],
        reference_metric=criterion.get("reference_metric"),
        lower_is_better=claim["direction"] == "lower",
        counted=counted,
    )
    compared["complete"] = compared["usable"] & np.isfinite(compared["value"] - compared["reference_value"])
    return compared


def _where(rows: pd.DataFrame, wanted: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows whose columns have the wanted values; null stands for no value."""
    for key, values in wanted.items():
        column = SHORT.get(key, key)
        values = values if isinstance(values, list) else [values]
        if column not in rows:
            rows = rows if values == [None] else rows.iloc[:0]
        else:
            rows = rows[
                rows[column].isin([v for v in values if v is not None]) | (rows[column].isna() & (None in values))
            ]
    return rows


def _of(rows: pd.DataFrame, names: str | list[str]) -> pd.DataFrame:
    return rows[rows["method"].isin([names] if isinstance(names, str) else names)]


def _runs(compared: pd.DataFrame) -> tuple[str, ...]:
    return tuple(sorted({*compared["run"], *compared["reference_run"]}))


def _no_records(claim: Mapping[str, Any], compared: pd.DataFrame) -> str:
    criterion, experiments = claim["criterion"], ",".join(_experiments(claim))
    methods = [criterion.get("method"), criterion.get("reference")]
    named = " and ".join(" / ".join(m) if isinstance(m, list) else m for m in methods if m) or "all methods"
    listed = experiments.replace(",", ", ")
    if len(compared) and (compared["status"] == "ok").any():
        return f"the runs of {named} in {listed} hold no {criterion['metric']}: this machine could not measure it"
    what = f"{len(compared)} planned pairs, none to compare," if len(compared) else "no runs"
    return f"{what} of {named} in {listed}; supplied by snakemake --cores all --config only={experiments}"


def _ratios(compared: pd.DataFrame) -> np.ndarray:
    return np.exp(stats.log_ratios(compared))


def _extent(outcome: Outcome, values: np.ndarray) -> Outcome:
    return replace(
        outcome,
        estimate=stats.median(values),
        low=float(values.min()),
        high=float(values.max()),
        interval=f"range over {values.size} pairs"
        if outcome.kind == "count_ratio"
        else f"range over {values.size} runs",
    )


def _paired(
    claim: Mapping[str, Any], outcome: Outcome, compared: pd.DataFrame, values: np.ndarray
) -> tuple[Outcome, np.ndarray]:
    independent, unit = stats.units(compared, values)
    if independent.size >= stats.MINIMUM_UNITS:
        low, high = stats.median_interval(independent, stats.generator("claim", claim["id"]))
        interval = f"95 % bootstrap, {independent.size} {unit}"
    else:
        low, high = float(independent.min()), float(independent.max())
        interval = f"range over {independent.size} {unit}"
    back = math.exp if outcome.kind == "paired_ratio" else float
    detectable = stats.minimal_detectable_effect(independent)
    outcome = replace(
        outcome,
        estimate=_back(back, stats.median(independent)),
        low=_back(back, low),
        high=_back(back, high),
        interval=interval,
        p_value=stats.wilcoxon(independent),
        detectable=_back(back, detectable),
    )
    return outcome, independent


def _back(back: Any, value: float) -> float:
    return value if math.isnan(value) or value == math.inf else back(value)


def _wins(
    claim: Mapping[str, Any], outcome: Outcome, compared: pd.DataFrame, values: np.ndarray
) -> tuple[Outcome, np.ndarray]:
    sign = -1 if claim["direction"] == "lower" else 1
    tasks = compared[compared["usable"]]["task"].to_numpy()
    won = np.array([sign * stats.median(values[tasks == task]) > 0 for task in np.unique(tasks)])
    low, high = stats.proportion_interval(int(won.sum()), won.size)
    interval = f"{won.sum()} of {won.size} tasks, exact 95 % interval of the share"
    return replace(outcome, estimate=float(won.mean()), low=low, high=high, interval=interval), won


def _decide(claim: Mapping[str, Any], outcome: Outcome, values: np.ndarray) -> Outcome:
    criterion = claim["criterion"]
    if criterion["kind"] in ("count_ratio", "threshold"):
        return _decide_bounds(criterion, outcome, values)
    if criterion["kind"] == "win_count":
        bound = criterion["share"] - criterion["margin"]
        verdict = "holds" if outcome.low > bound else "fails" if outcome.high < bound else "undecided"
        reason = f"a share of at least {bound:.3g} {'is' if verdict != 'undecided' else 'is neither'} "
        reason += {"holds": "established", "fails": "excluded", "undecided": "established nor excluded"}[verdict]
        return replace(outcome, verdict=verdict, reason=reason)
    return _decide_paired(claim, outcome, values)


def _decide_bounds(criterion: Mapping[str, Any], outcome: Outcome, values: np.ndarray) -> Outcome:
    low, high = criterion.get("at_least", -math.inf), criterion.get("at_most", math.inf)
    inside = (values >= low) & (values <= high)
    verdict = "holds" if inside.all() else "in part" if inside.any() else "fails"
    asked = " and ".join(
        text
        for text in (f"at least {low:.3g}" if low > -math.inf else "", f"at most {high:.3g}" if high < math.inf else "")
        if text
    )
    noun = "runs" if criterion["kind"] == "threshold" else "pairs"
    return replace(outcome, verdict=verdict, reason=f"{inside.sum()} of {values.size} {noun} are {asked}")


def _decide_paired(claim: Mapping[str, Any], outcome: Outcome, values: np.ndarray) -> Outcome:
    criterion, lower = claim["criterion"], claim["direction"] == "lower"
    ratio = outcome.kind == "paired_ratio"
    if values.size < stats.MINIMUM_UNITS:
        reason = f"{outcome.interval}: no 95 % interval exists below {stats.MINIMUM_UNITS} independent values"
        return replace(outcome, comparison="undecided", verdict="undecided", reason=reason)
    margin = math.log1p(criterion["margin"]) if ratio else criterion["margin"]
    low, high = (_log(outcome.low), _log(outcome.high)) if ratio else (outcome.low, outcome.high)
    comparison = stats.verdict(low, high, margin, lower_is_better=lower, p_value=outcome.p_holm)
    opposite = {"better": ("worse", "equivalent"), "equivalent": ("better", "worse"), "not_worse": ("worse",)}
    expect = criterion["expect"]
    size = f"a factor of {1 + criterion['margin']:.3g}" if ratio else f"{criterion['margin']:.3g}"
    reason = f"{comparison} at a margin of {size}; asked: {expect.replace('_', ' ')}"
    if comparison == expect:
        verdict = "holds"
    elif expect == "not_worse" and stats.not_worse(low, high, margin, lower_is_better=lower):
        verdict, reason = "holds", f"the interval excludes a loss of more than {size}"
    else:
        verdict = "fails" if comparison in opposite[expect] else "undecided"
    return replace(outcome, comparison=comparison, verdict=verdict, reason=reason)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
