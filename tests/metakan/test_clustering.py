"""Groups of layers: known partitions, learned assignment against its definition, groups from data, regrouping."""

from __future__ import annotations

import itertools

import pytest
import torch

from metakan import (
    ConvKAN,
    MetaConvKAN,
    MetaKAN,
    MetaLearner,
    MixedLearner,
    assign_layers,
    group_by_distribution,
    layer_inputs,
    published_channels,
    unit_numbers,
)
from metakan.clustering import kmeans, kmeans_1d
from metakan.grouping import statistics

CHANNELS = published_channels(8)  # 16, 32, 64, 128, 256, 256, 512, 512
INPUTS = [3, *CHANNELS[:-1]]


def cost(points: torch.Tensor, ids) -> float:
    """Return the sum of squared distances to the centres of the groups."""
    groups = [points[[i for i, other in enumerate(ids) if other == c]] for c in set(ids)]
    return sum(float((group - group.mean(dim=0)).square().sum()) for group in groups)


def best_cost(points: torch.Tensor, clusters: int) -> float:
    """Return the least cost over every partition into that many groups."""
    every = itertools.product(range(clusters), repeat=len(points))
    return min(cost(points, ids) for ids in every if len(set(ids)) == clusters)


@pytest.mark.parametrize(
    ("clustering", "clusters", "expected"),
    [
        ("kmeans_width", 3, [0, 0, 0, 0, 1, 1, 2, 2]),
        ("kmeans_width", 6, [0, 1, 2, 3, 4, 4, 5, 5]),
        ("contiguous", 3, [0, 0, 0, 1, 1, 1, 2, 2]),
        ("kmeans_in_out", 2, [0, 0, 0, 1, 1, 1, 1, 1]),
        ("kmeans_in_out", 8, list(range(8))),
        ("learned", 2, [0, 0, 0, 0, 1, 1, 1, 1]),
        ([1, 0, 1, 0, 1, 0, 1, 0], 2, [1, 0, 1, 0, 1, 0, 1, 0]),
    ],
)
def test_groups_of_the_published_network(clustering, clusters, expected):
    assert assign_layers(CHANNELS, clusters, clustering, input_widths=INPUTS) == expected


@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_kmeans_finds_the_best_partition(clusters):
    for seed in range(5):
        points = torch.randn(7, 3, generator=torch.Generator().manual_seed(seed)).double()
        points = (points - points.mean(dim=0)) / points.std(dim=0, correction=0)
        found = kmeans(points, clusters)
        assert cost(points, found) == pytest.approx(best_cost(points, clusters), rel=1e-9)
        assert list(dict.fromkeys(found)) == list(range(clusters)), "numbered as they first occur"


def test_kmeans_in_one_dimension_is_the_exact_one():
    for seed in range(10):
        values = torch.randint(1, 100, (12,), generator=torch.Generator().manual_seed(seed)).tolist()
        exact, found = kmeans_1d(values, 4), kmeans(torch.tensor(values).double().unsqueeze(1), 4)
        points = torch.tensor(values).double().unsqueeze(1)
        assert cost(points, found) == pytest.approx(cost(points, exact), rel=1e-9)


def test_input_widths_tell_layers_of_equal_output_apart():
    # Layers 4 and 6 have equal inputs as well as equal outputs and stay together.
    outs, ins = [32, 32, 32, 32, 10], [784, 32, 32, 32, 32]
    assert assign_layers(outs, 3, "kmeans_in_out", input_widths=ins) == [0, 1, 1, 1, 2]
    with pytest.raises(ValueError, match="num_clusters: found 4, expected at most 3, the number of layers that differ"):
        assign_layers(outs, 4, "kmeans_in_out", input_widths=ins)
    with pytest.raises(ValueError, match="at most 2, the number of distinct widths"):
        assign_layers(outs, 3, "kmeans_width")


def test_random_groups_are_those_of_kmeans_dealt_to_other_layers():
    drawn = [tuple(assign_layers(CHANNELS, 3, "random", seed=seed)) for seed in range(50)]
    sizes = {tuple(sorted(ids.count(c) for c in range(3))) for ids in drawn}
    assert sizes == {(2, 2, 4)}, "the sizes of the groups of kmeans_width"
    assert len(set(drawn)) > 30
    assert drawn == [tuple(assign_layers(CHANNELS, 3, "random", seed=seed)) for seed in range(50)]
    # Every layer meets every other one in a group, whatever the depth between them: 8 of 28 pairs are together.
    together = sum(ids[0] == ids[7] for ids in drawn) / len(drawn)
    assert 0.1 < together < 0.5
    equal = [assign_layers([32] * 15 + [10], 4, "random", seed=seed) for seed in range(5)]
    assert all(sorted(ids.count(c) for c in range(4)) == [4, 4, 4, 4] for ids in equal)


def mixture(activation: str = "relu", prompt_dim: int = 2) -> MixedLearner:
    torch.manual_seed(0)
    learners = [MetaLearner(prompt_dim, 5, 4, activation).double() for _ in range(3)]
    mixed = MixedLearner(learners, 0.7).double()
    with torch.no_grad():
        mixed.logits.copy_(torch.tensor([0.3, 0.9, -0.5]))
    return mixed


@pytest.mark.parametrize("activation", ["relu", "none", "tanh"])
def test_a_mixture_is_the_weighted_sum_of_its_meta_learners(activation):
    mixed, prompts = mixture(activation), torch.randn(50, 2).double()
    shares = (torch.tensor([0.3, 0.9, -0.5]).double() / 0.7).exp()
    shares = shares / shares.square().sum().sqrt()
    expected = sum(share * learner(prompts) for share, learner in zip(shares, mixed.learners, strict=True))
    torch.testing.assert_close(mixed(prompts), expected, atol=1e-12, rtol=0)


def test_gradients_of_a_mixture_are_those_of_its_values():
    mixed = mixture("tanh")
    names, parameters = zip(*mixed.named_parameters(), strict=True)
    assert names[0] == "logits"
    prompts = torch.randn(3, 2).double().requires_grad_()

    def values(prompts, *tensors):
        return torch.func.functional_call(mixed, dict(zip(names, tensors, strict=True)), (prompts,))

    assert torch.autograd.gradcheck(values, (prompts, *parameters))


def test_without_temperature_the_choice_is_hard():
    mixed, prompts = mixture(), torch.randn(9, 2).double()
    limit = mixed.learners[1](prompts)
    distances = []
    for temperature in (0.5, 0.1, 0.02):
        mixed.anneal(temperature)
        distances.append(float((mixed(prompts) - limit).detach().abs().max()))
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 1e-10
    mixed.anneal(0.0)
    torch.testing.assert_close(mixed(prompts), limit, atol=1e-15, rtol=0)
    assert mixed.cluster == 1
    (gradient,) = torch.autograd.grad(mixed(prompts).sum(), mixed.logits)
    assert torch.equal(gradient, torch.zeros(3).double())


@pytest.mark.parametrize("clusters", [2, 4, 8])
def test_a_mixture_starts_with_the_variance_of_one_meta_learner(clusters):
    torch.manual_seed(1)
    spreads = []
    for _ in range(40):
        mixed = MixedLearner([MetaLearner(1, 16, 9) for _ in range(clusters)])
        spreads.append(mixed(torch.randn(2000, 1)).var(dim=0).mean())
    assert float(torch.stack(spreads).mean()) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("mode", ["tiled", "materialized"])
def test_a_network_with_a_learned_assignment_ends_as_one_with_fixed_groups(mode):
    torch.manual_seed(0)
    learned = MetaKAN([4, 5, 6, 3], num_clusters=2, clustering="learned", hidden_dim=4, mode=mode).double()
    assert sum(p.numel() for p in learned.parameters()) == 4 * 5 + 5 * 6 + 6 * 3 + 2 * 53 + 3 * 2
    with torch.no_grad():
        for layer, cluster in enumerate((1, 0, 1)):
            learned.mixtures[layer].logits[cluster] = 1.0
    x = torch.rand(7, 4).double() * 2 - 1
    learned(x).square().sum().backward()
    assert all(mixed.logits.grad.abs().sum() > 0 for mixed in learned.mixtures)
    soft = learned(x).detach()
    learned.anneal(0.0)
    fixed = MetaKAN([4, 5, 6, 3], num_clusters=2, clustering=[1, 0, 1], hidden_dim=4, mode=mode).double()
    state = {name: value for name, value in learned.state_dict().items() if not name.startswith("mixtures")}
    fixed.load_state_dict(state)
    torch.testing.assert_close(learned(x), fixed(x), atol=1e-12, rtol=0)
    assert learned.clusters == fixed.clusters == [1, 0, 1]
    assert not torch.allclose(soft, fixed(x))
    dense = learned.materialize()
    torch.testing.assert_close(dense(x), fixed(x), atol=1e-10, rtol=0)


def test_one_meta_learner_needs_no_mixture():
    assert len(MetaKAN([4, 5, 3], clustering="learned").mixtures) == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: MetaKAN([4, 5, 6, 3], hidden_dim=4, **options),
        lambda **options: MetaConvKAN((5, 6, 3), in_channels=4, hidden_dim=4, **options),
    ],
)
def test_regrouping_equals_building_with_these_groups(make):
    torch.manual_seed(0)
    regrouped = make(num_clusters=2, clustering="contiguous").eval()
    built = make(num_clusters=2, clustering=[1, 0, 1]).eval()
    with torch.no_grad():
        for own, other in zip(built.parameters(), regrouped.parameters(), strict=True):
            own.copy_(other)
    x = torch.rand(*((3, 4) if isinstance(built, MetaKAN) else (3, 4, 6, 6)))
    assert not torch.allclose(regrouped(x), built(x))
    regrouped.set_clusters([1, 0, 1])
    torch.testing.assert_close(regrouped(x), built(x), atol=0, rtol=0)
    assert regrouped.clusters == [1, 0, 1]


def test_statistics_are_moments_and_quantiles():
    grid = torch.linspace(0, 1, 101).double()
    found = statistics(torch.stack([grid, 2 * grid], dim=1)).view(7, 2)
    expected = torch.tensor([0.5, float(grid.std(correction=0)), 0.05, 0.25, 0.5, 0.75, 0.95]).double()
    torch.testing.assert_close(found, torch.stack([expected, 2 * expected], dim=1), atol=1e-7, rtol=0)


def test_layers_are_grouped_by_the_distribution_of_their_samples():
    torch.manual_seed(0)
    samples = [torch.randn(4000, 2) * scale + shift for scale, shift in ((1, 0), (3, 0), (1, 0), (1, 5), (3, 0))]
    assert group_by_distribution(samples, 3) == [0, 1, 0, 2, 1]
    with pytest.raises(ValueError, match="found 2, expected at most 1"):
        group_by_distribution([torch.ones(5, 1)] * 3, 2)


def test_what_enters_the_layers_is_seen_in_evaluation_mode():
    torch.manual_seed(0)
    model = ConvKAN((3, 4, 2), in_channels=2, dropout=0.5).train()
    running = model.norms[0].running_mean.clone()
    x = torch.randn(5, 2, 8, 8)
    first, second, _ = layer_inputs(model, x)
    assert torch.equal(first, x.reshape(-1, 1))
    assert torch.equal(model.norms[0].running_mean, running)
    assert model.training
    assert model.dropouts[1].training
    model.eval()
    inner = model.dropouts[0](model.activations[0](model.norms[0](model.layers[0](x))))
    torch.testing.assert_close(second, inner.reshape(-1, 1), atol=1e-6, rtol=1e-6)


def test_unit_numbers_do_not_depend_on_the_width():
    torch.manual_seed(0)
    narrow, wide = MetaKAN([10, 400, 400], hidden_dim=16).layers
    spreads = [unit_numbers(layer.numbers(), layer.basis).std(dim=0) for layer in (narrow, wide)]
    torch.testing.assert_close(*spreads, rtol=0.1, atol=0)
    assert float(wide.numbers().std() / narrow.numbers().std()) == pytest.approx((10 / 400) ** 0.5, rel=0.1)
