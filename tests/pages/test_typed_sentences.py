"""What is typed beside computed text: claims say what their criterion tests, answers take words from verdicts."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest
import yaml
from test_captions import TYPED, results_in

from kanbench.baselines import discovery

ROOT = Path(__file__).resolve().parents[2]
DECLARED = yaml.safe_load((ROOT / "paper_figures/claims.yaml").read_text(encoding="utf-8"))
ANSWERS = sorted((ROOT / "paper_figures").glob("answer_*.py"))
VERDICTS = {"holds", "fails", "in part", "undecided"}
EXPECTED = {
    "not_worse": ("or better", "not worse"),
    "better": ("better", "in fewer steps"),
    "worse": ("worse",),
}
"""Words by which a statement may say what its criterion expects."""


def claims_with_results() -> list[dict]:
    return [claim for claim in DECLARED["claims"] if results_in(claim["statement"])]


def says(statement: str) -> str:
    """Return what a statement expects, by its words."""
    return next((expect for expect, words in EXPECTED.items() if any(word in statement for word in words)), "")


@pytest.mark.parametrize("claim", claims_with_results(), ids=lambda claim: claim["id"])
def test_a_statement_with_a_word_of_results_is_what_its_criterion_tests(claim):
    criterion = claim["criterion"]
    assert criterion["kind"] in ("paired_ratio", "paired_difference", "win_count"), "nothing tests the word"
    if criterion["kind"] != "win_count":
        assert says(claim["statement"]) == criterion["expect"]


def test_the_words_of_statements_are_told_apart():
    assert len(claims_with_results()) > 10
    assert says("A is as well as B or better.") == "not_worse"
    assert says("A is not worse than B (by over 10 %).") == "not_worse"
    assert says("A ends worse than B.") == "worse"
    assert says("A is better than B.") == "better"


def test_comments_and_families_of_claims_say_nothing_of_outcomes():
    lines = (ROOT / "paper_figures/claims.yaml").read_text(encoding="utf-8").splitlines()
    body = lines[next(i for i, line in enumerate(lines) if not line.startswith("#")) :]
    comments = [line.partition("# ")[2] for line in body if "# " in line]
    assert comments
    for text in [*comments, *DECLARED["families"].values()]:
        assert not results_in(text), text
        assert not TYPED.search(text), text


def leads(path: Path) -> dict[str, str]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.LEADS


def typed_results(source: str) -> list[str]:
    """Return the texts with words of results that no verdict chooses: all but the sentences under LEADS."""
    tree = ast.parse(source)
    chosen = {
        id(part)
        for node in tree.body
        if isinstance(node, ast.Assign) and any(getattr(name, "id", "") == "LEADS" for name in node.targets)
        for part in ast.walk(node)
    }
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [
        text.value for text in texts if id(text) not in chosen and (results_in(text.value) or TYPED.search(text.value))
    ]


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_an_answer_takes_its_words_from_the_verdict(path):
    assert typed_results(path.read_text(encoding="utf-8")) == []
    found = leads(path)
    assert set(found) == VERDICTS, "a sentence for every verdict"
    assert len(set(found.values())) == len(found), "each another sentence"
    assert not any(TYPED.search(sentence) for sentence in found.values())


def test_a_typed_result_in_an_answer_is_found():
    source = 'LEADS = {"holds": "A beats B."}\nFACTS = ["A beats B by far."]\nNOTE = "3 times as many"\n'
    assert sorted(typed_results(source)) == ["3 times as many", "A beats B by far."]


def test_the_dense_references_of_claims_are_those_of_the_baselines():
    dense = {
        m.name for b in discovery.discover().values() for m in b.methods.values() if m.role == discovery.DENSE_REFERENCE
    }
    declared = DECLARED["references"]["dense"]
    assert len(dense) >= 4
    assert {*declared["methods"], *declared["where_they_run"]} == dense
    assert not {*declared["methods"]} & {*declared["where_they_run"]}
