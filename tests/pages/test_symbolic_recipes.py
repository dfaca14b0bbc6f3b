"""Tables, figures and the answer about symbolic fidelity, from invented records."""

from __future__ import annotations

import copy
import math

import pandas as pd
import pytest
from question_records import FORMULAS, NOTHING, alike, symbolic, worse
from record_fixtures import write_set

from kanbench.pages import recipes, render
from kanbench.records import frame as frames
from kanbench.records import symbolic_runs as runs


@pytest.fixture
def read():
    def _read(name, records):
        recipe = recipes.discover()[name]
        module = recipe.load()
        shown = module.data(frames.of_experiments(frames.to_frame(copy.deepcopy(records)), recipe.experiments))
        return module, shown

    return _read


def test_the_table_counts_recovery_and_agreement_over_seeds(read):
    records = symbolic(alike)
    records[0]["analyses"]["symbolic"]["isolated"] = NOTHING
    records[1]["status"], records[1]["reason"] = "diverged", "not finite"
    module, shown = read("table_symbolic", records)
    assert len(shown) == 2 * 2 * 2
    first = shown[(shown["label"] == "KAN, recomputed") & (shown["noise"] == 0) & (shown["way"] == "isolated")].iloc[0]
    assert (first["exact"], first["n_analysed"], first["n_planned"]) == (4, 7, 8)
    assert (first["same_formula"], first["commonest"]) == (4, "x1*x2")
    assert first["status"] == "7 / 8 (1 diverged)"
    assert first["reasons"] == "prune: no edge is left"
    # Scores 0, 0.902 to 0.907: the median of seven is the fourth.
    assert first["unexplained_truth"] == pytest.approx(1 - 0.904)
    table = module.rows(shown)
    texts = [cell.text for cell in table.rows[list(shown.index).index(first.name)]]
    assert texts[:7] == ["product", "0", "KAN, recomputed", "edge by edge", "4 / 7", "4 / 7", "0 / 7"]
    assert "6 to 3" in texts


def test_the_figure_shows_medians_by_noise_and_way(read):
    module, shown = read("symbolic_fidelity", symbolic(alike))
    point = shown[(shown["way"] == "in_context") & (shown["measure"] == "operations") & (shown["noise"] == 0.1)]
    assert point["median"].tolist() == [3.0, 3.0]
    point = shown[(shown["way"] == "isolated") & (shown["measure"] == "unexplained_truth") & (shown["noise"] == 0.1)]
    assert point["median"].tolist() == pytest.approx([0.1065, 0.1065])
    assert len(module.draw(shown).axes) == 6


def test_edges_are_drawn_with_their_symbols(read):
    module, shown = read("symbolic_edges", symbolic(alike))
    assert set(shown["edge"]) == {"1:2-1"}
    assert shown.groupby("label").size().tolist() == [3, 3]
    titles = [axes.get_title() for axes in module.draw(shown).axes]
    assert titles == ["edge 1:2-1: x^2 (0.9987)"] * 2
    bare = symbolic(alike)
    for entry in bare:
        entry["analyses"]["symbolic"]["curves"] = []
    assert read("symbolic_edges", bare)[1].empty


def test_the_answer_turns_with_the_records(read):
    _, held = read("answer_symbolic", symbolic(alike, FORMULAS, seeds=2))
    assert held["verdict"].tolist() == ["holds"]
    assert held["answer"].iloc[0].startswith("No: the formulas read off MetaKAN are not worse")
    assert "KAN, recomputed 32 of 32 (100 %" in held["answer"].iloc[0]
    _, lost = read("answer_symbolic", symbolic(worse, FORMULAS, seeds=2))
    assert lost["verdict"].iloc[0] == "in part"  # the formulas chosen by the network's loss are equally good
    assert "MetaKAN (ReLU) 0 of 32 (0 %" in lost["answer"].iloc[0]
    assert "0 pairs gained and 32 lost of 32" in lost["answer"].iloc[0]
    one = symbolic(worse)  # eight seeds of one formula say nothing about formulas
    assert read("answer_symbolic", one)[1]["verdict"].tolist() == ["undecided"]


def test_without_the_experiment_the_recipes_name_it(tmp_path, records):
    write_set(records, tmp_path / "records.jsonl")
    for name in ("table_symbolic", "answer_symbolic"):
        csv, *_ = render.render(name, tmp_path / "records.jsonl", tmp_path)
        assert "E12" in csv.read_text()
    for name in ("symbolic_fidelity", "symbolic_edges"):
        assert all(path.is_file() for path in render.render(name, tmp_path / "records.jsonl", tmp_path))


def test_runs_without_the_analysis_stay_in_the_count(read):
    records = symbolic(alike)
    skipped = records[0]["analyses"]["symbolic"] = {"status": "skipped", "reason": "no to_pykan", "curve": []}
    rows = runs.readings(frames.to_frame(records))
    assert len(rows) == 2 * len(records)
    one = rows[rows["run"] == records[0]["run"]]
    assert not one["analysed"].any()
    assert one["exact"].isna().all()
    assert skipped["reason"] == "no to_pykan"
    assert runs.readings(pd.DataFrame({"run": ["a"]})).empty
    assert math.isnan(one["unexplained_truth"].iloc[0])
