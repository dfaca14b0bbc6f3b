"""Meta-transfer: heat map, table, claims and answer, from records whose effects are known."""

from __future__ import annotations

import pytest
import question_records
from question_records import EIGHT, SEEDS, SOURCES, TARGETS

from kanbench.pages import answers, recipes
from kanbench.records import frame as frames
from kanbench.verdicts import claims
from kanbench.verdicts import declared as declarations


@pytest.fixture
def transfer() -> list[dict]:
    return question_records.transfer()


def recipe(name: str):
    return recipes.discover()[name].load()


def test_each_way_is_held_against_its_own_control(transfer):
    shown = recipe("meta_transfer").data(frames.to_frame(transfer))
    assert len(shown) == 2 * len(SOURCES) * len(TARGETS)
    for panel, factor in (("frozen over random and frozen", 0.5), ("warm start over from scratch", 0.8)):
        inside = shown[shown["panel"] == panel]
        assert inside["ratio"].to_numpy() == pytest.approx(factor)
        assert (inside["n_pairs"] == SEEDS).all()
        assert set(inside["interval"]) == {"95 %"}
    recipe("meta_transfer").draw(shown)


def test_a_pair_without_a_source_run_is_named_and_not_invented(transfer):
    missing = [
        run
        for run in transfer
        if not (run["spec"].get("source", {}).get("spec") and run["spec"]["task"]["settings"]["formula"] == "I.14.3")
    ]
    shown = recipe("meta_transfer").data(frames.to_frame(missing))
    assert "product" not in set(shown["target"])
    lonely = [run for run in transfer if run["spec"].get("source", {}).get("adapt") != "random_frozen"]
    shown = recipe("meta_transfer").data(frames.to_frame(lonely))
    assert (shown[shown["panel"].str.startswith("frozen")]["n_pairs"] == 0).all()
    recipe("meta_transfer").draw(shown)


def test_the_table_counts_steps_to_what_scratch_ends_with(transfer):
    shown = recipe("table_meta_transfer").data(frames.to_frame(transfer)).set_index(["task", "way"])
    # Scratch ends at its error; a curve of factor f times error reaches it at step 100 f, rounded up to an evaluation.
    for way, factor, steps, trained in (
        ("from scratch", 1.0, 100, 90),
        ("pretrained, frozen", 0.5, 50, 30),
        ("pretrained start", 0.8, 100, 90),
        ("random, frozen", 1.0, 100, 30),
    ):
        for formula in TARGETS:
            row = shown.loc[(f"feynman {formula}", way)]
            assert row["ratio"] == pytest.approx(factor)
            assert (row["steps"], row["parameters"]) == (steps, trained)
    made = recipe("table_meta_transfer").rows(shown.reset_index())
    assert len(made.rows) == len(TARGETS) * 4


def test_claims_pick_their_sides_by_how_a_run_started():
    frame = frames.to_frame(question_records.transfer(EIGHT, seeds=2))
    found = {outcome.id: outcome for outcome in answers.outcomes(frame, family="transfer")}
    assert found["transfer-frozen"].estimate == pytest.approx(0.5)
    assert found["transfer-frozen"].n_ok == 2 * len(EIGHT) * len(SOURCES)
    assert found["transfer-warm"].estimate == pytest.approx(0.8)
    assert found["transfer-steps"].estimate == pytest.approx(1.0)  # both get there at the last evaluation
    verdicts = {name: outcome.verdict for name, outcome in found.items()}
    assert verdicts == {"transfer-frozen": "holds", "transfer-warm": "holds", "transfer-steps": "fails"}
    shown = recipe("answer_transfer").data(frame)
    assert shown["verdict"].tolist() == ["in part"]
    assert "MetaKAN" not in shown["question"].iloc[0]


def test_without_transfer_runs_there_is_nothing_to_show(transfer):
    scratch = frames.to_frame([run for run in transfer if "source" not in run["spec"]])
    for name in ("meta_transfer", "table_meta_transfer", "answer_transfer"):
        assert recipe(name).data(scratch).empty
    declared = declarations.load(recipes.claims_file())
    outcomes = claims.evaluate([claim for claim in declared if claim.get("family") == "transfer"], scratch)
    assert {outcome.verdict for outcome in outcomes} == {"no records"}
