"""Records: their file, their set, and their way between machines."""

from __future__ import annotations

import gzip
import json
import math

import pytest

from kanbench.base.errors import InvalidInput
from kanbench.base.spec import run_name
from kanbench.cli.parser import main
from kanbench.records import collect, frame, record


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
    plan = collect.read_plan(study / "plan.json")
    found = collect.gather(plan, study / "runs")
    assert found.absent == [name for name in plan["runs"] if name != result["run"]]
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


def damage(kind: str, path, result) -> None:
    """Do to the file of a record what a disk, a hand or another version of the suite may do."""
    whole = path.read_text()
    odd = {
        "truncated": whole[: len(whole) // 2],
        "emptied": "",
        "a list": "[]",
        "an empty object": "{}",
        "another number": whole.replace('"rmse": 0.25', '"rmse": 0.2'),
        "NaN": whole.replace('"rmse": 0.25', '"rmse": NaN', 1),
        "a number too large": whole.replace('"rmse": 0.25', '"rmse": 1e999', 1),
        "a key twice": whole.replace('"rmse": 0.25', '"rmse": 0.2, "rmse": 0.25', 1),
        "deep": "[" * 100_000,
        "NUL": whole.replace('"MLP"', '"\\u0000"'),
    }
    if kind in odd:
        path.write_text(odd[kind])
        return
    if kind == "binary":
        path.write_bytes(bytes(range(256)))
        return
    if kind == "a folder":
        path.unlink()
        path.mkdir()
        return
    changed = json.loads(whole)
    if kind == "a wrong type":
        changed["metrics"]["last"]["step"] = "four"
    elif kind == "another spec":
        changed["spec"]["seed"] = 7
    elif kind == "another run":
        changed["spec"]["seed"] = 7
        changed["run"] = run_name(changed["spec"])
    elif kind == "another protocol":
        changed["spec"]["protocol"] = 99
        changed["run"] = run_name(changed["spec"])
    path.write_text(record.text(record.sealed(changed)))


DAMAGES = (
    *(
        "truncated",
        "emptied",
        "a list",
        "an empty object",
        "another number",
        "NaN",
        "a number too large",
        "a key twice",
    ),
    *("deep", "NUL", "binary", "a folder", "a wrong type", "another spec", "another run", "another protocol"),
)


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_is_no_record_is_named_set_aside_and_planned_again(study, result, kind, capsys):
    file = study / "runs" / f"{result['run']}.json"
    damage(kind, file, result)
    kept = file.read_bytes() if file.is_file() else b""
    assert main(["collect", "--plan", str(study / "plan.json")]) == 1
    said = capsys.readouterr()
    assert result["run"] in said.err
    assert "expected" in said.err
    assert "0 of 2 planned runs collected" in said.out
    assert not file.exists(), "the run is planned again"
    (place,) = (study / "set_aside").rglob("*.json")
    assert place.relative_to(study / "set_aside").as_posix().startswith(result["run"])
    assert (place.read_bytes() if place.is_file() else b"") == kept, "nothing is lost"
    assert "expected" in place.with_suffix(".reason.txt").read_text()
    assert [line["status"] for line in frame.read_records(study)] == ["absent", "absent"]


@pytest.mark.parametrize("way", ["deleted", "truncated", "emptied"])
def test_a_good_record_set_is_not_overwritten_by_a_poorer_one(study, result, way, capsys):
    assert main(["collect", "--plan", str(study / "plan.json")]) == 0
    before = {name: (study / name).read_bytes() for name in (collect.RECORDS, collect.TABLE)}
    file = study / "runs" / f"{result['run']}.json"
    file.unlink() if way == "deleted" else damage(way, file, result)
    assert main(["collect", "--plan", str(study / "plan.json")]) == 1
    assert result["run"] in capsys.readouterr().err
    assert {name: (study / name).read_bytes() for name in before} == before
    assert main(["collect", "--plan", str(study / "plan.json"), "--fewer"]) == 0
    assert [line["status"] for line in frame.read_records(study)] == ["absent", "absent"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"runs": []}', '{"runs": {"a": {}}}', "[" * 100_000, "\udcff"])
def test_a_plan_that_is_none_is_refused_in_a_sentence(tmp_path, content, capsys):
    (tmp_path / "plan.json").write_text(content, errors="surrogateescape")
    assert main(["collect", "--plan", str(tmp_path / "plan.json")]) == 1
    assert "plan --write" in capsys.readouterr().err


def test_a_line_of_a_record_set_carries_the_digest_of_what_it_says(study, result):
    assert main(["collect", "--plan", str(study / "plan.json")]) == 0
    lines = gzip.decompress((study / collect.RECORDS).read_bytes()).decode().splitlines()
    for line in map(json.loads, lines):
        assert line["sha256"] == record.seal(line)
    edits = [("0.25", "0.24"), ('["E1"]', '["E2"]'), ('"ok"', '"diverged"'), ('"E2"]', '"E3"]'), ('"MLP"', '"KAN"')]
    for before, after in edits:
        text = "\n".join(lines)
        assert before in text
        (study / collect.RECORDS).write_bytes(gzip.compress(text.replace(before, after, 1).encode()))
        with pytest.raises(InvalidInput, match="sha256"):
            frame.read_records(study)
    (study / collect.RECORDS).write_bytes(gzip.compress("\n".join([lines[0], *lines]).encode()))
    with pytest.raises(InvalidInput, match="one line a run"):
        frame.read_records(study)
    (study / collect.RECORDS).write_bytes(b"")
    with pytest.raises(InvalidInput, match="an empty file"):
        frame.read_records(study)
