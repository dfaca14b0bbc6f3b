"""Meta-transfer: heat map, table, claims and answer, from records whose effects are known."""

from __future__ import annotations

import copy

import pytest

from kanbench import answers, claims, recipes, record
from kanbench import frame as frames

TARGETS = {"I.14.3": "product", "I.18.4": "quotient", "I.18.16": "trigonometric"}
SOURCES = ("product", "quotient")
SEEDS = 8
FACTOR = {"frozen": 0.5, "warm": 0.8, "random_frozen": 1.0, None: 1.0}


def spec_of(formula: str, seed: int, adapt: str | None, kind: str | None, method: str = "metakan-relu") -> dict:
    spec = {
        "protocol": 1,
        "configuration": "controlled",
        "dtype": "float32",
        "device": "cpu",
        "task": {"name": "feynman", "settings": {"formula": formula}},
        "method": {"name": method, "baseline": method, "variant": None, "settings": {"hidden_width": 5, "depth": 1}},
        "training": {"steps": 100, "batch_size": None},
        "seed": seed,
    }
    if adapt is not None:
        source = copy.deepcopy(spec)
        source["task"] = {"name": "feynman_family", "settings": {"kind": kind, "members": "kind"}}
        spec["source"] = {"spec": source if kind else None, "adapt": adapt}
    return spec


def run_of(formula: str, seed: int, adapt: str | None = None, kind: str | None = None, **options) -> dict:
    spec = spec_of(formula, seed, adapt, kind, **options)
    found = record.blank(spec, label="MetaKAN", family="function_fitting", metric="rmse", goal="min")
    error = (1 + seed) * FACTOR[adapt]
    metrics = {"step": 100, "train": {"rmse": error}, "validation": {"rmse": error}, "test": {"rmse": error}}
    found["metrics"].update(last=metrics, selected=metrics, legacy_best_on_test={"step": 100, "value": error})
    found["curve"] = [
        {"step": step, "train_loss": None, "validation": error * 2 * 50 / step, "test_legacy": error}
        for step in (25, 50, 100)
    ]
    found["parameters"].update(trainable=30 if adapt in ("frozen", "random_frozen") else 90, total=90, buffers=0)
    found["memory"]["simulated_peak_bytes"] = 2**20
    found["data"] = {"name": formula, "fingerprint": "0", "canonical": True, "kind": TARGETS[formula]}
    return {**found, "experiments": ["E10"]}


@pytest.fixture
def transfer() -> list[dict]:
    runs = []
    for formula in TARGETS:
        for seed in range(SEEDS):
            runs += [run_of(formula, seed), run_of(formula, seed, "random_frozen")]
            runs += [run_of(formula, seed, adapt, kind) for adapt in ("frozen", "warm") for kind in SOURCES]
    return runs


def recipe(name: str):
    return recipes.discover()[name].load()


def test_each_way_is_held_against_its_own_control(transfer):
    shown = recipe("meta_transfer").data(frames.to_frame(transfer))
    assert len(shown) == 2 * len(SOURCES) * len(TARGETS)
    for panel, factor in (("frozen over random and frozen", 0.5), ("warm start over from scratch", 0.8)):
        inside = shown[shown["panel"] == panel]
        assert inside["ratio"].to_numpy() == pytest.approx(factor)
        assert (inside["n_pairs"] == SEEDS).all()
        assert set(inside["interval"]) == {"bootstrap 95 %"}
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


def test_claims_pick_their_sides_by_how_a_run_started(transfer):
    found = {outcome.id: outcome for outcome in answers.outcomes(frames.to_frame(transfer), family="transfer")}
    assert found["transfer-frozen"].estimate == pytest.approx(0.5)
    assert found["transfer-frozen"].n_ok == SEEDS * 3 * len(SOURCES)
    assert found["transfer-warm"].estimate == pytest.approx(0.8)
    shown = recipe("answer_transfer").data(frames.to_frame(transfer))
    assert shown["verdict"].tolist() == ["holds"]
    assert "MetaKAN" not in shown["question"].iloc[0]


def test_without_transfer_runs_there_is_nothing_to_show(transfer):
    scratch = frames.to_frame([run for run in transfer if "source" not in run["spec"]])
    for name in ("meta_transfer", "table_meta_transfer", "answer_transfer"):
        assert recipe(name).data(scratch).empty
    outcomes = claims.evaluate([claim for claim in claims.load() if claim.get("family") == "transfer"], scratch)
    assert {outcome.verdict for outcome in outcomes} == {"no records"}
