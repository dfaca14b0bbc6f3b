"""How far a study is, from files alone."""

from __future__ import annotations

import os
import time

from kanbench.study import status


def study(folder, ages, waiting):
    names = [f"done{i}" for i in range(len(ages))] + [f"waiting{i}" for i in range(waiting)]
    (folder / "runs").mkdir()
    now = time.time()
    for name, age in zip(names, ages, strict=False):
        path = folder / "runs" / f"{name}.json"
        path.write_text('{"status": "ok"}')
        os.utime(path, (now - age, now - age))
    return {"experiments": {"E1": {}}, "runs": {name: {"experiments": ["E1"]} for name in names}}


def test_time_left_follows_the_rate_of_the_latest_burst(tmp_path):
    plan = study(tmp_path, ages=[90_000, 30, 20, 10], waiting=6)
    state = status.progress(plan, tmp_path)
    assert (state["done"], state["planned"]) == (4, 10)
    assert abs(state["seconds_left"] - 60) < 1
    assert status.line(state) == "4 of 10 runs done, about 1 min 00 s left"


def test_nothing_is_claimed_before_there_is_a_rate(tmp_path):
    assert status.progress(study(tmp_path, ages=[5], waiting=2), tmp_path)["seconds_left"] is None


def test_a_finished_study_has_no_time_left(tmp_path):
    assert status.progress(study(tmp_path, ages=[5, 4], waiting=0), tmp_path)["seconds_left"] == 0


def test_outcomes_count_by_experiment_and_status(tmp_path):
    plan = study(tmp_path, ages=[5, 4], waiting=3)
    (tmp_path / "runs" / "done1.json").write_text('{"status": "diverged"}')
    assert status.outcomes(plan, tmp_path) == {"E1": {"ok": 1, "diverged": 1, "waiting": 3}}
