"""Verdicts follow from the records, and from nothing else."""

from __future__ import annotations

import copy
import json
import math

import pytest
import yaml

from kanbench.base.errors import InvalidInput
from kanbench.pages import recipes
from kanbench.records import frame as frames
from kanbench.verdicts import claims
from kanbench.verdicts import declared as declarations


def evaluated(records) -> dict[str, claims.Outcome]:
    declared = declarations.load(recipes.claims_file())
    return {outcome.id: outcome for outcome in claims.evaluate(declared, frames.to_frame(records))}


@pytest.fixture(scope="module")
def outcomes(committed):
    return evaluated(copy.deepcopy(committed))


def test_every_claim_of_the_file_has_an_outcome(outcomes):
    declared = declarations.load(recipes.claims_file())
    assert list(outcomes) == [claim["id"] for claim in declared]
    assert len(declared) >= 15
    allowed = {"holds", "in part", "fails", "undecided", "no records"}
    assert {outcome.verdict for outcome in outcomes.values()} <= allowed
    assert all(outcome.reason for outcome in outcomes.values())


def test_counted_ratios_are_the_counts(outcomes):
    digits = outcomes["parameters-classification"]
    assert digits.estimate == digits.low == digits.high == pytest.approx(2729 / 23680)
    assert (digits.n_ok, digits.n_planned, digits.verdict) == (6, 6, "holds")
    functions = outcomes["parameters-function-fitting"]
    assert functions.low > 1
    assert functions.verdict == "fails"
    assert outcomes["small-networks"].verdict == "holds"


def test_a_paired_claim_counts_its_failures(outcomes):
    fitting = outcomes["accuracy-function-fitting"]
    assert (fitting.n_ok, fitting.n_planned) == (15, 16)  # the reference diverged once
    assert fitting.low == 0  # with two seeds, one lost pair makes the task's median infinite
    assert fitting.estimate < fitting.high < 1.1
    assert "8 tasks" in fitting.interval
    assert fitting.on == "on tasks of this kind (8 measured)"
    assert (
        fitting.sentence == "MetaKAN fits functions as well as the KAN or better, on tasks of this kind (8 measured)."
    )
    assert (fitting.verdict, fitting.reference) == ("undecided", "efficient_kan")
    assert "none of efficient_kan-released, tiled_kan was measured" in fitting.reason
    assert [row["reference"] for row in fitting.ratios] == ["efficient_kan", "pykan-fast"]


def test_too_few_independent_values_leave_a_claim_undecided(outcomes):
    pde = outcomes["accuracy-pde"]
    assert (pde.verdict, pde.comparison) == ("undecided", "undecided")
    assert pde.reason == "2 of the 10 seeds of the first look; 10 seeds are the fewest that can decide it"
    assert "2 seeds" in pde.interval


def test_p_values_are_adjusted_inside_their_family(outcomes):
    family = [o for o in outcomes.values() if o.family == "accuracy" and o.verdict != "no records"]
    assert len(family) == 3  # the convolutions have no records, so that nothing was tested
    smallest = min(family, key=lambda o: o.p_value)
    assert smallest.p_holm == pytest.approx(min(1.0, 3 * smallest.p_value))
    assert all(o.p_holm >= o.p_value for o in family)


def criterion_of(**changes) -> dict:
    base = {"kind": "paired_ratio", "metric": "error", "method": "metakan-relu", "reference": "mlp"}
    return {**base, "expect": "better", "margin": 0.2, **changes}


def test_a_claim_that_its_interval_excludes_fails_and_one_in_between_names_what_is_needed(records, tmp_path):
    frame = frames.to_frame(without_failures(records))
    refuted = outcome_of(frame, tmp_path, criterion=criterion_of(reference="efficient_kan"))
    assert (refuted.verdict, refuted.comparison) == ("fails", "equivalent")  # not better by a fifth
    assert refuted.p_against_holm <= 0.05 < refuted.p_holm
    margin = 1 / refuted.estimate - 1  # the estimate lies on the margin: no number of tasks can tell
    on_it = outcome_of(frame, tmp_path, criterion=criterion_of(reference="efficient_kan", margin=margin))
    assert (on_it.verdict, on_it.needed) == ("undecided", math.inf)
    near = outcome_of(frame, tmp_path, criterion=criterion_of(reference="efficient_kan", margin=margin * 0.5))
    assert near.verdict == "undecided"
    assert 8 < near.needed < 10**5
    assert f"about {near.needed:.0f} tasks would decide it" in near.reason
    assert outcome_of(frame, tmp_path, criterion=criterion_of(method="mlp", reference="metakan-relu", expect="worse"))


def test_a_family_asks_more_of_its_members(records, tmp_path):
    frame = frames.to_frame(without_failures(records))
    alone = outcome_of(frame, tmp_path, criterion=criterion_of(), family="f")
    content = declared(criterion=criterion_of(), family="f")
    twin = content["claims"][0]
    content["claims"] += [{**twin, "id": f"x{i}", "criterion": criterion_of(method="pykan-fast")} for i in range(3)]
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(content))
    among_four = claims.evaluate(declarations.load(tmp_path / "claims.yaml"), frame)[0]
    assert (alone.members, among_four.members) == (1, 4)
    assert among_four.p_holm == pytest.approx(4 * alone.p_holm)
    assert among_four.detectable >= alone.detectable


def test_a_trend_is_the_exponent_of_the_ratio_along_an_axis(records, tmp_path):
    for record in records:
        settings = record["spec"]["method"]["settings"]
        if record["experiments"] == ["E8grid"] and record["status"] == "ok":
            power = 0.5 if record["spec"]["method"]["name"] == "metakan-relu" else 1.5
            record["memory"]["simulated_peak_bytes"] = 1000 * settings["grid_size"] ** power
    criterion = {"kind": "trend", "metric": "memory.simulated_peak_bytes", "method": "metakan-relu"}
    criterion |= {"reference": "tiled_kan", "along": "grid_size", "at_most": -0.1}
    frame = frames.to_frame(records)
    frame = frame[frame["experiments"].map(lambda used: used == ["E8grid"])]
    found = outcome_of(frame, tmp_path, experiment="E8grid", criterion=criterion)
    assert found.estimate == pytest.approx(-1.0)
    assert (found.verdict, found.reason) == ("holds", "1 of 1 slopes are at most -0.1")
    alone = {key: value for key, value in criterion.items() if key != "reference"}
    assert outcome_of(frame, tmp_path, experiment="E8grid", criterion=alone).estimate == pytest.approx(0.5)
    flat = outcome_of(frame, tmp_path, experiment="E8grid", criterion={**criterion, "along": "hidden_width"})
    assert (flat.verdict, "no two values of hidden_width" in flat.reason) == ("no records", True)


def test_the_two_sides_of_a_claim_may_differ_in_what_they_select(records, tmp_path):
    for record in list(records):
        if record["spec"]["method"]["name"] == "metakan-relu" and record["experiments"] == ["E5"]:
            copied = copy.deepcopy(record)
            copied["run"] += "-paper"
            copied["spec"]["configuration"] = "paper"
            worsen(copied)
            records.append(copied)
    criterion = {"kind": "paired_difference", "metric": "error", "method": "metakan-relu", "expect": "worse"}
    criterion |= {"margin": 0.01, "method_where": {"configuration": "paper"}}
    criterion |= {"reference_where": {"configuration": "controlled"}}
    options = {"experiment": "E5", "criterion": criterion, "scope": "these tasks", "looks": [6]}
    found = outcome_of(frames.to_frame(records), tmp_path, **options)
    assert (found.verdict, found.n_ok) == ("holds", 6)


def test_without_records_the_verdict_says_which_experiment_supplies_them(records):
    only_functions = [r for r in records if "E5" not in r["experiments"]]
    outcome = evaluated(only_functions)["accuracy-classification"]
    assert outcome.verdict == "no records"
    assert "only=E5" in outcome.reason
    assert math.isnan(outcome.estimate)
    assert evaluated([])["parameters-pde"].verdict == "no records"


def test_what_a_machine_cannot_measure_is_told_apart_from_missing_runs(outcomes):
    measured = outcomes["memory-measured"]
    assert measured.verdict == "no records"
    assert "could not measure" in measured.reason


def change(records, method, action):
    for record in records:
        if record["spec"]["method"]["name"] == method and record["metrics"]["selected"]:
            action(record)
    return records


def worsen(record):
    test = record["metrics"]["selected"]["test"]
    name = record["metric"]
    test[name] = 1 - 3 * (1 - test[name]) if record["goal"] == "max" else 3 * test[name]


def without_failures(records):
    """Give every run that is not ok the metrics of its other seed; leave out those that have none."""

    def cell(record):
        spec = record["spec"]
        return json.dumps([spec["task"], spec["method"], spec["training"]], sort_keys=True)

    known = {cell(record): record for record in records if record["status"] == "ok"}
    kept = [record for record in records if cell(record) in known]
    for record in kept:
        if record["status"] != "ok":
            record |= {"status": "ok", "metrics": copy.deepcopy(known[cell(record)]["metrics"])}
    return kept


def test_verdicts_turn_when_the_records_do(records):
    outcomes = evaluated(without_failures(copy.deepcopy(records)))
    assert outcomes["accuracy-function-fitting"].verdict == "undecided"
    changed = evaluated(change(without_failures(records), "metakan-relu", worsen))
    for name in ("accuracy-function-fitting", "wins-function-fitting"):
        assert changed[name].verdict == "fails", name
        assert changed[name].estimate != outcomes[name].estimate
    before = outcomes["accuracy-function-fitting"].estimate
    assert changed["accuracy-function-fitting"].estimate == pytest.approx(3 * before)
    assert (
        changed["accuracy-classification"].verdict == "undecided"
    )  # six seeds are not enough for Holm inside a family of three
    assert changed["parameters-pde"] == outcomes["parameters-pde"]


def test_counts_in_the_records_decide_the_claims_on_counts(records, outcomes):
    def shrink(record):
        record["parameters"]["trainable"] //= 100

    changed = evaluated(change(records, "efficient_kan", shrink))["parameters-classification"]
    assert outcomes["parameters-classification"].verdict == "holds"
    assert changed.verdict == "fails"
    assert changed.estimate == pytest.approx(2729 / 236)


def test_failures_of_a_method_lose_the_comparison(records):
    def fail(record):
        record["status"], record["reason"] = "diverged", "not finite"

    changed = evaluated(change(records, "metakan-relu", fail))["accuracy-function-fitting"]
    assert changed.estimate == math.inf
    assert changed.verdict == "fails"
    assert changed.n_ok == 0
    assert changed.as_dict()["estimate"] == "infinite"


def test_the_same_records_give_the_same_outcome_in_any_order(records, outcomes):
    again = evaluated(list(reversed(records)))
    assert {k: v.as_dict() for k, v in again.items()} == {k: v.as_dict() for k, v in outcomes.items()}


def declared(**changes) -> dict:
    claim = {
        "id": "x",
        "statement": "s",
        "source": "t",
        "claimed": "c",
        "experiment": "E1",
        "direction": "lower",
        "criterion": {"kind": "threshold", "metric": "error", "method": "mlp", "at_most": 0.03},
    }
    if changes.get("criterion", claim["criterion"])["kind"].startswith("paired"):
        claim["scope"] = "tasks of this kind"
    return {"families": {"f": "why"}, "claims": [{**claim, **changes}]}


def outcome_of(frame, tmp_path, **changes) -> claims.Outcome:
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(declared(**changes)))
    return claims.evaluate(declarations.load(tmp_path / "claims.yaml"), frame)[0]


def test_a_threshold_is_held_against_each_run(frame, tmp_path):
    found = outcome_of(frame, tmp_path)
    assert found.verdict == "in part"
    assert (found.n_ok, found.n_planned) == (15, 16)
    lenient = outcome_of(frame, tmp_path, criterion={**declared()["claims"][0]["criterion"], "at_most": 9.0})
    assert (lenient.verdict, lenient.reason) == ("in part", "15 of 16 runs are at most 9")  # a failed run is no success
    assert lenient.high == math.inf


def test_equivalence_and_superiority_are_asked_for_by_name(records, tmp_path):
    frame = frames.to_frame(without_failures(records))
    base = {"kind": "paired_ratio", "metric": "error", "method": "metakan-relu", "reference": "mlp", "margin": 0.2}
    better = outcome_of(frame, tmp_path, criterion={**base, "expect": "better"})
    assert (better.comparison, better.verdict) == ("better", "holds")
    assert outcome_of(frame, tmp_path, criterion={**base, "expect": "equivalent"}).verdict == "fails"
    close = outcome_of(frame, tmp_path, criterion={**base, "expect": "equivalent", "reference": "efficient_kan"})
    assert (close.comparison, close.verdict) == ("equivalent", "holds")


def test_everything_wrong_in_the_file_is_named_at_once(tmp_path):
    content = declared(famil="f", criterion={"kind": "paired_ratio", "metric": "error", "methood": "mlp"})
    content["claims"].append({**declared()["claims"][0], "family": "g"})
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InvalidInput) as refused:
        declarations.load(tmp_path / "claims.yaml")
    text = str(refused.value)
    assert "unknown key 'famil'" in text
    assert "did you mean 'family'?" in text
    assert "unknown key 'methood'" in text


def test_what_the_schema_cannot_say_is_checked_too(tmp_path):
    content = declared(criterion={"kind": "paired_ratio", "metric": "error", "method": "mlp"})  # has a scope
    content["claims"].append({**declared()["claims"][0], "family": "g"})
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InvalidInput) as refused:
        declarations.load(tmp_path / "claims.yaml")
    keys = [finding.key for finding in refused.value.findings]
    assert keys == [f"claims.0.criterion.{key}" for key in ("expect", "margin", "reference")] + [
        "claims.1.id",
        "claims.1.family",
    ]


@pytest.mark.parametrize(
    ("changes", "top", "key", "expected"),
    [
        ({"scope": None}, {}, "claims.0.scope", "these tasks or tasks of this kind"),
        ({"looks": [10, 20]}, {}, "claims.0.looks", "no looks: tasks vary, and are looked at once"),
        ({"scope": "these tasks", "looks": [6, 20]}, {}, "claims.0.looks", "a first look at 7 seeds or more"),
        ({"scope": "these tasks"}, {"looks": [5, 10, 20]}, "claims.0.looks", "a first look at 7 seeds or more"),
        ({"scope": "these tasks", "looks": [20, 10]}, {}, "claims.0.looks", "ascending sizes, each once"),
        ({"quarter": ["E1", "E2"]}, {}, "claims.0.quarter", "experiments other than those of the full budget"),
        ({"references": "dens"}, {}, "claims.0.criterion.references", "one of dense (did you mean 'dense'?)"),
        ({"references": "dense", "reference": "mlp"}, {}, "claims.0.criterion", "one of the two"),
        ({"kind": "threshold", "scope": "these tasks"}, {}, "claims.0.scope", "no scope: threshold is held against"),
        ({"kind": "win_count", "scope": "these tasks"}, {}, "claims.0.scope", "a share of tasks counts tasks"),
    ],
)
def test_a_claim_that_contradicts_itself_is_refused(tmp_path, changes, top, key, expected):
    criterion = {"kind": "paired_ratio", "metric": "error", "method": "mlp", "expect": "better", "margin": 0.1}
    criterion |= {"at_most": 1.0, "share": 0.9}
    for name in ("kind", "reference", "references"):
        criterion |= {name: changes.pop(name)} if name in changes else {}
    if "references" not in criterion:
        criterion["reference"] = "efficient_kan"
    content = declared(criterion=criterion, **changes)
    content["claims"][0] = {name: value for name, value in content["claims"][0].items() if value is not None}
    content |= {"references": {"dense": {"methods": ["efficient_kan"]}}, **top}
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InvalidInput) as refused:
        declarations.load(tmp_path / "claims.yaml")
    (finding,) = refused.value.findings
    assert finding.key == key
    assert expected in finding.expected
    assert finding.found
    assert finding.next_step
