"""How far a study is: runs done, planned and failed, and the time that is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from kanbench.records.survey import Survey

BURST_SECONDS = 900.0
"""A pause this long between two records ends the burst of work that the rate is taken from."""


def progress(plan: Mapping[str, Any], survey: Survey) -> dict[str, Any]:
    """Return counts of `planned` and `done` runs and the estimated `seconds_left` (None at the start).

    The estimate is the rate of the latest burst of records: an interrupted study does not count the pause.
    """
    finished = sorted(each.finished for each in survey.standings(plan["runs"]).values() if each.done)
    planned, done = len(plan["runs"]), len(finished)
    return {"planned": planned, "done": done, "seconds_left": _seconds_left(finished, planned - done)}


def _seconds_left(finished: list[float], remaining: int) -> float | None:
    if remaining == 0:
        return 0.0
    if not finished or time.time() - finished[-1] > BURST_SECONDS:
        return None
    start = len(finished) - 1
    while start > 0 and finished[start] - finished[start - 1] < BURST_SECONDS:
        start -= 1
    intervals = len(finished) - 1 - start
    elapsed = finished[-1] - finished[start]
    return remaining * elapsed / intervals if intervals > 0 else None


def line(state: Mapping[str, Any]) -> str:
    """Return `progress` as one line of text."""
    left = state["seconds_left"]
    rest = "time left not known yet" if left is None else f"about {_duration(left)} left"
    return f"{state['done']} of {state['planned']} runs done, {rest}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def outcomes(plan: Mapping[str, Any], survey: Survey) -> dict[str, Counter]:
    """Return per experiment how many runs have each status; a run that has to be made counts as how it stands.

    That is `waiting`, `outdated` or `unreadable` (`kanbench.records.survey`).
    """
    table: dict[str, Counter] = {key: Counter() for key in plan["experiments"]}
    for name, standing in survey.standings(plan["runs"]).items():
        for experiment in plan["runs"][name]["experiments"]:
            table[experiment][standing.status if standing.done else standing.kind] += 1
    return table
