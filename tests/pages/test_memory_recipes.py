"""The recipes of the memory study, on the invented record set with peaks and predictions filled in."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from record_fixtures import write_set

from kanbench.pages import recipes, render, style
from kanbench.pages import steps as profiled_steps
from kanbench.records import frame as frames

RECIPES = ("memory_against_edges", "memory_predicted", "memory_ratios", "break_even_size")
SIZE = {"inputs": 100, "outputs": 10, "batch_size": 128}


def module(name):
    return recipes.discover()[name].load()


def shown(name, records):
    recipe = recipes.discover()[name]
    return recipe.load().data(frames.of_experiments(frames.to_frame(records), recipe.experiments))


def steps_of(records) -> list[dict]:
    """Return the profiled steps, with complete task settings and a prediction 2 % above the simulation."""
    steps = [r for r in records if r["spec"]["task"]["name"] == "step_cost"]
    for record in steps:
        record["spec"]["task"]["settings"] = dict(SIZE)
        peak = record["memory"]["simulated_peak_bytes"]
        if peak:
            record["memory"]["predicted"] = {"total": int(peak * 1.5), "total_cpu": round(peak * 1.02)}
    return steps


@pytest.fixture
def steps(records) -> list[dict]:
    return steps_of(records)


@pytest.mark.parametrize("name", RECIPES)
def test_without_profiled_steps_there_is_nothing(name, records):
    others = [r for r in records if r["spec"]["task"]["name"] == "poisson" and "meta" not in r["run"]]
    assert shown(name, others).empty


def test_edges_are_counted_from_the_widths():
    settings = {"spec.task.settings.inputs": [100, 100, None, 5], "spec.task.settings.outputs": [10, 10, None, 3]}
    settings["spec.task.name"] = "step_cost"
    method = {"spec.method.settings.hidden_width": [64, 64, None, 7], "spec.method.settings.depth": [1, 3, 0, 0]}
    records = pd.DataFrame({**settings, **method})
    expected = [100 * 64 + 64 * 10, 100 * 64 + 2 * 64 * 64 + 64 * 10, 784 * 10, 15]
    assert profiled_steps.profiled(records)["edges"].tolist() == expected


def test_measured_peaks_come_first_and_out_of_memory_is_marked(steps):
    measured = next(r for r in steps if r["spec"]["method"]["name"] == "mlp")
    measured["memory"]["peak_allocated_bytes"] = 123_456_789
    failed = next(r for r in steps if r["spec"]["method"]["name"] == "tiled_kan")
    failed.update(status="out_of_memory", reason="no memory")
    data = shown("memory_against_edges", steps)
    row = data[data["runs"] == measured["run"]].iloc[0]
    assert (row["peak_bytes"], row["source"]) == (123_456_789, "measured")
    width = measured["spec"]["method"]["settings"]["hidden_width"]
    assert row["edges"] == 100 * width + width**2 + width * 10
    lost = data[data["runs"] == failed["run"]]
    assert lost["out_of_memory"].all()
    assert (lost["peak_bytes"] == failed["memory"]["simulated_peak_bytes"]).all()
    assert set(data[data["runs"] != measured["run"]]["source"]) == {"simulated"}
    assert (
        data[data["axis"] == "edges"].groupby(["batch_size", "fixed"]).ngroups == 1
    )  # the grid sizes are a panel apart
    assert set(data["axis"]) == {"edges", "grid_size"}


def test_device_limits_are_drawn(steps):
    drawing = module("memory_against_edges")
    assert set(drawing.DEVICES) == {"24 GB", "80 GB", "141 GB"}
    with style.theme():
        figure = drawing.draw(shown("memory_against_edges", steps))
    panel = figure.axes[0]
    assert {text.get_text() for text in panel.texts} == set(drawing.DEVICES)
    levels = {line.get_ydata()[0] for line in panel.lines if line.get_linestyle() == "--"}
    assert levels == {size / 2**30 for size in drawing.DEVICES.values()}
    assert panel.get_xscale() == panel.get_yscale() == "log"


def test_prediction_is_compared_with_what_it_predicts(steps):
    device = next(r for r in steps if r["memory"]["simulated_peak_bytes"])
    device["memory"]["peak_allocated_bytes"] = int(device["memory"]["predicted"]["total"] / 0.9)
    without = next(r for r in steps if r is not device and r["memory"]["simulated_peak_bytes"])
    del without["memory"]["predicted"]
    data = shown("memory_predicted", steps).set_index("runs")
    assert data.loc[device["run"], "source"] == "measured"
    assert data.loc[device["run"], "relative_error"] == pytest.approx(-0.1, abs=1e-4)
    assert math.isnan(data.loc[without["run"], "predicted_bytes"])
    rest = data.drop(index=[device["run"], without["run"]])
    assert rest["relative_error"].to_numpy() == pytest.approx(0.02, abs=1e-4)
    with style.theme():
        figure = module("memory_predicted").draw(data.reset_index())
    assert [text.get_text() for text in figure.axes[0].texts] == [f"without a prediction: 1 of {len(data)} steps"]


def test_ratios_have_four_denominators_and_stay_inside_a_network(steps):
    data = shown("memory_ratios", steps)
    blocks = data.groupby(["hidden_width", "grid_size"])
    for _, block in blocks:
        peaks = block.set_index("method")["simulated"]
        for method in peaks.index:
            row = block[block["method"] == method].iloc[0]
            for reference in ("mlp", "efficient_kan", "tiled_kan"):
                assert row[f"to_{reference}"] == pytest.approx(peaks[method] / peaks[reference])
                assert row[f"to_{reference}_of"] == "simulated"
            assert math.isnan(row["to_pykan-fast"])
    assert blocks.ngroups == len(data[["hidden_width", "grid_size"]].drop_duplicates()) > 2
    made = module("memory_ratios").rows(data)
    assert made.columns[4:11] == (
        *("Measured (MiB)", "Simulated (MiB)", "Predicted (MiB)"),
        *("/ MLP", "/ efficient-KAN", "/ pykan-fast", "/ tiled KAN"),
    )
    texts = {cell.text for row in made.rows for cell in row}
    assert {"no pykan-fast peak", "not measured", "1.00"} <= texts


def test_a_ratio_of_measured_peaks_needs_two_measured_peaks(steps):
    for record in steps:
        if record["memory"]["simulated_peak_bytes"] and record["spec"]["method"]["name"] in ("mlp", "tiled_kan"):
            factor = 2 if record["spec"]["method"]["name"] == "tiled_kan" else 1
            record["memory"]["peak_allocated_bytes"] = 1000 * factor
    data = shown("memory_ratios", steps)
    dense = data[data["method"] == "tiled_kan"]
    assert set(dense["to_mlp"]) == {2.0}
    assert set(dense["to_mlp_of"]) == {"measured"}
    assert set(dense["to_efficient_kan_of"]) == {"simulated"}


def test_the_break_even_size_is_where_both_counts_meet(frame):
    data = module("break_even_size").data(frame)
    small = data[data["task"] == "feynman product"].iloc[0]
    assert small["edges"] == 2 * 2 + 2
    assert small["ratio"] == pytest.approx(small["parameters"] / small["reference_parameters"])
    assert small["ratio"] > 1
    for _, row in data.iterrows():
        learners, edge = row["parameters"] - row["edges"], row["reference_parameters"] / row["edges"]
        assert row["break_even_edges"] * edge == pytest.approx(row["break_even_edges"] + learners)
        assert (row["ratio"] > 1) == (row["edges"] < row["break_even_edges"])
    assert set(data["reference"]) == {"efficient-KAN", "KAN, recomputed"}


@pytest.mark.parametrize("name", RECIPES)
def test_they_render(name, tmp_path, steps):

    file = write_set(steps, tmp_path / "records.jsonl")
    written = render.render(name, file, tmp_path)
    assert len(written) == 3
    assert all(path.stat().st_size > 200 for path in written)
