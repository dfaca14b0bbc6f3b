"""Runs whose data set is not on disk are skipped with the command that fetches it; the rest of the study runs."""

from __future__ import annotations

import json

import pytest

from kanbench.data import presence
from kanbench.records import archive, collect, frame, survey
from kanbench.study import config, lacking, plan


@pytest.fixture
def planned(elsewhere, tiny, monkeypatch):
    """Plan a study on formulas and on MNIST, with the data sets in a folder that may be empty."""
    monkeypatch.setenv("KANBENCH_DATA", str(elsewhere / "data"))
    tiny["experiments"]["E5"] = {
        **tiny["experiments"]["E1"],
        "title": "Images",
        "tasks": ["mnist"],
        "training": {"optimiser": "adam", "learning_rate": 0.01, "epochs": 1, "batch_size": 64, "evaluations": 1},
    }
    return lambda **more: plan.expand(config.from_content({**tiny, **more}, "tiny.yaml"))


def of_mnist(found: plan.Plan) -> set[str]:
    return {name for name, run in found.runs.items() if run.spec["task"]["name"] == "mnist"}


def test_no_job_is_planned_for_them_and_the_others_are(planned):
    found = planned()
    assert set(found.due.lacking) == of_mnist(found)
    assert {path.removeprefix("results/tiny/runs/").removesuffix(".json") for path in found.records()} == (
        set(found.runs) - of_mnist(found)
    )
    (line,) = lacking.lines(found)
    assert line.startswith("2 runs of E5 are skipped: the data set 'mnist' is not on disk")
    assert line.endswith("python -m kanbench data mnist --download")


def test_the_record_set_says_skipped_with_the_command_and_is_settled(planned, elsewhere):
    found = planned()
    folder = elsewhere / "results/tiny"
    plan_file = found.due.write_plan()
    gathered = collect.gather(collect.read_plan(plan_file), folder / "runs")
    assert set(gathered.absent) == set(found.runs) - of_mnist(found)
    collect.write(gathered.records, folder)
    rows = frame.to_frame(frame.read_records(folder)).set_index("run")
    for name in of_mnist(found):
        assert rows.loc[name, "status"] == "skipped"
        assert rows.loc[name, "family"] == "classification"
        assert presence.command("mnist") in rows.loc[name, "reason"]
    looked = survey.Survey(folder)
    assert looked.collected(looked.standings(collect.read_plan(plan_file)["runs"])), "they are no results"
    with pytest.raises(archive.InvalidInput, match="no records"):
        archive.unpack(folder / collect.RECORDS, elsewhere / "results/other")


def test_once_the_data_are_there_or_may_be_fetched_the_runs_are_planned(planned, elsewhere):
    assert not planned(download=True).due.lacking
    (elsewhere / "data/mnist-images").mkdir(parents=True)
    found = planned()
    assert not found.due.lacking
    assert len(found.records()) == len(found.runs)
    assert not any("lacking" in run for run in json.loads(found.due.write_plan().read_text())["runs"].values())


def test_runs_of_a_cell_that_lack_their_data_are_in_no_job(planned):
    experiments = planned().study.content["experiments"]
    found = planned(experiments={key: {**each, "together": True} for key, each in experiments.items()})
    joined = {name for names in found.cells.values() for name in names}
    assert joined
    assert joined == set(found.runs) - of_mnist(found)
    assert found.alone == []


def test_a_data_root_of_the_study_is_where_they_are_sought(planned, elsewhere):
    (elsewhere / "shelf/MNIST").mkdir(parents=True)
    assert not planned(data_root=str(elsewhere / "shelf")).due.lacking
    (line,) = lacking.lines(planned(data_root=str(elsewhere / "nowhere")))
    assert f"--root {elsewhere / 'nowhere'} --download" in line
