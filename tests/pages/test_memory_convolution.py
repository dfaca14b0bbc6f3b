"""The peaks of convolutional networks, on invented records: ratios, and the claim about them."""

from __future__ import annotations

import copy
import math

import pytest

from kanbench.pages import recipes
from kanbench.records import frame as frames
from kanbench.verdicts import claims
from kanbench.verdicts import declared as declarations

PEAKS = {("cnn-plain", None): 10, ("meta_conv_kan-bspline", "auto"): 12, ("meta_conv_kan-bspline", "materialized"): 60}
IMAGES = {"channels": 3, "image_size": 32, "outputs": 10, "batch_size": 64}


@pytest.fixture
def steps(records) -> list[dict]:
    """One profiled step of each method and mode, of 4 and of 8 layers; the deep ones take twice the memory."""
    step = next(r for r in records if r["spec"]["task"]["name"] == "step_cost" and r["status"] == "ok")
    found = []
    for (method, mode), peak in PEAKS.items():
        for layers in (4, 8):
            record = copy.deepcopy(step)
            settings = {"layers": layers, "width_factor": 1.0} | ({"mode": mode} if mode else {})
            baseline, _, variant = method.partition("-")
            record["spec"]["task"] = {"name": "step_cost_images", "settings": IMAGES}
            record["spec"]["method"] = dict(name=method, baseline=baseline, variant=variant, settings=settings)
            record["memory"]["simulated_peak_bytes"] = peak * layers * 2**18
            record.update(run=f"{method}/{mode}-{layers}", label=method, experiments=["E8convolution"])
            found.append(record)
    return found


def test_ratios_stay_inside_a_network(steps):
    recipe = recipes.discover()["memory_convolution"]
    data = recipe.load().data(frames.of_experiments(frames.to_frame(steps), recipe.experiments))
    assert len(data) == 6
    for _, network in data.groupby("layers"):
        rows = network.set_index(["method", "mode"])
        assert rows.loc[("meta_conv_kan-bspline", "auto"), "to_floor"] == 1.2
        assert rows.loc[("meta_conv_kan-bspline", "auto"), "to_plain"] == 0.2
        assert rows.loc[("meta_conv_kan-bspline", "materialized"), "to_plain"] == 1
        assert math.isnan(rows.loc[("cnn-plain", ""), "to_plain"])
    made = recipe.load().rows(data)
    texts = [[cell.text for cell in row] for row in made.rows]
    assert ["32 x 32", "64", "8", "meta_conv_kan-bspline", "auto"] in [row[:5] for row in texts]
    assert recipe.load().data(frames.to_frame(steps[:0] or [dict(steps[0], spec=other(steps[0]))])).empty


def other(record) -> dict:
    return {**record["spec"], "task": {"name": "step_cost", "settings": {}}}


@pytest.mark.parametrize(("auto", "verdict"), [(12, "holds"), (18, "fails")])
def test_the_claim_compares_both_modes_of_the_deep_network(steps, auto, verdict):
    for record in steps:
        settings = record["spec"]["method"]["settings"]
        if settings.get("mode") == "auto":
            record["memory"]["simulated_peak_bytes"] = auto * settings["layers"] * 2**18
    declared = declarations.load(recipes.claims_file())
    outcomes = {outcome.id: outcome for outcome in claims.evaluate(declared, frames.to_frame(steps))}
    assert outcomes["memory-convolution"].verdict == verdict
