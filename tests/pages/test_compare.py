"""The page that says whether a second run agrees."""

from __future__ import annotations

import copy
import json

import pytest
from record_fixtures import RECORDS, write_set

from kanbench.base.errors import InvalidInput
from kanbench.cli.parser import main
from kanbench.pages import compare, render, report


@pytest.fixture(scope="module", autouse=True)
def judged_once():
    """Verdicts on one record set are computed once for all tests of this file."""
    known: dict[str, list] = {}
    evaluated = render.evaluated

    def once(record_set, declared=None):
        if record_set.digest not in known:
            known[record_set.digest] = evaluated(record_set, declared)
        return known[record_set.digest]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "evaluated", once)
        yield


@pytest.fixture(scope="module")
def second(committed, tmp_path_factory):
    """The same records from another processor, with other parameters in the cells of one method."""
    folder = tmp_path_factory.mktemp("second")
    records = copy.deepcopy(committed)
    for record in records:
        if record["environment"]:
            record["environment"] = {**record["environment"], "cpu": "Another processor"}
        if record["spec"]["method"]["name"] == "mlp" and record["family"] == "pde":
            record["parameters"] = {**record["parameters"], "trainable": record["parameters"]["trainable"] + 7}
    write_set(records, folder / "records.jsonl")
    return folder


@pytest.fixture(scope="module")
def compared(second):
    return compare.of(second, RECORDS.parent)


def test_the_line_says_what_agrees_and_what_does_not(compared):
    assert not compared.agrees
    assert len(compared.problems) == 1
    assert compared.problems[0].startswith("other parameter counts in ")
    assert compared.problems[0].endswith("(MLP)")
    assert "machines differ in processor" in compared.line
    assert compared.found.runs["equal"].all()
    assert set(compared.verdicts["agreement"]) <= {"same verdict", "open on both", "not measured here", "not published"}


def test_the_files_are_written_and_are_the_same_again(compared, tmp_path):
    first = [path.read_bytes() for path in compare.write(compared, tmp_path)]
    assert first == [path.read_bytes() for path in compare.write(compared, tmp_path)]
    page = (tmp_path / "compare.md").read_text(encoding="utf-8")
    assert page.splitlines()[2] == compared.line, "`make reproduce` prints the third line"
    summary = json.loads((tmp_path / "compare.json").read_text(encoding="utf-8"))
    assert summary["cells"] == len(compared.found.cells)
    assert summary["agrees"] is False
    processor = next(row for row in summary["machines"] if row["what"] == "processor")
    assert processor["mine"].startswith("Another processor (")


def test_what_lies_outside_stands_first(compared):
    made = compare.cell_table(compared)
    inside = [row[made.columns.index("Inside")].text for row in made.rows]
    assert inside == sorted(inside, key=lambda text: text != "no")


def test_the_verb_prints_the_line_last(second, capsys):
    assert main(["compare", str(second), str(RECORDS.parent)]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1].startswith(f"{second.name} against ")


def test_a_set_is_not_compared_with_itself(second):
    with pytest.raises(InvalidInput, match="two record sets"):
        compare.of(second, second)


def test_one_set_alone_and_a_sample_of_two_are_refused(second, capsys):
    assert main(["compare", str(second)]) == 1
    assert main(["compare", str(second), str(RECORDS.parent), "--sample", "3"]) == 1
    assert main(["compare", str(second), "--sample", "0"]) == 1
    assert "at least 1 run of one set" in capsys.readouterr().err


def test_cells_are_looked_up_in_the_sets_of_further_studies_too(committed, second, tmp_path):
    (tmp_path / "laptop").mkdir()
    mine = [r for r in committed if r["family"] == "pde"]
    write_set(copy.deepcopy([r for r in committed if r["family"] == "classification"]), tmp_path / "records.jsonl")
    plain = compare.of(second, tmp_path)
    write_set(copy.deepcopy(mine), tmp_path / "laptop/records.jsonl")
    (tmp_path / "laptop/records.jsonl").rename(tmp_path / "laptop/records.jsonl.gz.txt")
    assert set(plain.found.cells["family"]) == {"classification"}
    import gzip

    text = (tmp_path / "laptop/records.jsonl.gz.txt").read_bytes()
    (tmp_path / "laptop/records.jsonl.gz").write_bytes(gzip.compress(text))
    assert {"classification", "pde"} <= set(compare.of(second, tmp_path).found.cells["family"])


def test_the_report_has_a_section(second, tmp_path, monkeypatch):
    monkeypatch.setattr(
        report, "_figure", lambda *arguments: {"category": "x", "size": (1, 1), **dict.fromkeys(FIGURE, "")}
    )
    monkeypatch.setattr(report, "_table", lambda *arguments: report.empty("nothing"))
    path = report.report(second, tmp_path / "report.html", published=RECORDS.parent)
    text = path.read_text(encoding="utf-8")
    assert 'id="compared"' in text
    assert "Does a second run agree?" in text
    assert 'id="compared"' not in report.report(second, path).read_text(encoding="utf-8")


FIGURE = ("wide", "name", "title", "caption", "image", "csv")
