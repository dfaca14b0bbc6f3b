"""Records: their file, their set, and their way between machines."""

from __future__ import annotations

import copy
import gzip
import json
import math

import pytest

from kanbench import PROTOCOL
from kanbench.base.errors import InvalidInput
from kanbench.records import collect, record


@pytest.fixture
def result(spec) -> dict:
    """A complete record of a run, as training would leave it."""
    blank = record.blank(spec, label="MLP", family="function_fitting", metric="rmse", goal="min")
    split = {"rmse": 0.25, "mae": 0.2, "nrmse": 0.5}
    evaluation = {"step": 4, "train": split, "validation": split, "test": split}
    blank["metrics"] = {"last": evaluation, "selected": evaluation, "legacy_best_on_test": {"step": 2, "value": 0.2}}
    blank["parameters"] = {"trainable": 9, "total": 9, "buffers": 0, "groups": {"other": 9}}
    blank["selection"] = {"metric": "rmse", "goal": "min"}
    blank["data"] = {"name": "feynman I.6.20a", "fingerprint": "0" * 64, "canonical": True}
    blank["code"] = {"commit": None, "dirty": None, "digest": "0" * 64}
    return blank


@pytest.fixture
def study(tmp_path, result):
    """A study folder with a plan of two runs, one of which has a record."""
    other = copy.deepcopy(result["spec"])
    other["seed"] = 1
    runs = {
        result["run"]: {"spec": result["spec"], "label": "MLP", "experiments": ["E1"]},
        "feynman/mlp/other": {"spec": other, "label": "MLP", "experiments": ["E1", "E2"]},
    }
    plan = {"study": "tiny", "protocol": 1, "experiments": {"E1": "", "E2": ""}, "runs": runs}
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(plan))
    record.write(result, folder / "runs" / f"{result['run']}.json")
    return folder


def test_a_record_survives_its_file_and_nan_becomes_null(tmp_path, result):
    result["curve"] = [{"step": 0, "train_loss": math.nan, "validation": math.inf, "test_legacy": 1.0}]
    record.write(result, tmp_path / "r.json")
    again = record.read(tmp_path / "r.json")
    assert again["curve"] == [{"step": 0, "train_loss": None, "validation": None, "test_legacy": 1.0}]
    assert again["metrics"] == result["metrics"]
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_record_outside_the_schema_is_never_written(tmp_path, result):
    result["memory"]["peak"] = 3
    with pytest.raises(InvalidInput, match="unknown key 'peak'"):
        record.write(result, tmp_path / "r.json")
    assert not list(tmp_path.iterdir())


def test_half_a_record_is_no_record(tmp_path):
    (tmp_path / "half.json").write_text('{"run": "a", ')
    assert record.read(tmp_path / "half.json") is None


def test_absent_runs_are_named_and_kept_as_rows(study, result):
    found = collect.gather(collect.read_plan(study / "plan.json"), study / "runs")
    assert found.absent == ["feynman/mlp/other"]
    assert [entry["status"] for entry in found.records] == ["ok", "absent"]
    assert found.records[1]["experiments"] == ["E1", "E2"]
    collect.write(found.records, study)
    rows = (study / "records.csv").read_text().splitlines()
    assert len(rows) == 3
    lines = gzip.decompress((study / "records.jsonl.gz").read_bytes()).decode().splitlines()
    assert json.loads(lines[0])["metrics"] == result["metrics"]


def test_equal_records_give_equal_bytes(study, tmp_path):
    records = collect.gather(collect.read_plan(study / "plan.json"), study / "runs").records
    for folder in ("a", "b"):
        collect.write(records, tmp_path / folder)
    for name in (collect.RECORDS, collect.TABLE):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_records_of_another_protocol_are_set_aside(study, result):
    result["spec"]["protocol"] = 99
    record.write(result, study / "runs" / f"{result['run']}.json")
    found = collect.gather(collect.read_plan(study / "plan.json"), study / "runs")
    assert found.set_aside == [result["run"]]
    assert [entry["status"] for entry in found.records] == ["absent", "absent"]


def test_pack_and_unpack_merge_without_loss(study, tmp_path, result):
    assert collect.pack(study, tmp_path / "tiny.tar.gz") == 1
    assert collect.unpack(tmp_path / "tiny.tar.gz", tmp_path / "there") == {"added": 1, "equal": 0}
    assert collect.unpack(tmp_path / "tiny.tar.gz", tmp_path / "there") == {"added": 0, "equal": 1}
    assert record.read(tmp_path / "there" / "runs" / f"{result['run']}.json") == record.finite(result)


def test_a_record_set_unpacks_too(study, tmp_path):
    collect.write(collect.gather(collect.read_plan(study / "plan.json"), study / "runs").records, study)
    assert collect.unpack(study / "records.jsonl.gz", tmp_path / "there") == {"added": 1, "equal": 0}


def test_unpack_refuses_another_result_for_the_same_spec(study, tmp_path, result):
    collect.pack(study, tmp_path / "tiny.tar.gz")
    result["metrics"]["last"] = dict(result["metrics"]["last"], test={"rmse": 9.0})
    record.write(result, tmp_path / "there" / "runs" / f"{result['run']}.json")
    with pytest.raises(InvalidInput, match=r"another result \(metrics\)"):
        collect.unpack(tmp_path / "tiny.tar.gz", tmp_path / "there")


def test_unpack_refuses_another_protocol_and_merges_nothing(study, tmp_path, result):
    result["spec"]["protocol"], result["run"] = 99, "feynman/mlp/old"
    record.write(result, study / "runs" / "feynman/mlp/old.json")
    collect.pack(study, tmp_path / "tiny.tar.gz")
    with pytest.raises(InvalidInput, match=f"protocol {PROTOCOL}"):
        collect.unpack(tmp_path / "tiny.tar.gz", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_truncated_archive_is_refused_by_name(study, tmp_path):
    collect.pack(study, tmp_path / "tiny.tar.gz")
    content = (tmp_path / "tiny.tar.gz").read_bytes()
    (tmp_path / "tiny.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidInput, match="tiny.tar.gz"):
        collect.unpack(tmp_path / "tiny.tar.gz", tmp_path / "there")


@pytest.mark.parametrize("kind", ["tiny.tar.gz", "records.jsonl.gz"])
def test_every_damaged_byte_of_an_archive_is_refused_or_makes_no_difference(study, tmp_path, kind, result):
    collect.pack(study, tmp_path / "tiny.tar.gz")
    collect.write(collect.gather(collect.read_plan(study / "plan.json"), study / "runs").records, tmp_path)
    content, refused = (tmp_path / kind).read_bytes(), 0
    for place in range(0, len(content), 41):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        (tmp_path / kind).write_bytes(damaged)
        try:
            collect.unpack(tmp_path / kind, tmp_path / str(place))
        except InvalidInput:
            assert not (tmp_path / str(place)).exists(), "something was merged"
            refused += 1
        else:
            assert [record.read(path) for path in (tmp_path / str(place)).rglob("*.json")] == [record.finite(result)]
    assert refused > len(content) / 41 / 2


@pytest.mark.parametrize("name", ["../../outside", "feynman/mlp/another"])
def test_a_record_is_unpacked_under_the_name_of_its_spec_alone(tmp_path, result, name):
    archive = tmp_path / "records.jsonl.gz"
    archive.write_bytes(gzip.compress(json.dumps(record.finite({**result, "run": name})).encode()))
    with pytest.raises(InvalidInput) as refused:
        collect.unpack(archive, tmp_path / "deep/there")
    assert result["run"] in str(refused.value)
    assert [path.name for path in tmp_path.rglob("*.json")] == []


@pytest.mark.parametrize("line", ["[1, 2]", "{}", '{"run": "a"}', "no JSON"])
def test_lines_that_are_no_records_are_refused_by_name(tmp_path, line):
    archive = tmp_path / "records.jsonl.gz"
    archive.write_bytes(gzip.compress(line.encode()))
    with pytest.raises(InvalidInput, match="records.jsonl.gz"):
        collect.unpack(archive, tmp_path / "there")
