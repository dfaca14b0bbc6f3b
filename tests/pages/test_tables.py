"""Tables in their three formats, and how runs become cells."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import subprocess

import pandas as pd
import paper_records
import pytest
from record_fixtures import RECORDS, write_set

from kanbench.pages import cells, latex, recipes, render, style, table
from kanbench.pages.table import Cell, Table
from kanbench.records import frame as frames


@pytest.fixture(scope="module")
def record_set():
    return render.RecordSet(RECORDS)


@pytest.fixture(scope="module")
def tables(record_set):
    known = recipes.discover().values()
    return {recipe.name: render.make_table(recipe, record_set) for recipe in known if recipe.kind == "table"}


@pytest.mark.parametrize("name", ["summary", "parameters_and_memory", "table2_function_fitting", "table_pde"])
def test_golden(tables, golden, name):
    golden(f"{name}.csv", tables[name].to_csv())
    golden(f"{name}.md", tables[name].to_markdown())
    golden(f"{name}.tex", tables[name].to_latex())


def test_golden_of_the_convolutions(golden, tmp_path):
    file = write_set(paper_records.records(), tmp_path / "records.jsonl")
    made = render.make_table(recipes.discover()["table3_convolution"], render.RecordSet(file))
    assert len(made.rows) > 10
    golden("table3_convolution.csv", made.to_csv())
    golden("table3_convolution.md", made.to_markdown())
    golden("table3_convolution.tex", made.to_latex())


def test_every_planned_run_is_behind_a_cell_of_the_summary(tables, record_set):
    behind = {run for row in tables["summary"].rows for cell in row for run in cell.runs}
    assert behind == set(record_set.frame["run"])


def test_no_cell_is_empty_or_a_dash(tables):
    for made in tables.values():
        for row in made.rows:
            for cell in row:
                assert cell.text.strip() not in ("", "-", "–", "nan", "NaN", "None"), row


def test_a_cell_without_an_ok_run_shows_what_became_of_its_runs(tables):
    markdown = tables["summary"].to_markdown()
    block = markdown.partition("**Task: feynman I.6.20b**")[2].partition("**Task")[0]
    row = next(line for line in block.splitlines() if "0 / 2" in line)
    assert "| absent |" in row
    assert "0 / 2 (2 absent)" in row
    assert "1 / 2 (1 diverged)" in markdown
    assert "1 / 2 (1 timed out)" in markdown


def test_floors_are_rows_and_a_method_that_loses_to_one_is_told(tables):
    data = tables["summary"].data.set_index("label")
    assert data.loc["floor: affine fit", "median"] == 0.06
    poisson = data[data["task"] == "poisson dimension=4"]
    assert poisson.loc["MLP", "floors"] == "not affine fit"
    assert poisson.loc["MetaKAN (ReLU)", "floors"] == "beats all"


def test_ratios_are_those_of_the_counts(tables):
    row = tables["parameters_and_memory"].data.set_index(["task", "method"]).loc[("digits", "metakan-relu")]
    assert row["parameters"] == 2729
    assert row["parameters_to_mlp"] == pytest.approx(2729 / 2410)
    assert row["parameters_to_efficient_kan"] == pytest.approx(2729 / 23680)


def test_the_formats_say_the_same_and_how_to_cite(tables, record_set):
    made = tables["summary"]
    records = list(csv.DictReader(io.StringIO(made.to_csv())))
    latex, markdown = made.to_latex(), made.to_markdown()
    assert len(records) == len(made.rows) == markdown.count("\n| ") - 2 * markdown.count("\n| :---")
    assert latex.count(r"\\") >= len(made.rows)
    for text in (latex, markdown):
        assert record_set.digest[:12] in text
    assert all(
        command in latex for command in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{", r"\label{tab:summary}")
    )
    assert r"\begin{longtable}" in latex
    assert r"\begin{tabular}" in tables["parameters_and_memory"].to_latex()


def test_latex_is_escaped_and_balanced(tables):
    assert latex.escape("50 % of a_b & c^2 {x} ~ \\") == (
        r"50 \% of a\_b \& c\textasciicircum{}2 \{x\} \textasciitilde{} \textbackslash{}"
    )
    for made in tables.values():
        body = re.sub(r"\\[{}]", "", "\n".join(made.to_latex().splitlines()[2:]))
        assert body.count("{") == body.count("}")


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="1 cells under 2 columns"):
        Table(("a", "b"), ((Cell("x"),),), pd.DataFrame())


def test_spread_is_a_range_below_six_seeds_and_an_interval_from_there_on():
    assert table.spread([3.0], "p") == (3.0, 3.0, 3.0, "single run")
    assert table.spread([1.0, 2.0, 9.0, math.nan], "p") == (2.0, 1.0, 9.0, "range")
    middle, low, high, kind = table.spread([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "p")
    assert (middle, low, high, kind) == (3.5, 1.0, 6.0, "95 %")
    assert table.spread([], "p")[3] == "no run"
    assert table.spread_text(2.0, 1.0, 9.0, "range") == "2.00 (1.00 to 9.00)"
    assert table.spread_text(2.0, 1.0, 9.0, "95 %") == "2.00 [1.00, 9.00]"


def test_status_text_counts_every_status():
    assert table.status_text(["ok", "ok"]) == "2 / 2"
    assert table.status_text(["ok", "out_of_memory", "diverged", "diverged"]) == "1 / 4 (2 diverged, 1 out of memory)"


def test_data_that_are_not_canonical_are_marked(records):
    for record in records:
        if record["data"] and record["data"]["name"] == "digits":
            record["data"]["canonical"] = False
    recipe = recipes.discover()["summary"]
    module = recipe.load()
    made = module.rows(module.data(frames.to_frame(records)))
    assert "digits †" in {row[0].text for row in made.rows}
    assert made.notes


def test_comparisons_join_methods_without_a_grid_to_every_grid(frame):
    rows = table.comparisons(frame[frame["task"] == "feynman I.6.20b"])
    mlp = rows[rows["method"] == "mlp"]
    assert len(mlp["comparison"].unique()) == 3
    assert rows.loc[rows["method"] != "mlp", "run"].is_unique
    best = table.representative(table.comparisons(frame), by="task")
    assert set(best[best["task"] == "digits"]["method"]) == set(frame[frame["task"] == "digits"]["method"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.0123"),
        (98.449, "98.4"),
        (0.00001234, "1.23e-05"),
        (25408, "25,408"),
        (0, "0"),
        (9.996, "10.0"),
        (1234.5, "1234"),
        (math.nan, "not measured"),
        (math.inf, "infinite"),
        (-0.5, "-0.500"),
    ],
)
def test_numbers_have_three_significant_digits(value, text):
    assert style.number(value) == text


def test_units():
    assert style.mebibytes(3 * 2**20) == "3.00"
    assert style.milliseconds(0.0025) == "2.50"
    assert [style.count(n) for n in (361, 25769, 3_494_958)] == ["361", "25.8 k", "3.49 M"]
    assert style.exact(254080) == "254,080"
    assert [style.short(v) for v in (0.02, 5, 2000, 1e-6)] == ["0.02", "5", "2 k", "1e-6"]


def drawn(**options) -> Table:
    rows = (("a", "1.5 [1, 2]", 1.5), ("b", "1.2 (1 to 2)", 1.2), ("floor: c", "0.1", 0.1))
    data = pd.DataFrame({"label": [row[0] for row in rows], "median": [row[2] for row in rows], "task": "t_1"})
    body = tuple((Cell("t_1"), Cell(label), Cell(text, sort=value)) for label, text, value in rows)
    return Table(("Task", "Method", "RMSE"), body, data, frozenset({"RMSE"}), name="x", title="T", **options)


def test_the_best_value_of_a_group_is_bold_and_a_floor_is_not():
    made = cells.emphasised(drawn(), "RMSE", ["task"])
    assert [[cell.strong for cell in row] for row in made.rows] == [[False] * 3, [False, False, True], [False] * 3]
    assert "| **1.2 (1 to 2)** |" in made.to_markdown()
    assert r"\textbf{1.2 (1 to 2)}" in made.to_latex()
    assert made.notes == (cells.BOLD,)
    assert cells.emphasised(drawn(), "RMSE", ["task"], "max").rows[0][2].strong
    alone = cells.emphasised(drawn(), "RMSE", ["label"])
    assert not any(cell.strong for row in alone.rows for cell in row), "nothing to be compared with"
    assert alone.notes == ()


def test_notes_stand_below_the_table_and_not_in_the_caption():
    latex = drawn(caption="What is shown.", notes=("50 % note.",), citation="Cite me").to_latex()
    caption = latex.partition(r"\caption{")[2].partition("}")[0]
    assert caption == "T. What is shown."
    assert (
        latex.index(r"\end{tabular}")
        < latex.index(r"50 \% note. ")
        < latex.rindex("Cite me")
        < latex.index(r"\end{table}")
    )


def test_rows_that_are_shown_to_be_worse_are_marked():
    by_seed = {
        "best": " ".join(f"{seed}={1 + 0.01 * seed}" for seed in range(8)),
        "worse": " ".join(f"{seed}={1.5 + 0.01 * seed}" for seed in range(8)),
        "alike": " ".join(f"{seed}={1 + 0.02 * (seed % 3)}" for seed in range(8)),
        "few": " ".join(f"{seed}={9}" for seed in range(5)),
    }
    data = pd.DataFrame(
        {"label": list(by_seed), "median": [1.03, 1.53, 1.04, 9.0], "task": "t", "by_seed": by_seed.values()}
    )
    rows = tuple((Cell(label), Cell("value")) for label in by_seed)
    made = cells.emphasised(Table(("Method", "RMSE"), rows, data), "RMSE", ["task"])
    marked = [row[0].text for row in made.rows if row[1].text.endswith(cells.MARK)]
    assert marked == ["worse"], "a difference that is not shown, and five seeds, mark nothing"
    assert made.notes == (cells.BOLD, cells.WORSE)
    better = cells.emphasised(Table(("Method", "RMSE"), rows, data), "RMSE", ["task"], "max")
    assert [row[1].strong for row in better.rows] == [False, False, False, True]
    assert not any(row[1].text.endswith(cells.MARK) for row in better.rows), "five seeds in common"


def test_a_wide_table_is_split_at_leading_columns_that_repeat_themselves():
    columns = ("Task", "Grid", "Method", "A", "B", "C", "D", "E")
    rows = tuple(tuple(map(Cell, (task, "5", method, *method * 5))) for task in "tu" for method in "mno")
    text = Table(columns, rows, pd.DataFrame({"a": range(6)})).to_markdown()
    assert text.count("| Method | A | B | C | D | E |") == 2
    assert text.index("**Task: t, Grid: 5**") < text.index("**Task: u, Grid: 5**")
    mixed = Table(columns, (rows[0], rows[3], rows[1], rows[4]), pd.DataFrame({"a": range(4)})).to_markdown()
    assert "**Task" not in mixed, "runs of one row are no blocks"


def test_brackets_are_explained_where_there_are_any():
    made = Table(("A", "B"), ((Cell("1.0 [0.5, 2e-05]"), Cell("x")),), pd.DataFrame({"a": [1]}))
    assert made.below == ("[a, b]: 95 % interval of the median.",)
    assert "(a to b)" in drawn().below[-1]
    assert Table(("A",), ((Cell("from 1 to 2 (one)"),),), pd.DataFrame({"a": [1]})).below == ()


def test_a_long_wide_table_stays_on_the_page():
    rows = tuple(tuple(Cell("some words to read " * 3) for _ in range(6)) for _ in range(50))
    text = Table(tuple("ABCDEF"), rows, pd.DataFrame({"a": range(50)}), frozenset("A")).to_latex()
    widths = [float(each) for each in re.findall(r"p\{([0-9.]+)\\linewidth\}", text)]
    assert len(widths) == 6
    assert sum(widths) + 6 * latex.GAP == pytest.approx(1, abs=0.01)


def test_a_wide_table_says_once_what_is_the_same_in_all_rows():
    columns = ("Task", "Method", "Batch", "Grid", "A", "B", "C")
    rows = tuple(tuple(Cell(text) for text in ("t", "m", "128", grid, "1", "2", "3")) for grid in ("5", "20"))
    text = Table(columns, rows, pd.DataFrame({"a": [1, 2]})).to_markdown()
    assert "| Task | Method | Grid |\n" in text
    assert "*In all rows: Batch: 128; A: 1; B: 2; C: 3.*" in text
    narrow = Table(columns[:4], tuple(row[:4] for row in rows), pd.DataFrame({"a": [1, 2]})).to_markdown()
    assert "| Task | Method | Batch | Grid |\n" in narrow, "a narrow one shows all"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tables, tmp_path):
    packages = r"\usepackage{booktabs,graphicx,longtable}" + "\n" + r"\usepackage[utf8]{inputenc}"
    body = "\n\\clearpage\n".join(
        made.to_latex() for made in (*tables.values(), cells.emphasised(drawn(), "RMSE", ["task"]))
    )
    source = tmp_path / "tables.tex"
    head = r"\documentclass{article}" + f"\n{packages}\n" + r"\begin{document}" + "\n"
    source.write_text(f"{head}{body}\n\\end{{document}}\n", encoding="utf-8")
    line = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", source.name]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]


def test_latex_holds_no_letter_that_it_cannot_print(tables):
    for made in tables.values():
        odd = {letter for letter in made.to_latex() if ord(letter) > 255}
        assert not odd, f"{made.name}: {odd}"
