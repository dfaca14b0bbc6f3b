"""Prompt collapse, diversity, pruning and the prompt axis, drawn from records whose numbers are known."""

from __future__ import annotations

import copy

import pytest

from kanbench import answers, recipes, record
from kanbench import frame as frames

SETTINGS = {"hidden_width": 4, "depth": 1, "grid_size": 5}
META = {**SETTINGS, "hidden_dim": 16, "prompt_dim": 1}


def run_of(method: str, seed: int, error: float, task: dict, analyses: dict | None = None, **changes) -> dict:
    settings = {**(META if method == "metakan-relu" else SETTINGS), **changes}
    spec = {
        "protocol": 1,
        "configuration": "controlled",
        "dtype": "float32",
        "device": "cpu",
        "task": task,
        "method": {"name": method, "baseline": method, "variant": None, "settings": settings},
        "training": {"steps": 100, "batch_size": None},
        "seed": seed,
    }
    found = record.blank(spec, label=method, family="function_fitting", metric="nrmse", goal="min")
    metrics = {"step": 100, **{split: {"nrmse": error} for split in ("train", "validation", "test")}}
    found["metrics"].update(last=metrics, selected=metrics, legacy_best_on_test={"step": 100, "value": error})
    found["selection"] = {"metric": "nrmse", "goal": "min"}
    found["analyses"] = analyses or {}
    return found


def recipe(name: str):
    return recipes.discover()[name].load()


@pytest.fixture
def diverse() -> list[dict]:
    runs = []
    for distinct, factor in ((1, 1.0), (20, 3.0)):
        task = {"name": "edge_diversity", "settings": {"shape": "mixed", "distinct": distinct}}
        for seed in range(8):
            base = 0.1 * (1 + seed)
            runs += [run_of("tiled_kan", seed, base, task), run_of("metakan-relu", seed, factor * base, task)]
            runs.append(run_of("metakan-relu", seed, 0.5 * factor * base, task, hidden_dim=64))
    return [{**run, "experiments": ["E13diversity"]} for run in runs]


def test_diversity_is_the_paired_ratio_for_each_size(diverse):
    shown = recipe("functional_diversity").data(frames.to_frame(diverse)).set_index(["distinct", "line"])
    small, large = (f"metakan-relu, hidden_dim {size}, prompt_dim 1" for size in (16, 64))
    for key, ratio in (((1, small), 1.0), ((20, small), 3.0), ((1, large), 0.5), ((20, large), 1.5)):
        assert shown.loc[key, "ratio"] == pytest.approx(ratio)
        assert shown.loc[key, "n_pairs"] == 8
    recipe("functional_diversity").draw(shown.reset_index())


def test_the_answer_names_what_holds_and_what_does_not(diverse):
    small = [run for run in diverse if run["spec"]["method"]["settings"].get("hidden_dim", 16) == 16]
    found = {outcome.id: outcome.verdict for outcome in answers.outcomes(frames.to_frame(small), family="limits")}
    assert found == {"diversity-one": "holds", "diversity-many": "fails"}
    shown = recipe("answer_limits").data(frames.to_frame(small))
    assert shown["verdict"].tolist() == ["in part"]
    assert "metakan-relu on mixed" in shown["answer"].iloc[0]


@pytest.fixture
def watched() -> list[dict]:
    def layer(spread, distinct):
        return {"mean": 0.0, "spread": spread, "effective_rank": 1.0, "nearest": 0.1, "distinct": distinct}

    curve = [
        {"step": 0, "layers": [layer(0.5, 1.0), layer(0.25, 1.0)]},
        {"step": 10, "layers": [layer(1.0, 1.0), layer(0.02, 0.5)]},
    ]
    pruned = [{"share": share, "validation": {"nrmse": error}} for share, error in ((0.0, 0.2), (0.5, 0.4), (0.9, 1.0))]
    axis = [{"z": [-1.0, 0.0, 1.0], "t": [-1.0, 1.0], "values": [[0.0, -1.0], [0.0, 0.0], [0.0, 1.0]]}]
    common = {"status": "ok", "reason": None, "curve": []}
    analyses = {
        "prompts": {**common, "curve": curve, "alarm": True, "alarms": [], "histograms": []},
        "pruning": {**common, "pruned": pruned, "exact": 0.0},
        "prompt_axis": {**common, "layers": axis},
    }
    task = {"name": "feynman", "settings": {"formula": "I.8.4"}}
    runs = [run_of("metakan-relu", seed, 0.2, task, copy.deepcopy(analyses)) for seed in (0, 1)]
    return [{**run, "experiments": ["E13"]} for run in runs]


def test_spread_is_relative_to_the_start(watched):
    shown = recipe("prompt_collapse").data(frames.to_frame(watched)).set_index(["quantity", "layer", "step"])
    assert shown.loc[("spread", 1, 10), "median"] == pytest.approx(2.0)
    assert shown.loc[("spread", 2, 10), "median"] == pytest.approx(0.08)
    assert shown.loc[("distinct", 2, 10), "median"] == pytest.approx(0.5)
    assert shown.loc[("spread", 1, 0), "n_alarms"] == 2
    recipe("prompt_collapse").draw(shown.reset_index())


def test_an_alarm_is_held_against_the_claim(watched):
    frame = frames.to_frame(watched)
    assert answers.outcomes(frame, ids=("prompts-do-not-collapse",))[0].verdict == "fails"


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
