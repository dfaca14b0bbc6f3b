"""From records to the frame."""

from __future__ import annotations

import gzip
import json
import math

import make_records
import pytest
from record_fixtures import RECORDS

from kanbench.base import schema
from kanbench.base.errors import InvalidInput, MissingData
from kanbench.records import frame as frames


def test_the_committed_record_set_is_what_the_script_makes():
    made = [json.loads(json.dumps(entry)) for entry in make_records.records()]
    kept = [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]
    assert [entry["run"] for entry in made] == [entry["run"] for entry in kept]
    for new, old in zip(made, kept, strict=True):
        assert new["spec"] == old["spec"]
        assert new["parameters"] == old["parameters"]
        assert new["status"] == old["status"]


def test_the_invented_records_are_records(records):
    for entry in records:
        entry.pop("experiments")
        assert entry["status"] == "absent" or schema.findings(entry, "record", entry["run"]) == []


def test_records_are_read_from_a_file_its_compressed_form_and_a_folder(tmp_path, records):
    text = RECORDS.read_bytes()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "records.jsonl.gz").write_bytes(gzip.compress(text))
    for place in (RECORDS, tmp_path / "set" / "records.jsonl.gz", tmp_path / "set"):
        assert frames.read_records(place) == records
    assert frames.fingerprint(records) == frames.fingerprint(reversed(records))
    records[3]["reason"] = "changed"
    assert frames.fingerprint(records) != frames.fingerprint(frames.read_records(RECORDS))


def test_planned_runs_without_a_record_are_absent_rows(tmp_path, records):
    kept, lost = records[2:], records[:2]
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in kept))
    keys = ("spec", "label", "experiments")
    plan = {"runs": {r["run"]: {key: r[key] for key in keys} for r in records}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    frame = frames.to_frame(frames.read_records(tmp_path))
    assert len(frame) == len(records)
    rows = frame.set_index("run").loc[[r["run"] for r in lost]]
    assert list(rows["status"]) == ["absent", "absent"]
    assert list(rows["family"]) == ["function_fitting"] * 2
    assert list(rows["metric"]) == ["rmse"] * 2
    assert rows["value"].isna().all()


def test_a_missing_set_names_the_places_and_the_next_step(tmp_path):
    with pytest.raises(MissingData, match=r"records\.jsonl\.gz.*\n.*collect"):
        frames.read_records(tmp_path)


def test_every_broken_line_is_named(tmp_path):
    file = tmp_path / "records.jsonl"
    whole = RECORDS.read_text(encoding="utf-8").splitlines()[0]
    file.write_text('{"run": "a"}\n\n' + whole + "\nnot json\n[]\n")
    with pytest.raises(InvalidInput) as refused:
        frames.read_records(file)
    assert [f"{finding.file} {finding.key}".split("line ")[1][0] for finding in refused.value.findings] == list("145")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "not compressed", "not text"])
def test_a_damaged_record_set_is_named_with_the_remedy(tmp_path, records, damage):
    whole = gzip.compress("".join(json.dumps(each) + "\n" for each in records).encode())
    middle = len(whole) // 2
    (tmp_path / "records.jsonl.gz").write_bytes(
        {
            "truncated": whole[:middle],
            "flipped": whole[:middle]
            + bytes(255 - each for each in whole[middle : middle + 50])
            + whole[middle + 50 :],
            "not compressed": b"no gzip",
            "not text": gzip.compress(b"\xff\xfe\xfa"),
        }[damage]
    )
    with pytest.raises(InvalidInput, match=r"records\.jsonl\.gz(.|\n)*copy the file again"):
        frames.read_records(tmp_path)


def test_the_readable_columns(frame):
    digits = frame[(frame["task"] == "digits") & (frame["method"] == "mlp") & (frame["seed"] == 0)].iloc[0]
    assert digits["label"] == "MLP"
    assert digits["value"] == pytest.approx(digits["metrics.selected.test.accuracy"])
    assert digits["error"] == pytest.approx(1 - digits["value"])
    assert digits["legacy_error"] == pytest.approx(1 - digits["metrics.legacy_best_on_test.value"])
    fitted = frame[(frame["task"] == "feynman I.8.4") & (frame["method"] == "mlp")].iloc[0]
    assert fitted["error"] == fitted["value"] == fitted["metrics.selected.test.rmse"]
    assert set(frame["task"]) >= {"digits", "feynman I.6.20a", "feynman product", "poisson dimension=4"}


def test_a_failed_run_has_no_value_and_the_cell_groups_seeds_only(frame):
    failed = frame[frame["status"] == "diverged"].iloc[0]
    assert math.isnan(failed["value"])
    cells = frame.groupby("cell")
    assert (cells["seed"].nunique() == cells.size()).all()
    assert (cells["method"].nunique() == 1).all()


def test_settings_name_what_varies_and_nothing_else(frame):
    swept = frame[(frame["task"] == "feynman I.6.20b") & (frame["method"] == "metakan-relu")]
    assert "grid_size=20, hidden_width=5, depth=3, hidden_dim=32" in set(swept["settings"])
    assert set(frame[frame["task"] == "digits"]["settings"]) == {""}


def test_settings_of_parameter_groups_are_named_where_they_vary(records):
    chosen = [r for r in records if r["spec"]["method"]["name"].startswith("metakan")][:2]
    for entry, rate in zip(chosen, (0.1, 0.01), strict=True):
        entry["spec"] = json.loads(json.dumps(chosen[0]["spec"]))
        entry["spec"]["training"]["groups"] = {"prompts": {"learning_rate": rate, "schedule": "constant"}}
    frame = frames.to_frame(chosen)
    assert list(frame["settings"]) == ["prompts.learning_rate=0.1", "prompts.learning_rate=0.01"]
    assert list(frame["spec.training.groups.prompts.learning_rate"]) == [0.1, 0.01]


def test_a_task_setting_that_varies_enters_the_name_of_the_task(records):
    for record in records[:2]:
        record["spec"]["task"]["settings"]["noise"] = 0.1
    tasks = set(frames.to_frame(records)["task"])
    assert {"feynman I.6.20a noise=0.0", "feynman I.6.20a noise=0.1"} & tasks


def test_two_methods_never_share_a_label(records):
    for record in records:
        record["label"] = "KAN"
    frame = frames.to_frame(records)
    assert frame["label"].nunique() == frame["method"].nunique()


def test_tidy_is_text_and_numbers(frame, tmp_path):
    table = frames.tidy(frame)
    assert "curve" not in table
    assert list(table.columns[:4]) == ["run", "status", "reason", "task"]
    assert table["experiments"].iloc[0] == "E5"
    frames.write_csv(frame, tmp_path / "a" / "records.csv")
    assert len((tmp_path / "a" / "records.csv").read_text().splitlines()) == len(frame) + 1


def test_an_empty_record_set_is_a_frame_too():
    frame = frames.to_frame([])
    assert len(frame) == 0
    assert {"method", "task", "value", "parameters.trainable"} <= set(frame.columns)


def test_experiments_select_runs(frame):
    chosen = frames.of_experiments(frame, ["E2"])
    assert set(chosen["task"]) == {"feynman product"}
    assert len(frames.of_experiments(frame, [])) == len(frame)
