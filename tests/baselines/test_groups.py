"""Groups of layers in runs: from the data, from a dense run, learned; what cannot be grouped is said, not hidden."""

from __future__ import annotations

import copy

import pytest
import torch

from kanbench.base import seeds
from kanbench.base.errors import InvalidInput
from kanbench.baselines import build, discovery
from kanbench.measurement import measure
from kanbench.study import config, plan
from kanbench.tasks.task import Problem
from kanbench.training import train

GREY = Problem("classification", inputs=64, outputs=10, input_shape=(1, 8, 8))
FLAT = Problem("classification", inputs=64, outputs=10)
NETWORK = {"layers": 8, "width_factor": 0.0625, "dropout": 0.0, "head_dropout": 0.0}
DEEP = {"hidden_width": 8, "depth": 4, "hidden_dim": 4}
CASES = {
    "meta_conv_kan-bspline": (GREY, {**NETWORK, "hidden_dim": 4}),
    "metakan-relu": (FLAT, {**DEEP, "taper": 0.6}),
}


def made(name: str, **overrides):
    problem, settings = CASES[name]
    method = discovery.discover()[name.partition("-")[0]].methods[name]
    resolved = discovery.resolve(method, problem.family, {**settings, **overrides})
    with seeds.seeded(0, "initialisation"):
        return build.load_model_module(method.baseline), build.build(method, resolved, problem), resolved


def numbers(model) -> dict[str, torch.Tensor]:
    """Return copies of the tensors of a state dict; the groups are beside them."""
    return {key: value.clone() for key, value in model.state_dict().items() if not key.endswith("_extra_state")}


def batch(name: str):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(32, *CASES[name][0].input_shape, generator=generator) * 2 - 1, torch.zeros(32)


@pytest.mark.parametrize("name", CASES)
def test_activations_group_the_layers_once_the_data_are_seen(name):
    module, model, _ = made(name, clustering="activations", num_clusters=2)
    before = numbers(model)
    assert module.clusters(model) == sorted(module.clusters(model)), "contiguous until then"
    module.prepare(model, batch(name))
    groups = module.clusters(model)
    assert set(groups) == {0, 1}
    torch.testing.assert_close(numbers(model), before, atol=0, rtol=0)
    module.prepare(model, (batch(name)[0] * 0.5, None))  # of another batch, perhaps other groups, but groups
    assert set(module.clusters(model)) == {0, 1}
    _, other, _ = made(name, num_clusters=1)
    module.prepare(other, batch(name))
    assert set(module.clusters(other)) == {0}


@pytest.mark.parametrize(
    ("name", "dense"), [("meta_conv_kan-bspline", "conv_kan-bspline"), ("metakan-relu", "tiled_kan")]
)
def test_the_oracle_finds_the_layers_of_a_dense_network_that_were_made_alike(name, dense):
    module, model, settings = made(name, clustering="coefficients", num_clusters=2)
    method = discovery.discover()[dense.partition("-")[0]].methods[dense]
    shared = {k: v for k, v in settings.items() if k in method.settings}
    teacher = build.build(method, discovery.resolve(method, "classification", shared), CASES[name][0])
    state = teacher.state_dict()
    names = [key for key in state if key.endswith("edges.weight")]
    alike = [number % 2 for number in range(len(names))]
    with torch.no_grad():
        for key, group in zip(names, alike, strict=True):
            state[key].mul_(1 + 4 * group)
    before = numbers(model)
    module.adapt(model, state, "oracle_groups")
    assert module.clusters(model) == alike
    torch.testing.assert_close(numbers(model), before, atol=0, rtol=0)  # no number is taken
    module.prepare(model, batch(name))
    assert module.clusters(model) == alike
    with pytest.raises(ValueError, match="the numbers of 1 layers, expected"):
        module.adapt(model, {names[0]: state[names[0]]}, "oracle_groups")
    with pytest.raises(ValueError, match="found 7 numbers an edge in layer 0, expected 9"):
        module.adapt(model, {key: state[key][..., :7] for key in names}, "oracle_groups")


@pytest.mark.parametrize("name", CASES)
def test_coefficients_without_a_dense_network_are_refused(name):
    module, model, _ = made(name, clustering="coefficients", num_clusters=2)
    with pytest.raises(ValueError, match="needs a trained dense network"):
        module.prepare(model, batch(name))


@pytest.mark.parametrize("name", CASES)
def test_a_learned_assignment_cools_to_a_hard_one(name):
    module, model, settings = made(name, clustering="learned", num_clusters=2, annealing_steps=10)
    network = model[1] if name == "metakan-relu" else model
    assert build.hooks(module, model)["after_step"] is module.after_step
    seen = []
    for step in (1, 5, 9, 10, 50):
        module.after_step(model, step, None)
        seen.append(float(network.mixtures[0].temperature))
    assert seen == pytest.approx([0.05**0.1, 0.05**0.5, 0.05**0.9, 0.0, 0.0])
    groups = {group["name"]: group["params"] for group in build.parameter_groups(module, model, settings)}
    logits = [mixture.logits for mixture in network.mixtures]
    assert all(any(p is logit for p in groups["other"]) for logit in logits)
    assert not any(p is logit for logit in logits for p in groups["prompts"])


@pytest.mark.parametrize("name", CASES)
def test_a_fixed_grouping_has_no_hook_and_trains_together(name):
    module, model, _ = made(name, num_clusters=2)
    assert build.hooks(module, model) == {"penalty": None, "after_step": None}


def test_hidden_layers_taper():
    _, model, _ = made("metakan-relu")
    assert model[1].width == [64, 8, 5, 3, 2, 10]
    _, model, _ = made("metakan-relu", taper=0.1)
    assert model[1].width == [64, 8, 1, 1, 1, 10]


def test_equal_widths_cannot_be_clustered_and_the_record_says_so(tiny):
    study = copy.deepcopy(tiny)
    study["experiments"]["E1"].update(
        tasks=["digits"],
        methods=[{"name": "metakan-relu", "settings": {"num_clusters": [2, 3], "hidden_dim": 4}}],
        axes={"hidden_width": 4, "depth": 3},
        training={"optimiser": "adam", "steps": 1, "batch_size": 32, "evaluations": 1},
    )
    study["seeds"] = [0]
    runs = plan.expand(config.from_content(study, "tiny.yaml")).runs.values()
    found = {run.spec["method"]["settings"]["num_clusters"]: train.run(run.spec) for run in runs}
    assert found[2]["status"] == "ok"
    assert found[2]["method_info"]["clusters"] == [0, 0, 0, 1]
    assert found[3]["status"] == "skipped"
    assert "num_clusters: found 3, expected at most 2, the number of distinct widths" in found[3]["reason"]


@pytest.fixture
def grouped(tiny) -> dict:
    """A dense experiment and one that is grouped by what its runs learned."""
    study = copy.deepcopy(tiny)
    brief = {"optimiser": "adam", "learning_rate": 0.01, "steps": 2, "batch_size": 64, "evaluations": 1}
    study["experiments"] = {
        "E11dense": {
            "title": "Dense",
            "tasks": ["digits"],
            "methods": [{"name": "conv_kan-bspline", "settings": {**NETWORK, "layers": [4, 8]}}],
            "training": brief,
            "keep": "model",
        },
        "E11": {
            "title": "Grouped",
            "tasks": ["digits"],
            "methods": [
                {
                    "name": "meta_conv_kan-bspline",
                    "settings": {**NETWORK, "layers": [4, 8], "num_clusters": 3, "clustering": "coefficients"},
                    "source": {"experiment": "E11dense", "method": "conv_kan-bspline", "adapt": "oracle_groups"},
                }
            ],
            "training": brief,
            "analyses": ["groupings"],
        },
    }
    study["seeds"] = [0, 1]
    return study


def test_the_dense_run_of_the_same_network_and_seed_is_the_source(grouped):
    runs = plan.expand(config.from_content(grouped, "tiny.yaml")).runs.values()
    targets = [run.spec for run in runs if run.experiments == ["E11"]]
    assert len(targets) == 4
    for spec in targets:
        source = spec["source"]["spec"]
        assert source["seed"] == spec["seed"]
        assert source["method"]["settings"]["layers"] == spec["method"]["settings"]["layers"]


def test_a_source_that_no_run_fits_is_refused(grouped):
    grouped["experiments"]["E11dense"]["methods"][0]["settings"]["layers"] = 4
    with pytest.raises(InvalidInput, match="no run of conv_kan-bspline on digits with the settings"):
        plan.expand(config.from_content(grouped, "tiny.yaml"))
    del grouped["experiments"]["E11"]["methods"][0]["source"]["experiment"]
    with pytest.raises(InvalidInput, match="experiment"):
        plan.expand(config.from_content(grouped, "tiny.yaml"))


def test_a_run_is_grouped_by_a_dense_run_and_analysed(grouped, tmp_path):
    grouped["seeds"] = [0]
    for experiment in grouped["experiments"].values():
        experiment["methods"][0]["settings"]["layers"] = 4
    planned = plan.expand(config.from_content(grouped, "tiny.yaml"))
    (target,) = (run for run in planned.runs.values() if run.experiments == ["E11"])
    assert any(name.endswith(".safetensors") for name in planned.inputs(target.name))
    train.run(target.spec["source"]["spec"], runs=tmp_path)
    found = train.run(target.spec, runs=tmp_path)
    assert found["status"] == "ok"
    analysed = found["analyses"]["groupings"]
    assert analysed["clusters"] == found["method_info"]["clusters"]
    assert sorted(set(analysed["clusters"])) == [0, 1, 2]
    assert len(analysed["distances"]) == 4


def test_counts_do_not_depend_on_the_grouping():
    counts = {
        clustering: measure.count_parameters(
            made("meta_conv_kan-bspline", clustering=clustering, num_clusters=3)[1], []
        )["trainable"]
        for clustering in ("kmeans_width", "kmeans_in_out", "contiguous", "random", "activations", "coefficients")
    }
    assert len(set(counts.values())) == 1
    learned = measure.count_parameters(made("meta_conv_kan-bspline", clustering="learned", num_clusters=3)[1], [])
    assert learned["trainable"] == counts["random"] + 8 * 3


def test_the_probe_batch_and_so_the_groups_depend_on_the_seed_alone(tiny):
    study = copy.deepcopy(tiny)
    study["experiments"]["E1"].update(
        tasks=["digits"],
        methods=[
            {"name": "meta_conv_kan-bspline", "settings": {**NETWORK, "num_clusters": 3, "clustering": "activations"}}
        ],
        axes={"hidden_dim": 4},
        training={"optimiser": "adam", "steps": 1, "batch_size": 32, "evaluations": 1},
        analyses=["groupings"],
    )
    study["seeds"] = [0]
    ((_, run),) = plan.expand(config.from_content(study, "tiny.yaml")).runs.items()
    found = train.run(run.spec)
    # The model that is measured, whose groups method_info holds, and the one that is trained are built apart.
    assert found["analyses"]["groupings"]["clusters"] == found["method_info"]["clusters"]
    assert found["method_info"]["clusters"] != [0, 0, 0, 1, 1, 1, 2, 2], "not as it was built"
    assert train.run(run.spec)["method_info"] == found["method_info"]
