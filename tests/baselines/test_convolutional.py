"""The convolutional baselines: pairs that differ in the source of their numbers only, matched sizes, refusals."""

from __future__ import annotations

import pytest
import torch

from kanbench.base import seeds
from kanbench.base.errors import InvalidInput
from kanbench.baselines import build, discovery
from kanbench.measurement import measure
from kanbench.study import config, plan
from kanbench.tasks import task, taskinfo
from kanbench.tasks.task import Problem

COLOUR = Problem("classification", inputs=3 * 32 * 32, outputs=10, input_shape=(3, 32, 32))
GREY = Problem("classification", inputs=64, outputs=10, input_shape=(1, 8, 8))


def made(name: str, problem: Problem, device: str = "cpu", **overrides):
    method = discovery.discover()[name.partition("-")[0]].methods[name]
    settings = discovery.resolve(method, problem.family, overrides)
    with seeds.seeded(0, "initialisation"), torch.device(device):
        return build.build(method, settings, problem)


def count(name: str, **overrides) -> int:
    return measure.count_parameters(made(name, COLOUR, "meta", **overrides), [])["trainable"]


def test_baselines_reach_the_published_counts():
    assert count("conv_kan-bspline") == 3_494_958
    assert count("meta_conv_kan-bspline") == count("meta_conv_kan-released") == 392_183
    assert count("meta_conv_kan-bspline", layers=8, num_clusters=3) == 4_531_709
    assert count("conv_kan-chebyshev", layers=4) == 2_719_082, "degree 6"
    assert count("conv_kan-chebyshev", layers=8) == 18_092_202, "degree 3"
    assert count("conv_kan-chebyshev", layers=8, degree=6) == 7 * 4_520_880 + 8_682
    assert count("cnn-plain") == 387_936 + 3_534


@pytest.mark.parametrize(
    ("name", "other"), [("cnn-matched", "meta_conv_kan-bspline"), ("cnn-wide", "conv_kan-bspline")]
)
@pytest.mark.parametrize("overrides", [{"layers": 4}, {"layers": 8}, {"layers": 4, "width_factor": 0.125}])
def test_a_matched_cnn_has_the_parameters_that_it_is_compared_with(name, other, overrides):
    assert count(name, **overrides) == pytest.approx(count(other, **overrides), rel=0.005)


@pytest.mark.parametrize("basis", ["bspline", "rbf", "legendre", "gram", "chebyshev"])
def test_a_pair_differs_in_the_source_of_its_numbers_only(basis):
    dense, meta = (made(f"{kind}-{basis}", GREY, width_factor=0.125).eval() for kind in ("conv_kan", "meta_conv_kan"))
    shapes = {
        name: value.shape
        for name, value in meta.state_dict().items()
        if name.split(".")[0] not in ("layers", "meta_learners", "_extra_state")
    }
    others = (name for name in dense.state_dict() if not name.startswith(("layers", "_extra_state")))
    assert shapes == {name: dense.state_dict()[name].shape for name in others}
    dense.load_state_dict(meta.materialize().state_dict())
    x = 2 * torch.rand(4, 1, 8, 8) - 1
    torch.testing.assert_close(dense(x), meta(x), atol=1e-5, rtol=1e-4)


def test_uniform_stages_give_every_basis_those_of_the_spline():
    model = made("conv_kan-rbf", GREY, width_factor=0.125, stages="uniform")
    assert model.norm_placement == "output"
    assert [type(activation).__name__ for activation in model.activations] == ["PReLU"] * 4
    assert made("conv_kan-rbf", GREY, width_factor=0.125).norm_placement == "input"


def test_groups_tell_prompts_meta_learners_and_the_rest_apart():
    method = discovery.discover()["meta_conv_kan"].methods["meta_conv_kan-bspline"]
    model = made(method.name, COLOUR, "meta", num_clusters=3)
    groups = build.parameter_groups(build.load_model_module(method.baseline), model, {})
    counts = measure.count_parameters(model, groups)["groups"]
    assert counts == {"prompts": 387_936, "meta_learners": 3 * 713, "other": 3_534}


def test_flat_inputs_are_refused():
    flat = Problem("classification", inputs=64, outputs=10)
    for name in ("conv_kan-bspline", "meta_conv_kan-bspline", "cnn-plain"):
        with pytest.raises(ValueError, match=r"inputs: found shape \(64,\), expected \(channels, height, width\)"):
            made(name, flat)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"layers": 4, "num_clusters": 5}, "at most 4 where layers is 4 and clustering is kmeans_width"),
        ({"layers": 8, "num_clusters": 7}, "at most 6 where layers is 8 and clustering is kmeans_width"),
        (
            {"layers": 8, "num_clusters": 9, "clustering": "contiguous"},
            "at most layers, which is 8 where clustering is contiguous",
        ),
    ],
)
def test_more_meta_learners_than_can_be_used_are_refused_in_the_plan(tiny, overrides, expected):
    experiment = tiny["experiments"]["E1"]
    experiment["tasks"] = ["digits"]
    experiment["methods"] = [{"name": "meta_conv_kan-bspline", "settings": overrides}]
    with pytest.raises(InvalidInput) as caught:
        plan.expand(config.from_content(tiny, "tiny.yaml"))
    (finding,) = caught.value.findings
    assert finding.key == "experiments.E1.methods.meta_conv_kan-bspline.num_clusters"
    assert finding.expected.startswith(expected)


def test_one_meta_learner_a_layer_passes_the_limits():
    method = discovery.discover()["meta_conv_kan"].methods["meta_conv_kan-bspline"]
    settings = discovery.resolve(method, "classification", {"layers": 8, "num_clusters": "per_layer"})
    assert made(method.name, GREY, **settings).clusters == list(range(8))


def test_all_methods_of_an_experiment_are_those_of_its_architecture(tiny):
    experiment = tiny["experiments"]["E1"]
    experiment.update(tasks=["digits"], methods=["all"], architecture="convolutional", axes={})
    names = {
        run.spec["method"]["baseline"] for run in plan.expand(config.from_content(tiny, "tiny.yaml")).runs.values()
    }
    assert names == {"cnn", "conv_kan", "meta_conv_kan"}


def test_the_step_of_a_convolution_is_measured_on_images():
    settings = taskinfo.resolve("step_cost_images", {"image_size": 8, "batch_size": 4})
    subject = task.load("step_cost_images", settings, seed=0, dtype=torch.float32, device=torch.device("cpu"))
    assert (subject.problem.input_shape, subject.problem.inputs) == ((3, 8, 8), 192)
    inputs, targets = subject.splits["train"]
    assert inputs.shape == (4, 3, 8, 8)
    assert targets.max() < 10
    assert made("cnn-plain", subject.problem, width_factor=0.125)(inputs).shape == (4, 10)


def test_images_of_digits_reach_convolutions_in_their_shape_and_size():
    settings = taskinfo.resolve("digits", {"image_size": 16, "train_samples": 64})
    subject = task.load("digits", settings, seed=0, dtype=torch.float32, device=torch.device("cpu"))
    assert subject.problem.input_shape == (1, 16, 16)
    model = made("meta_conv_kan-gram", subject.problem, width_factor=0.125)
    assert subject.loss(model, next(subject.batches(32, torch.Generator()))).isfinite()
