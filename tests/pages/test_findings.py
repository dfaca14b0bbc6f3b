"""FINDINGS.md and the README's table of headline verdicts: sentences computed from claims, each with its link."""

from __future__ import annotations

import math
import re

import pytest
import yaml
from record_fixtures import RECORDS

from kanbench.base.errors import InvalidInput
from kanbench.pages import findings, front, recipes, render
from kanbench.verdicts import declared as declarations
from kanbench.verdicts.outcome import Outcome


@pytest.fixture(scope="module")
def record_set():
    return render.RecordSet(RECORDS)


@pytest.fixture(scope="module")
def outcomes(record_set):
    return render.evaluated(record_set)


@pytest.fixture(scope="module")
def page(record_set, outcomes):
    return findings.page(record_set, outcomes, findings.declared())


def test_every_claim_stands_once_with_a_link_to_its_row(page, outcomes):
    sections = page.partition("\n## ")[2]
    for outcome in outcomes:
        assert len(re.findall(rf"\[→ claim\]\(claims\.md#{outcome.id}\)", sections)) == 1
    assert page.startswith(f"# Findings\n\n{findings.tally(outcomes)}")


def test_a_sentence_says_verdict_value_and_reference(page, outcomes):
    found = {outcome.id: outcome for outcome in outcomes}
    line = next(each for each in page.splitlines() if "claims.md#accuracy-function-fitting)" in each and "* **" in each)
    outcome = found["accuracy-function-fitting"]
    assert line.startswith(f"* **{findings.LEADS[outcome.verdict]}:** {outcome.sentence.rstrip('.')}.")
    assert f"error {outcome.estimate:.3g}"[:10] in line
    assert " × that of " in line


def test_the_page_is_the_same_again(record_set, outcomes, page):
    again = [Outcome.of(outcome.as_dict()) for outcome in outcomes]
    assert findings.page(record_set, again, findings.declared()) == page


def test_an_outcome_survives_its_way_through_json(outcomes):
    odd = Outcome(
        **{**outcomes[0].__dict__, "estimate": math.inf, "needed": math.nan, "budgets": {"quarter": -math.inf}}
    )
    for outcome in (*outcomes, odd):
        again = Outcome.of(outcome.as_dict())
        assert again.as_dict() == outcome.as_dict()
        assert repr(again) == repr(outcome)


def test_classification_is_read_in_points_and_shares_in_per_cent():
    claims = {"a": {"criterion": {"kind": "paired_difference", "metric": "error", "method": "m", "reference": "r"}}}
    blank = dict.fromkeys(("source", "claimed", "family"), "")
    told = Outcome(
        id="a", statement="A.", kind="paired_difference", experiments=("E5",), reference="r", estimate=0.0123,
        low=0.01, high=0.02, interval="95 %", verdict="fails", reason="beyond the margin", **blank,
    )  # fmt: skip
    tell = findings.Telling(claims, {"r": "The KAN", "m": "Ours"})
    assert tell.sentence(told) == (
        "**Does not hold:** A. Measured: error +1.23 points against The KAN, +1.00 to +2.00 points (95 %). "
        "Beyond the margin. [→ claim](claims.md#a)"
    )


def test_controls_are_measured_in_the_same_runs(page):
    table = page.partition("against controls ([accuracy-classification]")[2].partition("\n\n## ")[0]
    assert "| MLP |" in table
    assert "points against MLP" in table


def changed(tmp_path, change) -> None:
    content = yaml.safe_load((recipes.folder() / findings.DECLARED).read_text(encoding="utf-8"))
    change(content)
    file = tmp_path / "findings.yaml"
    file.write_text(yaml.safe_dump(content))
    findings.declared(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["sections"][0]["claims"].append("no-such-claim"), "no-such-claim"),
        (lambda c: c["sections"][1]["claims"].append(c["sections"][0]["claims"][0]), "in 2 sections"),
        (lambda c: c["headline"].append("accuracy-pd"), "accuracy-pde"),
        (lambda c: c["sections"][0].update(summary="It is {accuracy-odd}."), "accuracy-odd"),
        (lambda c: c.update(heading=1), "unknown key 'heading'"),
    ],
)
def test_a_bad_declaration_is_refused(tmp_path, change, message):
    with pytest.raises(InvalidInput, match=re.escape(message)):
        changed(tmp_path, change)


def test_a_claim_that_is_listed_nowhere_is_shown_all_the_same(tmp_path):
    content = yaml.safe_load((recipes.folder() / findings.DECLARED).read_text(encoding="utf-8"))
    name = content["sections"][0]["claims"].pop()
    content["headline"] = [each for each in content["headline"] if each != name]
    (tmp_path / "findings.yaml").write_text(yaml.safe_dump(content))
    last = findings.declared(tmp_path / "findings.yaml")["sections"][-1]
    assert last["title"] == findings.FURTHER
    assert name in last["claims"]


def test_the_headlines_are_those_declared(outcomes):
    known = {claim["id"]: claim for claim in declarations.load(recipes.claims_file())}
    text = findings.headline_table(outcomes[:3], findings.Telling(known, {}), "results/reference/")
    assert text.count("\n") == 4
    assert f"(results/reference/claims.md#{outcomes[0].id})" in text
    assert front.BLOCKS == ("verdicts", "headlines")


def test_titles_and_summaries_say_nothing_of_outcomes():
    from test_captions import TYPED, results_in

    content = findings.declared()
    for section in content["sections"]:
        for text in (section["title"].rstrip("?"), section.get("summary", "")):
            assert not TYPED.search(text), text
        assert not results_in(section.get("summary", "")), section
        assert section["title"].endswith("?")
