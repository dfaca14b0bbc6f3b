"""The invented record set of these tests, and the option that rewrites the golden files."""

from __future__ import annotations

import copy
import difflib
import json
from pathlib import Path

import grouping_records
import paper_records
import pytest
import question_records

from kanbench.base.spec import run_name
from kanbench.records import frame as frames
from kanbench.records import record

RECORDS = Path(__file__).with_name("records.jsonl")
GOLDEN = RECORDS.parent / "golden"


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/invented/golden and print the difference"
    )


def write_set(records: list[dict], file: Path) -> Path:
    """Write invented records as a record set, each with its name and its seal; return the file."""
    code = {"commit": None, "dirty": None, "digest": "0" * 64}
    named = ({**entry, "run": run_name(entry["spec"]), "code": entry.get("code") or code} for entry in records)
    file.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in map(record.sealed, named)))
    return file


@pytest.fixture(scope="session")
def committed():
    """The committed records; not to be changed."""
    return frames.read_records(RECORDS)


@pytest.fixture
def records(committed) -> list[dict]:
    """The records, free to be changed."""
    return copy.deepcopy(committed)


@pytest.fixture(scope="session")
def frame(committed):
    """The records frame; not to be changed."""
    return frames.to_frame(copy.deepcopy(committed))


@pytest.fixture(scope="session")
def everything(committed):
    """The records frame with the sweeps of the paper and the open questions; not to be changed."""
    invented = [*paper_records.records(), *question_records.records(), *grouping_records.records()]
    return frames.to_frame([*copy.deepcopy(committed), *invented])


@pytest.fixture
def golden(request):
    """Compare a text with tests/invented/golden/<name>, or rewrite that file."""

    def _compare(name: str, text: str) -> None:
        file = GOLDEN / name
        expected = file.read_text(encoding="utf-8") if file.is_file() else ""
        difference = "".join(
            difflib.unified_diff(expected.splitlines(True), text.splitlines(True), "golden", "now", n=0)
        )
        if request.config.getoption("--update-golden", default=False):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(difference)
            return
        hint = "where the change is meant: pytest tests/pages --update-golden"
        assert not difference, f"{name} has changed; {hint}\n{difference[:2000]}"

    return _compare
