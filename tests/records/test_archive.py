"""Records on their way between machines: all of an archive or nothing, and nothing that is no record."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tarfile
from pathlib import Path

import pytest

from kanbench import PROTOCOL
from kanbench.base.errors import InvalidInput
from kanbench.base.spec import run_name
from kanbench.cli.parser import main
from kanbench.records import archive as archives
from kanbench.records import collect, record

ROOT = Path(__file__).resolve().parents[2]


def test_pack_and_unpack_merge_without_loss(study, tmp_path, result):
    assert archives.pack(study, tmp_path / "tiny.tar.gz") == (1, [])
    assert archives.unpack(tmp_path / "tiny.tar.gz", tmp_path / "there") == {"added": 1, "equal": 0}
    assert archives.unpack(tmp_path / "tiny.tar.gz", tmp_path / "there") == {"added": 0, "equal": 1}
    assert record.read(tmp_path / "there" / "runs" / f"{result['run']}.json") == record.sealed(result)


def test_a_record_set_unpacks_too(study, tmp_path):
    collect.write(collect.gather(collect.read_plan(study / "plan.json"), study / "runs").records, study)
    assert archives.unpack(study / "records.jsonl.gz", tmp_path / "there") == {"added": 1, "equal": 0}


def test_unpack_refuses_another_result_for_the_same_spec(study, tmp_path, result):
    archives.pack(study, tmp_path / "tiny.tar.gz")
    result["metrics"]["last"] = dict(result["metrics"]["last"], test={"rmse": 9.0})
    record.write(result, tmp_path / "there" / "runs" / f"{result['run']}.json")
    with pytest.raises(InvalidInput, match=r"another result \(metrics\)"):
        archives.unpack(tmp_path / "tiny.tar.gz", tmp_path / "there")


def packed(path, *members, name: str = "runs/feynman/mlp/a.json") -> None:
    """Write an archive of members given as bytes, or as (name, bytes)."""
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            where, content = member if isinstance(member, tuple) else (name, member)
            entry = tarfile.TarInfo(where)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def sealed(result, **changes) -> bytes:
    """Return the text of a record with changes of its spec, under the name and with the seal that they give."""
    changed = {**result, "spec": {**result["spec"], **changes}}
    changed["run"] = run_name(changed["spec"])
    return record.text(record.sealed(changed)).encode()


def refused(path, into) -> str:
    with pytest.raises(InvalidInput) as caught:
        archives.unpack(path, into)
    assert not list(into.rglob("*")), "something was merged, or left lying about"
    return str(caught.value)


def test_unpack_refuses_another_protocol_and_merges_nothing(tmp_path, result):
    packed(tmp_path / "a.tar.gz", sealed(result), sealed(result, protocol=99))
    assert f"protocol {PROTOCOL}" in refused(tmp_path / "a.tar.gz", tmp_path / "there")


@pytest.mark.parametrize("members", [(), (("plan.json", b"{}"),), (("elsewhere/a.json", b"{}"), ("runs/a.txt", b"x"))])
def test_an_archive_without_records_is_refused_by_name(tmp_path, members):
    packed(tmp_path / "a.tar.gz", *members)
    said = refused(tmp_path / "a.tar.gz", tmp_path / "there")
    assert f"{tmp_path / 'a.tar.gz'}" in said
    assert "no records" in said


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_record_set_without_records_is_refused_by_name(tmp_path, text):
    with gzip.open(tmp_path / "records.jsonl.gz", "wt") as stream:
        stream.write(text)
    assert "no records" in refused(tmp_path / "records.jsonl.gz", tmp_path / "there")


def test_a_record_set_of_planned_runs_alone_is_refused_by_name(study, tmp_path):
    for file in (study / "runs").rglob("*.json"):
        file.unlink()
    found = collect.gather(collect.read_plan(study / "plan.json"), study / "runs")
    assert {line["status"] for line in found.records} == {"absent"}
    collect.write(found.records, study)
    assert "no records" in refused(study / "records.jsonl.gz", tmp_path / "there")


PATHS = ("../../../outside", "/tmp/outside", "a/../../../outside", "x" * 400, "mlp\n", "", ".", "Mlp", "a\\b", "-rf")


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("part", ["task", "method", "baseline", "variant"])
def test_names_of_tasks_and_methods_lead_nowhere(tmp_path, result, name, part):
    spec = json.loads(json.dumps(result["spec"]))
    if part == "task":
        spec["task"]["name"] = name
    else:
        spec["method"]["name" if part == "method" else part] = name
    packed(tmp_path / "a.tar.gz", sealed(result, **spec))
    assert f"spec.{'task' if part == 'task' else 'method'}" in refused(
        tmp_path / "a.tar.gz", tmp_path / "deep/er/there"
    )
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar.gz"]


def test_a_link_in_the_study_leads_no_record_out_of_it(tmp_path, result):
    packed(tmp_path / "a.tar.gz", sealed(result))
    (tmp_path / "outside").mkdir()
    (tmp_path / "there/runs").mkdir(parents=True)
    (tmp_path / "there/runs/feynman").symlink_to(tmp_path / "outside")
    with pytest.raises(InvalidInput, match="outside"):
        archives.unpack(tmp_path / "a.tar.gz", tmp_path / "there")
    assert not list((tmp_path / "outside").iterdir())


def test_two_results_for_one_run_in_one_archive_are_refused(tmp_path, result):
    other = {**result, "parameters": {**result["parameters"], "trainable": 8}}
    packed(tmp_path / "a.tar.gz", sealed(result), sealed(other))
    assert "another result (parameters) than the same archive" in refused(tmp_path / "a.tar.gz", tmp_path / "there")
    packed(tmp_path / "b.tar.gz", sealed(result), sealed(result))
    assert archives.unpack(tmp_path / "b.tar.gz", tmp_path / "there") == {"added": 1, "equal": 1}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"rmse": 0.25', '"rmse": NaN', "NaN"),
        ('"rmse": 0.25', '"rmse": -Infinity', "Infinity"),
        ('"rmse": 0.25', '"rmse": 1e400', "1e400"),
        ('"rmse": 0.25', '"rmse": ' + "1" * 5000, "digits"),
        ('"step": 4', '"step": ' + "1" * 50, "64 bits"),
        ('"MLP"', '"a\\u0000b"', "NUL"),
        ('"MLP"', '"\\ud800"', "surrogate"),
        ('"MLP"', '"\\ud83d\\ude00"', "sha256"),
        ('"rmse": 0.25', '"rmse": ' + "[" * 500 + "]" * 500, "levels"),
        ('"rmse": 0.25', '"rmse": ' + "[" * 200_000, "levels"),
        ('"status": "ok"', '"status": "ok", "status": "ok"', "twice"),
    ],
)
def test_what_json_or_a_table_cannot_hold_is_refused_by_name(tmp_path, result, before, after, said):
    text = sealed(result).decode()
    assert before in text
    packed(tmp_path / "a.tar.gz", text.replace(before, after, 1).encode())
    message = refused(tmp_path / "a.tar.gz", tmp_path / "there")
    assert said in message
    assert "runs/feynman/mlp/a.json" in message


def bomb(path, size: int, header: bytes = b"") -> None:
    """Write zeros that compress to nothing, 16 MiB at a time."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header)
        for _ in range(0, size, 2**24):
            file.write(bytes(2**24))


@pytest.mark.parametrize("kind", ["a record", "another file", "a long name", "a line"])
def test_a_bomb_is_refused_within_little_memory(tmp_path, run, monkeypatch, kind):
    entry = tarfile.TarInfo("notes.bin" if kind == "another file" else "runs/feynman/mlp/a.json")
    entry.size = 2**28
    if kind == "a long name":
        entry.type = tarfile.GNUTYPE_LONGNAME
    file = tmp_path / ("records.jsonl.gz" if kind == "a line" else "a.tar.gz")
    bomb(file, 2**28, b"" if kind == "a line" else entry.tobuf())
    code = (
        "import resource, sys; from pathlib import Path; from kanbench.records import archive\n"
        "from kanbench.base.errors import InvalidInput\n"
        "archive.MOST_BYTES = 2**27; before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: archive.unpack(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except InvalidInput as error: print(error)\n"
        "print('grown', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = run([sys.executable, "-c", code, str(file), str(tmp_path / "there")], ROOT, timeout=120)
    assert "1 problem found" in done.stdout, done.stderr
    assert int(done.stdout.split()[-1]) < 100 * 1024, "kilobytes"
    assert not (tmp_path / "there").exists()


def test_what_cannot_be_moved_into_place_takes_back_what_was(tmp_path, result, monkeypatch):
    packed(tmp_path / "a.tar.gz", *(sealed(result, seed=seed) for seed in range(3)))
    moved, replace = [], os.replace

    def full(source, target):
        if "runs" in str(target) and ".unpacking" not in str(target):
            if len(moved) == 2:
                raise OSError(28, "No space left on device")
            moved.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InvalidInput, match="No space left"):
        archives.unpack(tmp_path / "a.tar.gz", tmp_path / "there")
    assert len(moved) == 2
    assert not [path for path in (tmp_path / "there").rglob("*") if path.is_file()]


def test_what_is_no_record_is_left_out_of_an_archive_and_named(study, tmp_path, result, capsys):
    (study / "runs/feynman/mlp/torn.json").write_text("{")
    assert main(["pack", str(study), "--output", str(tmp_path / "tiny.tar.gz")]) == 1
    assert "torn.json" in capsys.readouterr().err
    assert archives.unpack(tmp_path / "tiny.tar.gz", tmp_path / "there") == {"added": 1, "equal": 0}


def test_a_truncated_archive_is_refused_by_name(study, tmp_path):
    archives.pack(study, tmp_path / "tiny.tar.gz")
    content = (tmp_path / "tiny.tar.gz").read_bytes()
    (tmp_path / "tiny.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidInput, match="tiny.tar.gz"):
        archives.unpack(tmp_path / "tiny.tar.gz", tmp_path / "there")


@pytest.mark.parametrize("kind", ["tiny.tar.gz", "records.jsonl.gz"])
def test_every_damaged_byte_of_an_archive_is_refused_or_makes_no_difference(study, tmp_path, kind, result):
    archives.pack(study, tmp_path / "tiny.tar.gz")
    collect.write(collect.gather(collect.read_plan(study / "plan.json"), study / "runs").records, tmp_path)
    content, refused = (tmp_path / kind).read_bytes(), 0
    for place in range(0, len(content), 41):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        (tmp_path / kind).write_bytes(damaged)
        try:
            archives.unpack(tmp_path / kind, tmp_path / str(place))
        except InvalidInput:
            assert not (tmp_path / str(place)).exists(), "something was merged"
            refused += 1
        else:
            assert [record.read(path) for path in (tmp_path / str(place)).rglob("*.json")] == [record.sealed(result)]
    assert refused > len(content) / 41 / 2


@pytest.mark.parametrize("name", ["../../outside", "feynman/mlp/another"])
def test_a_record_is_unpacked_under_the_name_of_its_spec_alone(tmp_path, result, name):
    archive = tmp_path / "records.jsonl.gz"
    archive.write_bytes(gzip.compress(json.dumps(record.sealed({**result, "run": name})).encode()))
    with pytest.raises(InvalidInput) as refused:
        archives.unpack(archive, tmp_path / "deep/there")
    assert refused.value.findings[0].key == "run"
    assert name in refused.value.findings[0].found
    assert [path.name for path in tmp_path.rglob("*.json")] == []


@pytest.mark.parametrize("line", ["[1, 2]", "{}", '{"run": "a"}', "no JSON"])
def test_lines_that_are_no_records_are_refused_by_name(tmp_path, line):
    archive = tmp_path / "records.jsonl.gz"
    archive.write_bytes(gzip.compress(line.encode()))
    with pytest.raises(InvalidInput, match="records.jsonl.gz"):
        archives.unpack(archive, tmp_path / "there")
