"""The paper's tables and figures by their numbers, on invented records whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import paper_records
import pytest
from record_fixtures import write_set

from kanbench.pages import published, recipes, render, style
from kanbench.records import frame as frames
from kanbench.statistics import stats
from kanbench.verdicts import claims, comparison, criteria
from kanbench.verdicts import declared as declarations


def shown(name, frame):
    recipe = recipes.discover()[name]
    module = recipe.load()
    return module, module.data(frames.of_experiments(frame, recipe.experiments))


def test_published_values_are_numbers_with_a_source():
    values = pd.read_csv(recipes.folder() / published.FILE)
    assert (values["value"] > 0).all()
    assert values["source"].str.len().min() > 20
    assert not values.duplicated(["item", "dataset", "method", "metric"]).any()
    assert published.read("Table 2", "mse").loc[("I.6.20a", "metakan-relu"), "trainable_parameters"] == 218
    accuracy = values[values["metric"] == "accuracy"]["value"]
    assert accuracy.between(0, 1).all()


def test_table_2_shows_mse_beside_the_published_one_and_averages(everything):
    module, data = shown("table2_function_fitting", everything)
    row = data[(data["dataset"] == "I.8.4") & (data["method"] == "metakan-relu")].iloc[0]
    mine = everything[(everything["task"] == "feynman I.8.4") & (everything["method"] == "metakan-relu")]
    dense = everything[(everything["task"] == "feynman I.8.4") & (everything["method"] == "efficient_kan")]
    assert row["published"] == pytest.approx(3.76e-3)
    assert row["median"] == pytest.approx(mine["value"].median())
    ratios = np.log(mine.set_index("seed")["error"] / dense.set_index("seed")["error"])
    assert row["against"] == pytest.approx(math.exp(ratios.median()))
    assert (row["verdict"], row["unit"]) == ("undecided", "seeds")  # two seeds
    table = module.rows(data)
    texts = [cell.text for cell in table.rows[list(data.index).index(row.name)]]
    assert "0.00376" in {text.removesuffix(f" ({published.ANOTHER})") for text in texts}
    assert style.number(row["median"] ** 2) in texts
    averages = data[data["kind"] == "average"].set_index(["dataset", "grid_size", "depth", "method"])
    everyone = averages.loc[("all formulas (8)", 5, 1, "metakan-relu")]
    singles = data[(data["kind"] == "formula") & (data["grid_size"] == 5) & (data["depth"] == 1)]
    singles = singles[singles["method"] == "metakan-relu"]
    assert everyone["median"] == pytest.approx(math.exp(np.log(singles["median"]).mean()))
    assert everyone["verdict"] in ("equivalent", "undecided", "better")
    core = averages.loc[("13-formula core (6)", 5, 1, "metakan-relu")]
    inside = singles[singles["dataset"].isin(module.CORE)]
    assert core["median"] == pytest.approx(math.exp(np.log(inside["median"]).mean()))


def test_a_published_value_of_one_grid_size_stands_at_that_grid_size_only(everything):
    _, data = shown("table2_function_fitting", everything)
    other = data[(data["grid_size"] != 5) & (data["kind"] == "formula")]
    assert len(other)
    assert other["published"].isna().all()


@pytest.mark.parametrize("name", ["table2_function_fitting", "table3_convolution"])
def test_a_published_count_stands_beside_a_network_of_that_size_alone(everything, name):
    module, data = shown(name, everything)
    counted = data[data["published_parameters"].notna()]
    assert (abs(counted["parameters"] / counted["published_parameters"] - 1) < 0.021).all()
    other = data[data["published_for"] == published.ANOTHER]
    assert len(counted) + len(other), "there are published values"
    made = module.rows(data)
    cells = [(row[made.columns.index("Parameters")].text, row) for row in made.rows]
    for position in [list(data.index).index(label) for label in other.index]:
        assert "published" not in cells[position][0]
        assert any(cell.text.endswith(f"({published.ANOTHER})") for cell in cells[position][1])
    assert any("another network" in note.lower() for note in made.notes) == bool(len(other))


def test_a_method_without_a_partner_is_compared_with_the_declared_reference(everything):
    rows = everything[everything["method"] == "efficient_kan"]
    names = {"method": "my_kan", "label": "My KAN", "run": "mine/" + rows["run"]}
    module, data = shown("table2_function_fitting", pd.concat([everything, rows.assign(**names)], ignore_index=True))
    mine = data[(data["method"] == "my_kan") & (data["kind"] == "formula")]
    assert len(mine)
    assert set(mine["partner"]) == {"efficient-KAN"}
    assert set(mine["against"].dropna()) == {1.0}, "the same runs"
    averages = data[(data["method"] == "my_kan") & (data["kind"] == "average")]
    assert set(averages["partner"]) == {"efficient-KAN"}
    reference = data[(data["method"] == "efficient_kan") & (data["kind"] == "formula")]
    assert set(reference["partner"]) == {published.REFERENCE}
    made = module.rows(data)
    texts = {row[made.columns.index("Verdict")].text for row in made.rows if row[4].text == "efficient-KAN"}
    assert texts == {"not compared"}


def test_table_3_compares_each_basis_with_its_own(everything):
    module, data = shown("table3_convolution", everything)
    rows = data.set_index(["dataset", "layers", "method"])
    assert rows.loc[("cifar10", 4, "meta_conv_kan-chebyshev"), "verdict"] == "worse"
    assert rows.loc[("mnist", 4, "meta_conv_kan-gram"), "verdict"] == "equivalent"
    assert rows.loc[("cifar10", 4, "cnn-plain"), "verdict"] == "better"
    assert rows.loc[("cifar10", 4, "meta_conv_kan-rbf"), "partner"] == "ConvKAN (rbf)"
    assert rows.loc[("cifar10", 4, "meta_conv_kan-bspline"), "published"] == 0.4597
    made = module.rows(data)
    eight = [row for row in made.rows if row[1].text == "8"]
    assert eight
    assert {row[made.columns.index("Published")].text for row in eight} == {"not published"}


def test_table_5_and_the_pde_table_name_floors_and_partners(everything):
    _, data = shown("table5_fully_connected", everything)
    digits = data[(data["dataset"] == "digits") & (data["configuration"] == "controlled")].set_index("method")
    assert digits.loc["metakan_released-affine", "partner"] == "MetaKAN as released (ReLU)"
    assert digits.loc["metakan-relu", "verdict"] == "equivalent"
    _, data = shown("table_pde", everything)
    poisson = data.set_index("label")
    assert poisson.loc["MLP", "floors"] == "does not beat affine fit"
    assert poisson.loc["MetaKAN (ReLU)", "floors"] == "beats all"
    assert poisson.loc["floor: affine fit", "median"] == 0.06


def test_the_knee_is_the_smallest_size_shown_to_be_within_the_margin(everything):
    _, data = shown("prompt_and_hidden_sweep", everything)
    line = data[(data["size"] == "hidden_dim") & (data["other_size"] == 1)].set_index("value")
    assert list(line.index) == [1, 2, 4, 8, 16, 32, 64, 128]
    assert line["knee"].sum() == 1
    knee = line.index[line["knee"]][0]
    best = line["error"].min()
    assert line.loc[knee, "error"] <= best + 0.01
    smaller = line[line.index < knee]
    assert (smaller["high"] > best + 0.01).all()
    assert line.loc[16, "parameters"] == 25408 + 2 * 16 + 17 * 9


def test_meta_learners_have_their_interval_and_references(everything):
    _, data = shown("meta_learners_sweep", everything)
    assert set(data["task"]) == {"cifar10"}
    line = data[data["method"] == "meta_conv_kan-bspline"].set_index("clusters")
    assert list(line.index) == [1, 2, 3, 5, 6]
    assert (line["low"] < line["value"]).all()
    assert (line["value"] < line["high"]).all()
    assert data[data["method"] == "cnn-plain"]["clusters"].isna().all()


def test_failed_cells_of_the_learning_rates_are_named(everything):
    module, data = shown("learning_rate_balance", everything)
    lost = data[data["n_ok"] == 0]
    assert [(row["prompts_rate"], row["meta_learners_rate"]) for _, row in lost.iterrows()] == [(1e-4, 1e-1)]
    with style.theme():
        figure = module.draw(data)
    for axes in figure.axes:  # against the balance, and against the level
        texts = [text.get_text() for text in axes.texts]
        assert texts.count("2 diverged") == 1
        assert texts.count("1 of 2 runs ok") == 2


def test_level_and_balance_of_the_learning_rates_are_apart(everything):
    module, data = shown("learning_rate_balance", everything)
    assert module.level(1e-4, 1e-2) == module.level(1e-3, 1e-3) == module.level(1e-2, 1e-4) == 1e-3
    assert (module.balance(1e-2, 1e-3), module.balance(1e-3, 1e-3), module.balance(1e-4, 1e-2)) == (10, 1, 0.01)
    with style.theme():
        figure = module.draw(data)
    at_equal_level, at_equal_balance = figure.axes
    assert at_equal_level.get_title().endswith("balance at equal level")
    for axes, along, fixed in ((at_equal_level, "balance", "level"), (at_equal_balance, "level", "balance")):
        known = data.dropna(subset=["error"])
        lines = {name.get_text().rpartition(" ")[2]: name for name in axes.texts if name.get_text().startswith(fixed)}
        assert set(lines) == {f"{value:g}" for value in known[fixed].unique()}
        drawn = [line for line in axes.lines if len(line.get_xdata()) > 1]
        for line in drawn:
            at = [set(known[(known[along] == x) & (known["error"] == y)][fixed]) for x, y in line.get_xydata()]
            assert set.intersection(*at), "nothing but one of the two changes along a line"


def test_activations_are_of_the_same_layers_and_absent_without_samples(everything, frame):
    module, data = shown("learned_activations", everything)
    assert set(data["label"]) == {"efficient-KAN", "MetaKAN (ReLU)"}
    assert set(data["layer"]) == {0, 1}
    assert module.data(frame).empty


def test_configurations_stand_beside_each_other(everything):
    _, data = shown("schedules", everything)
    ways = data[data["method"] == "efficient_kan"].set_index("configuration")["error"]
    assert ways["paper"] > ways["upstream_default"] > ways["controlled"] * 0.5
    assert set(data["task"]) == {"digits"}


def outcome(claim_id, frame):
    return next(o for o in claims.evaluate(declarations.load(recipes.claims_file()), frame) if o.id == claim_id)


def test_learning_rates_out_of_balance_are_worse_once_there_are_seeds_enough(everything):
    found = outcome("unbalanced-learning-rates", everything)
    assert (found.verdict, found.estimate > 2, found.unit) == ("undecided", True, "seeds")
    assert found.n_ok < found.n_planned  # some of them diverged
    cells = criteria.select(frames.of_experiments(everything, ["E9"]), {"learning_rate_ratio": {"at_least": 99}})
    rates = cells[list(criteria.RATES)]
    assert (rates.iloc[:, 0] / rates.iloc[:, 1] >= 99).all()
    assert len(cells) == 2 * 3


def test_a_comparison_says_how_many_runs_would_decide_it():
    values = np.array([-0.2, 0.3, 0.1, -0.1, 0.25, 0.02, -0.3])
    found = comparison.of_values(values, "seeds", margin=0.1, ratio=False)
    assert found.state == "undecided"
    assert found.needed > values.size
    again = comparison.of_values(values, "seeds", margin=0.1, ratio=False)
    assert (again.low, again.high) == (found.low, found.high) == stats.median_interval(values)
    many = comparison.of_values(np.tile(values, 20), "seeds", margin=0.1, ratio=False)
    assert many.state == "equivalent"


def test_every_recipe_renders_from_the_whole_set(tmp_path, committed):
    write_set([*committed, *paper_records.records()], tmp_path / "records.jsonl")
    names = ["schedules", "meta_learners_sweep", "table3_convolution", "table_pde"]
    for name in names:
        for path in render.render(name, tmp_path / "records.jsonl", tmp_path):
            assert path.stat().st_size > 200, path


def test_a_recipe_is_stale_when_what_it_compares_with_changes():
    found = recipes.discover()
    files = found["table3_convolution"].code_files
    assert {
        "paper_figures/published.csv",
        "workflow/kanbench/verdicts/comparison.py",
        "workflow/kanbench/statistics/power.py",
    } <= set(files)
    assert "paper_figures/published.csv" not in found["step_time"].code_files


def test_recipes_stand_in_chapters():
    order = [recipe.category for recipe in recipes.in_chapters(recipes.discover().values())]
    assert order == sorted(order, key=lambda c: (recipes.CHAPTERS + (c,)).index(c))
    assert order[0] == "Accuracy"
