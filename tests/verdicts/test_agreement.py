"""Whether one record set repeats another, on invented records."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

from kanbench.base.spec import run_name
from kanbench.pages import compare, repeated
from kanbench.records import frame
from kanbench.verdicts import agreement, same_verdicts
from kanbench.verdicts.outcome import Outcome


def rows(records):
    return compare.keyed(frame.to_frame(copy.deepcopy(records)), records)


def repeats(records: list[dict], seeds: range, factor: float = 1.0) -> list[dict]:
    """Return runs of the fitted functions with a log-normal error of their cell, at other seeds."""
    first = {
        agreement.replicates(r["spec"]): r for r in records if r["family"] == "function_fitting" and r["status"] == "ok"
    }
    found = []
    for key, record in first.items():
        for seed in seeds:
            spec = {**record["spec"], "seed": seed}
            rng = np.random.default_rng(list(f"{key} {seed}".encode()))
            value = 0.05 * factor * float(np.exp(rng.normal(0, 0.2)))
            selected = copy.deepcopy(record["metrics"]["selected"])
            selected["test"][record["metric"]] = value
            metrics = {**record["metrics"], "selected": selected}
            found.append({**record, "spec": spec, "run": run_name(spec), "metrics": metrics})
    return found


@pytest.fixture(scope="module")
def published(committed):
    return repeats(committed, range(5))


def test_cells_of_one_distribution_lie_inside_as_often_as_they_should(committed, published):
    found = agreement.compare(rows(repeats(committed, range(10, 13))), rows(published))
    assert len(found.judged) == len(found.cells) > 30
    assert found.inside >= found.least
    assert found.expected == pytest.approx(0.95 * len(found.cells))
    assert not found.methods["shifted"].any()
    assert not found.cells["far"].any()
    assert found.runs.empty


def test_a_shift_of_one_method_shows_although_few_of_its_cells_do(committed, published):
    alone = [record for record in published if record["spec"]["method"]["name"] == "mlp"]
    mine = [r for r in repeats(committed, range(10, 13), factor=1.8) if r["spec"]["method"]["name"] == "mlp"]
    found = agreement.compare(rows(mine), rows(alone))
    (method,) = found.methods.itertuples()
    assert method.shifted
    assert method.ratio == pytest.approx(1.8, rel=0.2)
    assert found.cells["inside"].any()
    assert not found.cells["far"].any()


def test_equal_runs_are_counted_and_unequal_ones_measured(published):
    mine = copy.deepcopy(published[:20])
    mine[0]["metrics"]["selected"]["test"][mine[0]["metric"]] *= 1.01
    found = agreement.compare(rows(mine), rows(published))
    assert len(found.runs) == 20
    assert found.runs["equal"].sum() == 19
    assert found.runs["relative"].max() == pytest.approx(0.01 / 1.01)


def test_other_counts_and_other_data_are_named(published):
    mine = copy.deepcopy(published[:10])
    mine[0]["parameters"]["trainable"] += 1
    for record in mine:
        record["data"] = {**record["data"], "fingerprint": "1" * 64}
    found = agreement.compare(rows(mine), rows(published))
    assert (found.cells["parameters"] == False).sum() == 1  # noqa: E712 - null is not false
    assert not found.data["equal"].any()


def test_failed_runs_count_and_one_published_seed_predicts_nothing(published):
    record = copy.deepcopy(published[0])
    lost = {**record, "status": "diverged", "metrics": dict.fromkeys(record["metrics"])}
    found = agreement.compare(rows([lost]), rows([r for r in published if r["spec"] == record["spec"]]))
    (cell,) = found.cells.itertuples()
    assert np.isnan(cell.inside) if cell.inside is not None else True
    assert cell.value == np.inf
    all_seeds = agreement.compare(rows([lost]), rows(published)).cells
    assert list(all_seeds["inside"]) == [False]


def outcome(name: str, verdict: str, estimate: float | None) -> Outcome:
    estimate = math.nan if estimate is None else estimate
    blank = dict.fromkeys(("source", "claimed", "family", "kind"), "")
    return Outcome(id=name, statement=name, experiments=("E1",), verdict=verdict, estimate=estimate, **blank)


PAIRED = {"kind": "paired_ratio", "margin": 0.1}


@pytest.mark.parametrize(
    ("mine", "published", "expected"),
    [
        (("holds", 0.9), ("holds", 0.8), same_verdicts.SAME),
        (("holds", 0.9), ("fails", 1.8), same_verdicts.CONTRARY),
        (("in part", 0.9), ("fails", 1.8), same_verdicts.PARTLY),
        (("undecided", 1.5), ("fails", 1.8), same_verdicts.SAME_SIDE),
        (("undecided", 0.7), ("fails", 1.8), same_verdicts.OTHER_SIDE),
        (("undecided", 0.98), ("holds", 1.02), same_verdicts.SAME_SIDE),
        (("undecided", 0.7), ("undecided", 1.8), same_verdicts.OPEN),
        (("no records", None), ("fails", 1.8), same_verdicts.NOT_HERE),
        (("fails", 1.2), ("no records", None), same_verdicts.NOT_THERE),
        (("undecided", math.inf), ("fails", 1.8), same_verdicts.SAME_SIDE),
    ],
)
def test_verdicts_are_compared_by_what_they_say_else_by_their_side(mine, published, expected):
    claims = [{"id": "a", "criterion": PAIRED}]
    found = same_verdicts.compare([outcome("a", *mine)], [outcome("a", *published)], claims)
    assert list(found["agreement"]) == [expected]


def test_a_repeated_run_is_equal_or_within_the_spread_or_neither(published):
    known = rows(published)
    same, near, far, other = copy.deepcopy([published[0], published[5], published[10], published[15]])
    for record, factor in ((near, 1.05), (far, 50.0)):
        record["metrics"]["selected"]["test"][record["metric"]] *= factor
    other["parameters"]["trainable"] += 1
    found = repeated.of("set", [same, near, far], known)
    outcomes = dict(zip(found.rows["run"], found.rows["outcome"], strict=True))
    assert [outcomes[r["run"]] for r in (same, near, far)] == [repeated.EQUAL, repeated.SPREAD, repeated.OUTSIDE]
    assert not repeated.of("set", [same, other], known).agrees
    assert repeated.of("set", [same, near], known).agrees
    assert "published numbers" in repeated.of("set", [same, near], known).line
