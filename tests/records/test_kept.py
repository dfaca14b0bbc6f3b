"""The kept table of a record set is the table itself, and is taken for the same bytes alone."""

from __future__ import annotations

import copy
import gzip
import json

import pandas as pd
import pytest
from record_fixtures import write_set

from kanbench.pages import render
from kanbench.records import frame, kept


@pytest.fixture
def file(committed, tmp_path):
    return write_set(copy.deepcopy(committed[:40]), tmp_path / "records.jsonl")


def test_what_is_kept_is_what_would_be_made(file):
    records = frame.read_records(file)
    made = frame.to_frame(records)
    assert kept.read(file) is None
    kept.write(file, made, frame.fingerprint(records))
    again, fingerprint = kept.read(file)
    pd.testing.assert_frame_equal(again, made, check_exact=True)
    assert fingerprint == frame.fingerprint(records)


def test_a_record_set_is_read_once_and_gives_the_same(file):
    first, second = render.RecordSet(file), render.RecordSet(file)
    assert (file.parent / kept.FILE).is_file()
    pd.testing.assert_frame_equal(first.frame, second.frame, check_exact=True)
    assert (first.digest, first.records) == (second.digest, second.records)
    assert first.citation == second.citation


@pytest.mark.parametrize("change", ["records", "plan", "kept"])
def test_other_bytes_are_read_anew(file, change):
    before = render.RecordSet(file).digest
    if change == "records":
        lines = file.read_text().splitlines()
        file.write_text("\n".join(lines[1:]) + "\n")
        assert render.RecordSet(file).digest != before
    elif change == "plan":
        (file.parent / "plan.json").write_text(json.dumps({"runs": {}}))
        assert kept.read(file) is None
    else:
        (file.parent / kept.FILE).write_bytes(gzip.compress(b'{"of": "something else"}'))
        assert render.RecordSet(file).digest == before


def test_a_change_of_the_code_that_makes_the_table_counts(file, monkeypatch):
    render.RecordSet(file)
    assert kept.read(file) is not None
    monkeypatch.setattr(kept, "_rules", lambda: "other code")
    assert kept.read(file) is None


def test_a_table_that_does_not_come_back_is_not_kept(file):
    kept.write(file, pd.DataFrame({"a": [{"number": "nan"}, 1]}), "0")
    assert not (file.parent / kept.FILE).is_file()


def test_a_damaged_record_is_found_although_the_table_of_the_others_is_kept(file):
    render.RecordSet(file)
    text = file.read_text().replace('"status": "ok"', '"status": "odd"', 1)
    file.write_text(text)
    with pytest.raises(frame.InvalidInput):
        render.RecordSet(file)
