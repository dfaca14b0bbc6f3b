"""How far a study is, from files alone; every verb counts by the same function."""

from __future__ import annotations

import copy
import os
import time

import pytest

from kanbench.base.spec import run_name
from kanbench.records import record
from kanbench.records.survey import Survey
from kanbench.study import status

CODE = {"digest": "0" * 64, "packages": {}}


@pytest.fixture
def study(tmp_path, spec):
    """Make a study with a record for each of `ages`, so many seconds old, and further runs that wait."""

    def _study(ages, waiting):
        runs, now = {}, time.time()
        for seed in range(len(ages) + waiting):
            own = {**copy.deepcopy(spec), "seed": seed}
            runs[run_name(own)] = {"spec": own, "label": "MLP", "experiments": ["E1"], "code": CODE}
        for (name, planned), age in zip(runs.items(), ages, strict=False):
            content = record.blank(planned["spec"], label="MLP", family="function_fitting", metric="rmse", goal="min")
            path = tmp_path / "runs" / f"{name}.json"
            record.write({**content, "code": {"commit": None, "dirty": None, **CODE}}, path)
            os.utime(path, (now - age, now - age))
        return {"experiments": {"E1": {}}, "runs": runs}

    return _study


def test_time_left_follows_the_rate_of_the_latest_burst(tmp_path, study):
    state = status.progress(study(ages=[90_000, 30, 20, 10], waiting=6), Survey(tmp_path))
    assert (state["done"], state["planned"]) == (4, 10)
    assert abs(state["seconds_left"] - 60) < 1
    assert status.line(state) == "4 of 10 runs done, about 1 min 00 s left"


def test_nothing_is_claimed_before_there_is_a_rate(tmp_path, study):
    assert status.progress(study(ages=[5], waiting=2), Survey(tmp_path))["seconds_left"] is None


def test_a_finished_study_has_no_time_left(tmp_path, study):
    assert status.progress(study(ages=[5, 4], waiting=0), Survey(tmp_path))["seconds_left"] == 0


def test_outcomes_and_progress_count_alike(tmp_path, study):
    plan = study(ages=[5] * 6, waiting=3)
    runs = tmp_path / "runs"
    ok, diverged, torn, empty, edited, older = (runs / f"{name}.json" for name in list(plan["runs"])[:6])
    record.write({**record.read(diverged), "status": "diverged"}, diverged)
    torn.write_bytes(torn.read_bytes()[:100])
    empty.write_bytes(b"")
    edited.write_text(edited.read_text().replace('"MLP"', '"mlp"'))
    content = record.read(older)
    record.write({**content, "code": {**content["code"], "digest": "1" * 64}}, older)
    expected = {"E1": {"ok": 1, "diverged": 1, "unreadable": 3, "outdated": 1, "waiting": 3}}
    survey = Survey(tmp_path)
    for _ in range(2):
        assert status.outcomes(plan, survey) == expected
        assert status.progress(plan, survey)["done"] == 2
        survey.keep()
        survey = Survey(tmp_path)
    assert ok.is_file()
