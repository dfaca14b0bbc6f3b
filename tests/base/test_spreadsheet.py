"""CSV files hold nothing that a spreadsheet runs, and the numbers that they held."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pytest

from kanbench.base import spreadsheet
from kanbench.pages.table import Cell, Table
from kanbench.records import frame as frames

RUN = (
    "=1+1",
    "+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\t=1",
    "\n=1",
    "-2+3",
    "-cmd",
    "＝1+1",
    '=HYPERLINK("x")',
    "--1",
)
PLAIN = ("MLP", "a=b", "x - y", "", " =1", "1e-3", "-1.5", "-1e-05", "-inf", "5", "≤ 3", "'quoted", "a+b", "–1")


@pytest.mark.parametrize("text", RUN)
def test_what_would_run_is_marked_as_text(text):
    assert spreadsheet.neutral(text) == f"'{text}"


@pytest.mark.parametrize("cell", [*PLAIN, -1.5, -1, None, True, np.float64(-2.0), float("nan")])
def test_everything_else_stays(cell):
    assert spreadsheet.neutral(cell) is cell


@pytest.mark.parametrize("text", ["\r=1", "two\rlines", "two\r\nlines"])
def test_a_carriage_return_makes_no_new_row(text):
    written = spreadsheet.to_csv(pd.DataFrame({"label": [text], "value": [1]}))
    (row,) = list(csv.DictReader(io.StringIO(written, newline="")))
    assert row == {"label": {"\r=1": "'\n=1"}.get(text, "two\nlines"), "value": "1"}


def test_numbers_come_back_as_they_were():
    values = np.random.default_rng(0).standard_normal(50) * 10.0 ** np.arange(-25, 25)
    frame = pd.DataFrame({"label": RUN[:5] * 10, "value": values, "count": np.arange(50) - 25, "=heading": -values})
    text = spreadsheet.to_csv(frame)
    back = pd.read_csv(io.StringIO(text))
    assert back["value"].tolist() == values.tolist()
    assert back["count"].tolist() == frame["count"].tolist()
    assert back["'=heading"].tolist() == (-values).tolist()
    assert frame["label"].tolist() == list(RUN[:5] * 10), "the frame itself is not changed"
    for row in csv.reader(io.StringIO(text)):
        assert not row[0].startswith(spreadsheet.RUN)


def test_columns_of_numbers_and_text_and_equal_headings_are_taken_cell_by_cell():
    frame = pd.DataFrame([["=x", -1, -1.5], [-2, "-y", None]], columns=["a", "a", "b"])
    assert spreadsheet.to_csv(frame).splitlines() == ["a,a,b", "'=x,-1,-1.5", "-2,'-y,"]


def test_tables_are_written_so():
    made = Table(("Method",), ((Cell("=1+1"),),), pd.DataFrame({"label": ["=1+1"], "value": [-0.25]}))
    assert made.to_csv() == "label,value\n'=1+1,-0.25\n"


def test_the_table_of_records_is_written_so(frame, tmp_path):
    frame = frame.assign(label="=2+5", reason="@evil")
    frames.write_csv(frame, tmp_path / "records.csv")
    back = pd.read_csv(tmp_path / "records.csv")
    assert set(back["label"]) == {"'=2+5"}
    assert set(back["reason"]) == {"'@evil"}
    assert back["value"].dropna().tolist() == frames.tidy(frame)["value"].dropna().tolist()
