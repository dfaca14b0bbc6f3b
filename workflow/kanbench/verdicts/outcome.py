"""What the records say about one claim: the row of every table of verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """A claim with what the records say about it.

    Attributes:
        on: What the verdict is about, in words: `on digits`, `on 2 tasks (...)`, `on tasks of this kind (13)`.
        scope: `these tasks` (their seeds vary) or `tasks of this kind` (the tasks vary); empty for what is counted.
        reference: The method that the verdict compares with, and `chosen`, how it was chosen.
        ratios: A mapping for each dense form that was measured: `reference`, `estimate`, `low`, `high`, `interval`.
        estimate, low, high: Measured value and its interval, NaN where there is none; ratios as ratios.
        interval: How the interval was made and over what.
        comparison: better / worse / equivalent / undecided for paired comparisons, else empty.
        p_value, p_holm: Of the statement over all looks, alone and adjusted inside its family; `p_against`,
            `p_against_holm`: of its contrary. All are doubled one-sided values, so that 0.05 goes with a 95 % interval.
        members: Members of the family that could reject at their size, this one included; 0 if it is not among them.
        look, looks: The look at which the claim was decided (1 is the first; 0 is none), and the declared sizes.
        budgets: Measured value at the `full` budget and at a `quarter` of it.
        floors: Tasks on which neither side beats its floor; they are no evidence.
        missing: Pairs of which a run is absent, was skipped or could not start.
        unfinished: Pairs of which both runs failed.
        verdict: holds / in part / fails / undecided / no records.
        n_ok, n_planned: Pairs (runs for a threshold) with a measured value, and planned ones.
        detectable: Smallest true distance from the margin that this many independent values would show (power 0.8).
        unit, needed: What varies, and how many of it would decide an undecided claim with a power of 0.8.
        reason: Why the verdict is what it is, in a sentence.
    """

    id: str
    statement: str
    source: str
    claimed: str
    experiments: tuple[str, ...]
    family: str
    kind: str
    scope: str = ""
    on: str = ""
    reference: str = ""
    chosen: str = ""
    ratios: tuple[Mapping[str, Any], ...] = ()
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    interval: str = ""
    n_ok: int = 0
    n_planned: int = 0
    missing: int = 0
    unfinished: int = 0
    floors: int = 0
    comparison: str = ""
    p_value: float = math.nan
    p_holm: float = math.nan
    p_against: float = math.nan
    p_against_holm: float = math.nan
    members: int = 0
    look: int = 0
    looks: tuple[int, ...] = ()
    budgets: Mapping[str, float] = field(default_factory=dict)
    detectable: float = math.nan
    unit: str = ""
    needed: float = math.nan
    verdict: str = "no records"
    reason: str = ""
    runs: tuple[str, ...] = field(default=(), repr=False)

    @property
    def sentence(self) -> str:
        """The statement as far as the verdict goes: with the tasks that it is about."""
        return f"{self.statement.rstrip('.')}, {self.on}." if self.on else self.statement

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON: NaN and infinities become null and text."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Outcome:
        """Return the outcome that `as_dict` wrote, whose numbers are null and text where JSON has none."""
        numbers = {each.name for each in fields(cls) if each.type == "float"}
        return cls(**{key: _number(value) if key in numbers else _restored(value) for key, value in entry.items()})


WRITTEN = {None: math.nan, "infinite": math.inf, "-infinite": -math.inf}


def _number(value: Any) -> float:
    return WRITTEN[value] if value is None or isinstance(value, str) else float(value)


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_restored, value))
    if isinstance(value, Mapping):
        words = ("reference", "interval")
        return {key: entry if key in words else _number(entry) for key, entry in value.items()}
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("infinite" if value > 0 else "-infinite")
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value
