"""Convolutional layers and networks: against explicit sums, published counts, published groupings of layers."""

from __future__ import annotations

import itertools

import pytest
import torch
from sklearn.cluster import KMeans
from torch import nn

from metakan import (
    PUBLISHED_STAGES,
    ConvKAN,
    ConvNetwork,
    KANConv2d,
    MetaConvKAN,
    MetaKANConv2d,
    assign_layers,
    conv_geometry,
    published_channels,
    published_degree,
)

BASES = ("bspline", "rbf", "legendre", "gram", "chebyshev")


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def options(basis: str, layers: int) -> dict:
    order = 3 if basis in ("bspline", "rbf") else published_degree(basis, layers)
    return {"basis": basis, "spline_order": order, **PUBLISHED_STAGES[basis]}


def by_loops(layer, x, numbers_at):
    """Sum the edge functions of every kernel tap, one multiplication at a time."""
    features = layer.basis.features(x, dim=2)
    rows, columns = layer.shape.output_size(x)
    (kernel, _), (stride, _), (padding, _) = layer.shape.kernel_size, layer.shape.stride, layer.shape.padding
    y = torch.zeros(len(x), layer.out_channels, rows, columns, dtype=x.dtype)
    taps = itertools.product(range(layer.out_channels), range(layer.in_channels), range(kernel), range(kernel))
    for out, channel, a, b in taps:
        for number, row, column in itertools.product(range(layer.basis.numbers), range(rows), range(columns)):
            source = (row * stride + a - padding, column * stride + b - padding)
            if 0 <= source[0] < x.shape[2] and 0 <= source[1] < x.shape[3]:
                weight = numbers_at(out, channel, a, b, number)
                y[:, out, row, column] += weight * features[:, channel, number, source[0], source[1]]
    return y


@pytest.mark.parametrize("mode", ["tiled", "materialized"])
@pytest.mark.parametrize("basis", BASES)
def test_a_dense_convolution_is_the_sum_of_its_edge_functions(basis, mode):
    torch.manual_seed(0)
    layer = KANConv2d(2, 3, stride=2, grid_size=3, spline_order=2, basis=basis, mode=mode).double()
    x = 2.4 * torch.rand(2, 2, 5, 4, dtype=torch.float64) - 1.2
    weight = layer.numbers().detach().reshape(3, 2, 3, 3, layer.basis.numbers)
    expected = by_loops(layer, x, lambda out, channel, a, b, number: weight[out, channel, a, b, number])
    torch.testing.assert_close(layer(x).detach(), expected, atol=1e-12, rtol=0)
    features = layer.basis.features(x, dim=2).flatten(1, 2)
    kernel = weight.permute(0, 1, 4, 2, 3).flatten(1, 2)
    torch.testing.assert_close(expected, nn.functional.conv2d(features, kernel, stride=2, padding=1))


@pytest.mark.parametrize("mode", ["tiled", "materialized"])
@pytest.mark.parametrize("layout", ["per_edge", "released"])
@pytest.mark.parametrize(("basis", "order"), [("bspline", 3), ("legendre", 3), ("chebyshev", 3), ("chebyshev", 6)])
def test_prompts_reach_the_kernel_entries_that_the_layout_says(basis, order, layout, mode):
    """As released, the table (prompts, numbers) is read row by row as (out, in · numbers, 3, 3)."""
    torch.manual_seed(0)
    made = {"basis": basis, "spline_order": order, "prompt_layout": layout, "mode": mode}
    layer = MetaKANConv2d(2, 3, hidden_dim=4, **made).double()
    x = 2 * torch.rand(2, 2, 4, 4, dtype=torch.float64) - 1
    table, numbers = layer.numbers().detach(), layer.basis.numbers

    def entry(out, channel, a, b, number):
        if layout == "per_edge":
            return table[out, 9 * channel + 3 * a + b, number]
        position = ((out * 2 + channel) * numbers + number) * 9 + 3 * a + b
        prompt, place = divmod(position, numbers)
        return table.reshape(-1, numbers)[prompt, place]

    torch.testing.assert_close(layer(x).detach(), by_loops(layer, x, entry), atol=1e-12, rtol=0)


def test_as_released_a_prompt_is_the_kernel_of_one_basis_function_where_there_are_nine_numbers():
    layer = MetaKANConv2d(2, 3, prompt_layout="released")
    kernel = layer.shape.kernel(layer.numbers())
    assert torch.equal(kernel.reshape(3, 18, 9), layer.numbers())
    x = torch.rand(1, 2, 5, 5)
    (gradient,) = torch.autograd.grad(layer(x)[0, 1].sum(), layer.prompts)
    assert not gradient[[0, 2]].any()


@pytest.mark.parametrize(
    ("layers", "basis", "dense", "generated"),
    [
        (4, "bspline", 3_494_958, 392_183),
        (4, "rbf", 3_494_480 - 4 * 8, 391_705 - 4 * 8),  # without the frozen centres
        (4, "legendre", 1_943_210, 391_919),
        (4, "gram", 1_943_226 - 4 * 4, 391_919),  # without the trainable recursion; the released groups are not built
        (4, "chebyshev", 2_719_082, 392_049),  # dense: the published 686,954 is with four groups
        (8, "bspline", 40_696_610, 4_530_283),
        (8, "rbf", 40_695_648 - 8 * 8, 4_529_321 - 8 * 8),
        (8, "legendre", 22_613_082, 4_530_015),
        (8, "gram", 22_613_114 - 8 * 4, 4_530_495 - 8 * 4 - 64 * (1 + 1 + 5)),  # released with a hidden_dim of 128
        (8, "chebyshev", 18_092_202, 4_529_950),
    ],
)
def test_the_published_counts(layers, basis, dense, generated):
    channels = published_channels(layers)
    with torch.device("meta"):
        assert count(ConvKAN(channels, **options(basis, layers))) == dense
        assert count(MetaConvKAN(channels, hidden_dim=64, **options(basis, layers))) == generated


@pytest.mark.parametrize(("clusters", "expected"), [(1, 4_530_283), (3, 4_531_709), (5, 4_533_135), (6, 4_533_848)])
def test_the_published_counts_with_several_meta_learners(clusters, expected):
    with torch.device("meta"):
        model = MetaConvKAN(published_channels(8), hidden_dim=64, num_clusters=clusters)
    assert count(model) == expected
    assert len(model.meta_learners) == clusters


@pytest.mark.parametrize(
    ("clusters", "expected"),
    list(enumerate(["00000000", "00000011", "00001122", "00012233", "00123344", "01234455"], start=1)),
)
def test_layers_are_clustered_as_published(clusters, expected):
    """The released code runs scikit-learn's KMeans on the output channels, and numbers clusters by their centres."""
    found = assign_layers(published_channels(8), clusters)
    assert "".join(map(str, found)) == expected
    assert assign_layers(published_channels(8, 0.125), clusters) == found
    points = [[float(width)] for width in published_channels(8)]
    fit = KMeans(clusters, random_state=42, n_init=10).fit(points)
    order = fit.cluster_centers_[:, 0].argsort().argsort()
    assert [int(order[label]) for label in fit.labels_] == found


def test_more_meta_learners_than_distinct_widths_are_refused():
    with pytest.raises(ValueError, match=r"num_clusters: found 7, expected at most 6, the number of distinct widths"):
        MetaConvKAN(published_channels(8, 0.125), num_clusters=7)


def test_widths_are_scaled_and_depths_checked():
    assert published_channels(8, 0.125) == [2, 4, 8, 16, 32, 32, 64, 64]
    assert published_channels(16)[:4] == [16, 16, 32, 32]
    with pytest.raises(ValueError, match="layers: found 5, expected one of 4, 8, 16"):
        published_channels(5)
    with pytest.raises(ValueError, match="width_factor: found 0"):
        published_channels(4, 0)
    with pytest.raises(ValueError, match="strides: found 1 entries, expected 2"):
        conv_geometry([3, 4], 1, strides=[1])


@pytest.mark.parametrize("placement", ["output", "input"])
def test_stages_are_in_the_order_that_the_placement_says(placement):
    torch.manual_seed(0)
    first, second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
    model = ConvNetwork([first, second], 5, norm="instance", norm_placement=placement, activation="silu").eval()
    x, act = torch.randn(2, 2, 6, 6), nn.functional.silu
    if placement == "output":
        expected = act(model.norms[1](second(act(model.norms[0](first(x))))))
    else:
        expected = act(second(model.norms[1](act(first(model.norms[0](x))))))
    torch.testing.assert_close(model(x), model.head(expected.mean((2, 3))))


def test_channels_are_dropped_from_the_second_stage_on():
    model = ConvNetwork([nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1), nn.Conv2d(3, 4, 1)], 2, dropout=0.3)
    assert [dropout.p for dropout in model.dropouts] == [0, 0.3, 0.3]


@pytest.mark.parametrize("basis", BASES)
def test_the_dense_form_computes_what_the_generated_one_does(basis):
    torch.manual_seed(0)
    model = MetaConvKAN((4, 6), in_channels=1, num_clusters=2, **options(basis, 4)).double().eval()
    x = torch.randn(3, 1, 7, 7, dtype=torch.float64)
    dense = model.materialize()
    torch.testing.assert_close(dense(x), model(x), atol=1e-10, rtol=0)
    assert count(dense) == count(ConvKAN((4, 6), in_channels=1, **options(basis, 4)))
