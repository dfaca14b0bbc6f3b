"""Which layers share a meta-learner: figure, table, heat map, claims and answer, from records with known effects."""

from __future__ import annotations

import json

import grouping_records
import numpy as np
import pytest
from grouping_records import BLOCKS, DISTANCES, DRAWS, SEEDS, WIDTHS

from kanbench.pages import answers, recipes
from kanbench.records import frame as frames
from kanbench.statistics import partitions
from kanbench.verdicts import claims
from kanbench.verdicts import declared as declarations


@pytest.fixture
def grouped() -> list[dict]:
    return grouping_records.records()


def recipe(name: str):
    return recipes.discover()[name].load()


def test_runs_are_named_by_what_groups_their_layers(grouped):
    found = partitions.described(frames.to_frame(grouped))
    assert set(found["network"]) == {"8 convolutions"}
    sizes = found.groupby("strategy").size().to_dict()
    assert sizes == {
        "one meta-learner": SEEDS,
        "KMeans on widths": 2 * SEEDS,
        "contiguous blocks": 2 * SEEDS,
        "random groups": 2 * SEEDS,
        "KMeans on dense coefficients": SEEDS,
        "one a layer": SEEDS,
        "one, larger hidden layer": SEEDS,
        "one, larger prompts": SEEDS,
    }
    assert set(found[found["strategy"] == "one a layer"]["count"]) == {8}


def test_a_larger_meta_learner_stands_where_more_of_them_have_its_parameters(grouped):
    shown = recipe("clustering_accuracy").data(frames.to_frame(grouped)).set_index(["strategy", "meta_learners"])
    assert shown.loc[("one, larger hidden layer", 1), "place"] == pytest.approx(3.0)
    assert shown.loc[("KMeans on widths", 2), "place"] == 2
    middle = 0.0001 * 4.5
    assert shown.loc[("KMeans on widths", 3), "value"] == pytest.approx(0.90 + middle)
    assert shown.loc[("random groups", 3), "value"] == pytest.approx(0.71 + middle), "the mean of two draws"
    assert set(shown["interval"]) == {"95 %"}
    recipe("clustering_accuracy").draw(shown.reset_index())


def test_the_table_measures_agreement_of_groups(grouped):
    shown = recipe("table_clustering").data(frames.to_frame(grouped))
    rows = shown.set_index(["strategy", "count"])
    assert rows.loc[("KMeans on widths", 3), ["to_widths", "to_oracle", "r"]].tolist() == [1.0, 1.0, 1.0]
    blocks = partitions.adjusted_rand(BLOCKS[3], WIDTHS[3])
    assert 0 < blocks < 1
    assert rows.loc[("contiguous blocks", 3), "to_widths"] == pytest.approx(blocks)
    drawn = [partitions.adjusted_rand(groups, WIDTHS[3]) for groups in DRAWS.values()]
    assert rows.loc[("random groups", 3), "to_widths"] == pytest.approx(np.mean(drawn))
    assert rows.loc[("contiguous blocks", 3), "r"] < 1
    assert rows.loc[("one a layer", 8), ["to_widths", "r"]].isna().all()
    assert rows.loc[("contiguous blocks", 2), ["to_widths"]].notna().all()
    assert np.isnan(rows.loc[("contiguous blocks", 2), "to_oracle"]), "no oracle with two meta-learners was run"
    assert len(recipe("table_clustering").rows(shown).rows) == 10


def test_distances_are_drawn_dense_beside_grouped(grouped):
    shown = recipe("layer_distances").data(frames.to_frame(grouped))
    assert len(shown) == 2 * 64
    dense = shown[shown["kind"] == "dense"].pivot(index="row", columns="column", values="distance").to_numpy()
    assert dense == pytest.approx(DISTANCES)
    assert shown.drop_duplicates("row")["row_group"].tolist() == WIDTHS[3]
    recipe("layer_distances").draw(shown)


def test_claims_hold_each_control_against_kmeans(grouped):
    found = {outcome.id: outcome for outcome in answers.outcomes(frames.to_frame(grouped), family="clustering")}
    # Differences in error: KMeans at C = 3 is 0.90, at C = 2 0.85; a seed's median over its pairs.
    expected = {
        "clustering-random": (0.71 - 0.90, "holds"),
        "clustering-contiguous": ((0.88 - 0.85 + 0.88 - 0.90) / 2, "fails"),
        "clustering-one": (0.80 - 0.875, "holds"),
        "clustering-per-layer": (0.897 - 0.875, "fails"),
        "clustering-larger": (0.60 - 0.90, "holds"),
    }
    assert found.keys() == expected.keys()
    for name, (difference, verdict) in expected.items():
        assert found[name].estimate == pytest.approx(difference), name
        assert found[name].verdict == verdict, name
    assert found["clustering-random"].n_ok == 2 * SEEDS
    assert found["clustering-larger"].n_ok == SEEDS
    shown = recipe("answer_clustering").data(frames.to_frame(grouped))
    assert shown["verdict"].tolist() == ["in part"]
    assert "16 convolutions" not in shown["answer"].iloc[0], "claims without records are left out"


def test_a_failed_run_is_named(grouped):
    for run in grouped:
        if run["spec"]["method"]["settings"].get("clustering") == "contiguous":
            run.update(status="diverged", reason="invented")
            run["metrics"] = {"last": None, "selected": None, "legacy_best_on_test": None}
            run["analyses"] = {}
    frame = frames.to_frame(json.loads(json.dumps(grouped)))
    shown = recipe("clustering_accuracy").data(frame)
    recipe("clustering_accuracy").draw(shown)
    rows = recipe("table_clustering").data(frame).set_index("strategy")
    assert set(rows.loc["contiguous blocks", "seeds"]) == {f"0 / {SEEDS} ({SEEDS} diverged)"}
    assert set(rows.loc["contiguous blocks", "value_text"]) == {"no ok run"}


def test_without_grouped_runs_there_is_nothing_to_show(grouped):
    dense = frames.to_frame([run for run in grouped if run["spec"]["method"]["name"] == "conv_kan-bspline"])
    for name in ("clustering_accuracy", "table_clustering", "layer_distances", "answer_clustering"):
        assert recipe(name).data(dense).empty
    declared = declarations.load(recipes.claims_file())
    outcomes = claims.evaluate([claim for claim in declared if claim.get("family") == "clustering"], dense)
    assert {outcome.verdict for outcome in outcomes} == {"no records"}
