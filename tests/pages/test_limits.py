"""Prompt collapse, diversity, pruning and the prompt axis, drawn from records whose numbers are known."""

from __future__ import annotations

import pytest
import question_records

from kanbench.pages import answers, recipes
from kanbench.records import frame as frames


def recipe(name: str):
    return recipes.discover()[name].load()


@pytest.fixture
def diverse() -> list[dict]:
    return question_records.diverse()


@pytest.fixture
def watched() -> list[dict]:
    return question_records.watched()


def test_diversity_is_the_paired_ratio_for_each_size(diverse):
    shown = recipe("functional_diversity").data(frames.to_frame(diverse)).set_index(["distinct", "line"])
    small, large = (f"metakan-relu, hidden_dim {size}, prompt_dim 1" for size in (16, 64))
    for key, ratio in (((1, small), 1.0), ((20, small), 3.0), ((1, large), 0.5), ((20, large), 1.5)):
        assert shown.loc[key, "ratio"] == pytest.approx(ratio)
        assert shown.loc[key, "n_pairs"] == 10
    recipe("functional_diversity").draw(shown.reset_index())


def test_the_answer_names_what_holds_and_what_does_not(diverse):
    small = [run for run in diverse if run["spec"]["method"]["settings"].get("hidden_dim", 16) == 16]
    found = {outcome.id: outcome.verdict for outcome in answers.outcomes(frames.to_frame(small), family="limits")}
    assert found == {"diversity-one": "holds", "diversity-many": "fails"}
    shown = recipe("answer_limits").data(frames.to_frame(small))
    assert shown["verdict"].tolist() == ["in part"]
    assert "metakan-relu on mixed" in shown["answer"].iloc[0]


def test_spread_is_relative_to_the_start(watched):
    shown = recipe("prompt_collapse").data(frames.to_frame(watched)).set_index(["quantity", "layer", "step"])
    assert shown.loc[("spread", 1, 10), "median"] == pytest.approx(2.0)
    assert shown.loc[("spread", 2, 10), "median"] == pytest.approx(0.08)
    assert shown.loc[("distinct", 2, 10), "median"] == pytest.approx(0.5)
    assert shown.loc[("spread", 1, 0), "n_alarms"] == 2
    recipe("prompt_collapse").draw(shown.reset_index())


def test_an_alarm_is_held_against_the_claim(watched):
    few = answers.outcomes(frames.to_frame(watched), ids=("prompts-do-not-collapse",))[0]
    assert few.verdict == "undecided"
    assert few.reason == "seen in 2 runs, of which 6 are needed: 0 of 2 runs are at most 0"
    repeated = [
        {**run, "run": f"{run['run']}-{seed}", "spec": {**run["spec"], "seed": seed}}
        for run in watched[:1]
        for seed in range(6)
    ]
    assert answers.outcomes(frames.to_frame(repeated), ids=("prompts-do-not-collapse",))[0].verdict == "fails"


def test_pruning_is_relative_to_the_whole_network(watched):
    shown = recipe("pruning").data(frames.to_frame(watched)).set_index("share")
    assert shown["median"].to_dict() == pytest.approx({0.0: 1.0, 0.5: 2.0, 0.9: 5.0})
    recipe("pruning").draw(shown.reset_index())


def test_the_prompt_axis_shows_one_run(watched):
    shown = recipe("prompt_axis").data(frames.to_frame(watched))
    assert len(shown) == 3 * 2
    assert set(shown["runs"]) == {watched[0]["run"]}
    recipe("prompt_axis").draw(shown)


def test_without_analyses_there_is_nothing_to_draw(diverse):
    frame = frames.to_frame(diverse)
    for name in ("prompt_collapse", "pruning", "prompt_axis"):
        assert recipe(name).data(frame).empty
