"""Forms of a generated KAN, drawn from records whose numbers are known."""

from __future__ import annotations

import copy

import pytest
import question_records

from kanbench.pages import recipes
from kanbench.records import frame as frames

DENSE = {"tiled_kan": (0.2, 900), "efficient_kan": (0.1, 1000)}
FORMS = {  # settings: factor on the stronger dense error, parameters
    (): (4.0, 400),
    (("amplitude", True),): (3.0, 500),
    (("prompt_dim", 2), ("shapes", "sines")): (1.5, 290),
}


def run(formula: str, seed: int, method: str, error: float, parameters: int, rate: float = 1.0, **settings) -> dict:
    found = copy.deepcopy(question_records.transfer_run(formula, seed, method=method))
    found["spec"]["method"]["settings"] |= {"grid_size": 5, **settings}
    found["spec"]["training"]["learning_rate"] = rate
    found["label"] = method
    split = {"rmse": error}
    found["metrics"]["selected"] = {"step": 100, "train": split, "validation": split, "test": {"rmse": 77.0}}
    found["parameters"]["trainable"] = parameters
    name = f"{formula}-{method}-{seed}-{rate}-{'-'.join(map(str, settings.values()))}"
    return {**found, "run": name, "experiments": ["E14"]}


def records(best_rate: float = 1.0) -> list[dict]:
    made = []
    for formula in ("I.14.3", "I.18.4"):
        for seed in range(1000, 1004):
            size = 1 + seed - 1000
            for method, (error, count) in DENSE.items():
                made.append(run(formula, seed, method, error * size, count))
            for settings, (factor, count) in FORMS.items():
                own = {"prompt_dim": 1, **dict(settings)}
                for rate in (1.0, 0.1):
                    worse = 1.0 if rate == best_rate else 5.0
                    made.append(run(formula, seed, "metakan-relu", 0.1 * size * factor * worse, count, rate, **own))
    return made


def shown(best_rate: float = 1.0):
    recipe = recipes.discover()["generated_forms"].load()
    return recipe, recipe.data(frames.to_frame(records(best_rate)))


@pytest.mark.parametrize("best_rate", [1.0, 0.1])
def test_ratios_are_to_the_strongest_dense_kan_at_the_best_rate(best_rate):
    _, found = shown(best_rate)
    ratios = found.set_index("form")["ratio"].to_dict()
    expected = {
        "metakan-relu, prompt_dim 1": 4.0,
        "metakan-relu, amplitudes, prompt_dim 1": 3.0,
        "metakan-relu, starts on sines, prompt_dim 2": 1.5,
        "efficient_kan": 1.0,
        "tiled_kan": 2.0,
    }
    assert ratios == pytest.approx(expected)
    assert set(found["reference"]) == {"efficient_kan"}
    assert found.set_index("form").loc["metakan-relu, prompt_dim 1", "share"] == pytest.approx(400 / 900)


def test_the_sentence_tells_the_best_form_and_the_best_small_one():
    recipe, found = shown()
    (text,) = recipe.sentences(found)
    assert "of 3 forms the best is metakan-relu, starts on sines, prompt_dim 2 (1.50 × the error" in text
    assert "with a third" not in text  # it is small itself
    ratio = found["ratio"].round(6)
    large = found.assign(share=found["share"].where(ratio != 1.5, 0.5))
    assert "none has a third of the parameters or less" in recipe.sentences(large)[0]
    large.loc[ratio == 3.0, "share"] = 0.3
    assert (
        "with a third of the parameters or less, metakan-relu, amplitudes, prompt_dim 1 (3.00 × the error"
        in (recipe.sentences(large)[0])
    )


def test_the_figure_is_drawn():
    recipe, found = shown()
    recipe.draw(found)


def test_without_the_experiments_there_is_nothing_to_show():
    recipe = recipes.discover()["generated_forms"].load()
    assert recipe.data(frames.to_frame([])).empty
