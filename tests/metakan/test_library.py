"""`metakan` as a library: bad arguments, and what users do to modules."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import metakan
from metakan import (
    KAN,
    ConvKAN,
    ConvNetwork,
    KANConv2d,
    KANLinear,
    MetaConvKAN,
    MetaKAN,
    MetaKANConv2d,
    MetaKANLinear,
    MetaLearner,
    MixedLearner,
    assign_layers,
    make_basis,
)

BSPLINE = {"grid_size": 5, "spline_order": 3, "grid_range": (-1, 1)}
RBF_LEARNER = MetaLearner(1, 4, 8, basis=make_basis("rbf", 5, 3, (-1, 1)).describe())
LEARNER = MetaLearner(1, 4, 9)


def spline(**changes):
    return lambda: make_basis(**{"basis": "bspline", **BSPLINE, **changes})


def network(kind=MetaKAN, width=(4, 3, 2), **options):
    return lambda: kind(list(width) if isinstance(width, tuple) else width, **options)


BAD_ARGUMENTS = [
    # every public constructor and function: (call, error, what is named, what was found, what was expected)
    (network(grid_size=0), ValueError, "grid_size: found 0, expected an integer >= 1"),
    (network(grid_size=2.5), TypeError, r"grid_size: found 2.5 of type float, expected an integer >= 1"),
    (network(grid_size=True), TypeError, "grid_size: found True of type bool"),
    (network(spline_order=0), ValueError, "spline_order: found 0"),
    (network(width=[3]), ValueError, r"width: found \[3\], expected at least 2 entries"),
    (network(width=3), TypeError, "width: found 3 of type int, expected a sequence"),
    (network(width="32"), TypeError, "width: found '32' of type str"),
    (network(width=[3, 0, 2]), ValueError, r"width\[1\]: found 0"),
    (network(width=[3, 2.0]), TypeError, r"width\[1\]: found 2.0 of type float"),
    (network(prompt_dim=0), ValueError, "prompt_dim: found 0"),
    (network(hidden_dim=-1), ValueError, "hidden_dim: found -1"),
    (network(basis="bsplin"), ValueError, "basis: found 'bsplin', expected one of 'bspline', 'rbf'"),
    (network(basis=7), ValueError, "basis: found 7, expected one of"),
    (network(meta_activation="Relu"), ValueError, "meta_activation: found 'Relu', expected one of 'relu'"),
    (network(init="xavier"), ValueError, "init: found 'xavier', expected one of 'scaled'"),
    (network(mode="tile"), ValueError, "mode: found 'tile', expected one of 'auto', 'tiled'"),
    (network(grid_range=(1, -1)), ValueError, r"grid_range: found \(1, -1\), expected finite numbers with low < high"),
    (network(grid_range=(0, float("inf"))), ValueError, "grid_range"),
    (network(grid_range=3), ValueError, "grid_range: found 3, expected two numbers"),
    (network(num_clusters=0), ValueError, "num_clusters: found 0"),
    (network(num_clusters=3), ValueError, "num_clusters: found 3, expected at most 2"),
    (network(clustering="kmeans"), ValueError, "clustering: found 'kmeans', expected one of"),
    (network(clustering=[0, 2], num_clusters=2), ValueError, r"clustering: found \[0, 2\], expected 2 ids"),
    (network(clustering=5), TypeError, "clustering: found 5 of type int"),
    (network(meta_learners=[LEARNER, LEARNER]), ValueError, "meta_learners: found 2, expected 1"),
    (network(meta_learners=torch.nn.Linear(1, 9)), TypeError, "Linear"),
    (network(meta_learners=[3]), TypeError, r"meta_learners\[0\]: found a int, expected a MetaLearner"),
    (network(meta_learners=LEARNER, hidden_dim=8), ValueError, "found hidden_dim=4, expected 8"),
    (network(meta_learners=LEARNER, prompt_dim=2), ValueError, "found prompt_dim=1, expected 2"),
    (network(meta_learners=LEARNER, meta_activation="tanh"), ValueError, "found meta_activation='relu'"),
    (network(meta_learners=LEARNER, grid_size=6), ValueError, "generates 9 numbers, expected 10"),
    (network(meta_learners=RBF_LEARNER, grid_size=4), ValueError, "found one for the basis {'name': 'rbf'"),
    (network(KAN, grid_size=0), ValueError, "grid_size: found 0"),
    (network(KAN, width=[1]), ValueError, "width"),
    (network(KAN, mode="fast"), ValueError, "mode: found 'fast'"),
    (network(MetaConvKAN, grid_size=0), ValueError, "grid_size: found 0"),
    (network(MetaConvKAN, width=[]), ValueError, "channels: found"),
    (network(MetaConvKAN, strides=(1,)), ValueError, "strides: found 1 entries, expected 3"),
    (network(MetaConvKAN, strides=2), TypeError, "strides: found 2 of type int"),
    (network(MetaConvKAN, norm="layer"), ValueError, "norm: found 'layer'"),
    (network(MetaConvKAN, prompt_layout="flat"), ValueError, "prompt_layout: found 'flat'"),
    (network(MetaConvKAN, prompt_layout="released", basis="wavelet"), ValueError, "prompt_layout: found 'released'"),
    (network(MetaConvKAN, meta_learners=[]), ValueError, "meta_learners: found 0, expected 1"),
    (network(ConvKAN, num_classes=0), ValueError, "num_classes: found 0"),
    (network(ConvKAN, in_channels="3"), TypeError, "in_channels: found '3' of type str"),
    (lambda: KANLinear(0, 2), ValueError, "in_features: found 0"),
    (lambda: KANLinear(2, 1.5), TypeError, "out_features: found 1.5 of type float"),
    (lambda: MetaKANLinear(2, 0), ValueError, "out_features: found 0"),
    (lambda: MetaKANLinear(2, 2, meta_learner=LEARNER, grid_size=9), ValueError, "generates 9 numbers, expected 13"),
    (lambda: MetaKANLinear(2, 2, meta_learner="own"), TypeError, "expected a MetaLearner"),
    (lambda: MetaKANLinear(2, 2, meta_learner=LEARNER, init="released"), ValueError, "found init='scaled'"),
    (lambda: KANConv2d(3, 0), ValueError, "out_channels: found 0"),
    (lambda: KANConv2d(3, 4, (3, 3, 3)), ValueError, r"kernel_size: found \(3, 3, 3\)"),
    (lambda: KANConv2d(3, 4, 2.5), TypeError, "kernel_size: found 2.5 of type float"),
    (lambda: MetaKANConv2d(3, 4, stride=0), ValueError, "stride: found 0"),
    (lambda: MetaKANConv2d(3, 4, padding=-1), ValueError, "padding: found -1"),
    (lambda: MetaLearner(0, 4, 9), ValueError, "prompt_dim: found 0"),
    (lambda: MetaLearner(1, 0, 9), ValueError, "found 'relu' with hidden_dim=0, expected 'none'"),
    (lambda: MetaLearner(1, -1, 9), ValueError, "hidden_dim: found -1"),
    (lambda: MetaLearner(1, 4, 0), ValueError, "numbers: found 0"),
    (lambda: MetaLearner(1, 4, 9, gains=(1, 2)), ValueError, "gains: found 2 entries, expected 9"),
    (spline(grid_size=0), ValueError, "grid_size: found 0"),
    (spline(basis="spline"), ValueError, "basis: found 'spline'"),
    (lambda: assign_layers([4, 4], 2, "blocks"), ValueError, "clustering: found 'blocks'"),
    (lambda: assign_layers([4, 4, 2], 0), ValueError, "num_clusters: found 0"),
    (lambda: assign_layers([4, 4, 2], 2, "kmeans_in_out"), TypeError, "input_widths: found None"),
    (lambda: assign_layers([4, 4, 2], 2, "random", seed=-1), ValueError, "seed: found -1"),
    (lambda: MixedLearner([LEARNER]), ValueError, "learners: found 1, expected at least two"),
    (lambda: MixedLearner([LEARNER, 3]), TypeError, r"learners\[1\]: found a int, expected a MetaLearner"),
    (
        lambda: MixedLearner([LEARNER, MetaLearner(2, 4, 9)]),
        ValueError,
        r"learners\[1\]: found prompt_dim=2, expected 1",
    ),
    (lambda: MixedLearner([LEARNER, LEARNER], -1), ValueError, "temperature: found -1, expected a number >= 0"),
    (lambda: MetaKAN([4, 3, 2]).set_clusters([0, 1]), ValueError, r"clustering: found \[0, 1\], expected 2 ids"),
    (lambda: assign_layers([4, 0], 1), ValueError, r"output_widths\[1\]: found 0"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD_ARGUMENTS)
def test_bad_arguments_name_what_was_found_and_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()


FLAT = [
    (lambda: torch.zeros(5, 3), ValueError, r"shape \(5, 3\), expected 4 features along dimension -1"),
    (lambda: torch.zeros(()), ValueError, r"shape \(\), expected 4"),
    (lambda: torch.zeros(5, 4, dtype=torch.int64), TypeError, "dtype torch.int64, expected torch.float32"),
    (lambda: torch.zeros(5, 4, dtype=torch.float64), TypeError, "dtype torch.float64, expected torch.float32"),
    (lambda: torch.zeros(5, 4, device="meta"), ValueError, "on meta, expected it on cpu"),
    (lambda: [[0.0] * 4], TypeError, "type list, expected a torch.Tensor"),
]
IMAGES = [
    (lambda: torch.zeros(5, 3, 8, 8), ValueError, "expected 4 features along dimension -3"),
    (lambda: torch.zeros(4, 8, 8), ValueError, r"shape \(4, 8, 8\), expected \(batch, 4, height, width\)"),
    (lambda: torch.zeros(1, 4, 8, 8, dtype=torch.float16), TypeError, "dtype torch.float16, expected torch.float32"),
    (lambda: torch.zeros(1, 4, 8, 8, device="meta"), ValueError, "on meta, expected it on cpu"),
    (lambda: "image", TypeError, "type str, expected a torch.Tensor"),
]
MODULES = {
    "MetaKAN": (lambda: MetaKAN([4, 3, 2]), FLAT),
    "KAN": (lambda: KAN([4, 3, 2]), FLAT),
    "MetaKANLinear": (lambda: MetaKANLinear(4, 2), FLAT),
    "KANLinear": (lambda: KANLinear(4, 2), FLAT),
    "MetaLearner": (lambda: MetaLearner(4, 8, 9), FLAT),
    "MixedLearner": (lambda: MixedLearner([MetaLearner(4, 8, 9), MetaLearner(4, 8, 9)]), FLAT),
    "MetaConvKAN": (lambda: MetaConvKAN((3, 2), in_channels=4), IMAGES),
    "ConvKAN": (lambda: ConvKAN((3, 2), in_channels=4), IMAGES),
    "MetaKANConv2d": (lambda: MetaKANConv2d(4, 2), IMAGES),
    "KANConv2d": (lambda: KANConv2d(4, 2), IMAGES),
    "ConvNetwork": (lambda: ConvNetwork([KANConv2d(4, 2)], 3), IMAGES),
}
BAD_INPUTS = [(name, case) for name, (_, cases) in MODULES.items() for case in cases]


def test_every_public_module_is_in_the_table():
    public = {name for name in metakan.__all__ if isinstance(getattr(metakan, name), type)}
    assert set(MODULES) == {name for name in public if issubclass(getattr(metakan, name), torch.nn.Module)}


@pytest.mark.parametrize(("name", "case"), BAD_INPUTS)
def test_bad_inputs_name_what_was_found_and_expected(name, case):
    make, error, message = case
    with pytest.raises(error, match=message):
        MODULES[name][0]()(make())


def test_an_image_smaller_than_the_kernel_is_refused():
    with pytest.raises(ValueError, match=r"image of \(2, 8\), expected at least the kernel size \(3, 3\)"):
        KANConv2d(1, 1, padding=0)(torch.zeros(1, 1, 2, 8))


def test_edge_functions_refuse_points_that_are_not_a_list_of_numbers():
    layer = MetaKANLinear(2, 2)
    with pytest.raises(ValueError, match=r"shape \(2, 1\), expected \(n,\)"):
        layer.edge_functions(torch.zeros(2, 1))
    with pytest.raises(TypeError, match="int64"):
        layer.edge_functions(torch.arange(3))


def made(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return a module in evaluation mode, with what initialisation leaves at zero moved away, and an input."""
    torch.manual_seed(0)
    make, cases = MODULES[name]
    module = make().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    x = torch.rand(*((5, 4) if cases is FLAT else (5, 4, 6, 6))) * 2 - 1
    return module, x


@pytest.mark.parametrize("name", MODULES)
def test_copies_compute_the_same_and_are_apart(name):
    module, x = made(name)
    expected = module(x).detach()
    loaded = MODULES[name][0]().eval()
    assert not torch.allclose(loaded(x), expected, atol=1e-3)
    loaded.load_state_dict(module.state_dict(), strict=True)
    copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded]
    with torch.no_grad():
        next(module.parameters()).zero_()
    assert not torch.allclose(module(x), expected, atol=1e-3)
    for other in copies:
        torch.testing.assert_close(other(x), expected, atol=0, rtol=0)


def test_copies_of_a_network_share_their_meta_learner_among_layers():
    for model in (copy.deepcopy(MetaKAN([4, 3, 2])), pickle.loads(pickle.dumps(MetaKAN([4, 3, 2])))):
        (learner,) = model.meta_learners
        assert all(layer.meta_learner is learner for layer in model.layers)


@pytest.mark.parametrize("name", MODULES)
def test_double_precision_follows_the_input(name):
    module, x = made(name)
    single = module(x)
    double = module.to(torch.float64)(x.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double, single.double(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", ["tiled", "materialized"])
@pytest.mark.parametrize("basis", ["bspline", "rbf", "wavelet", "gram"])
@pytest.mark.parametrize("kind", [MetaKAN, KAN])
def test_compiled_networks_give_the_same_values_and_gradients(kind, basis, mode):
    torch.compiler.reset()  # beyond a number of networks torch stops to compile, without a word
    torch.manual_seed(0)
    model, x = kind([4, 3, 2], basis=basis, mode=mode), torch.rand(7, 4, requires_grad=True)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    wanted = [x, *model.parameters()]
    expected = torch.autograd.grad(model(x).square().sum(), wanted)
    found = torch.autograd.grad(compiled(x).square().sum(), wanted)
    torch.testing.assert_close(compiled(x), model(x), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("mode", ["tiled", "materialized", "auto"])
@pytest.mark.parametrize("activation", ["relu", "none", "tanh"])
@pytest.mark.parametrize("basis", ["bspline", "rbf", "wavelet", "chebyshev"])
def test_an_empty_batch_passes_forward_and_backward(basis, activation, mode):
    model = MetaKAN([4, 3, 2], basis=basis, meta_activation=activation, mode=mode)
    x = torch.zeros(0, 4, requires_grad=True)
    y = model(x)
    assert y.shape == (0, 2)
    y.sum().backward()
    assert x.grad.shape == (0, 4)
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("mode", ["tiled", "materialized"])
def test_an_empty_batch_of_images_passes_forward_and_backward(mode):
    layer = MetaKANConv2d(2, 3, mode=mode)
    y = layer(torch.zeros(0, 2, 8, 8))
    assert y.shape == (0, 3, 8, 8)
    y.sum().backward()
    assert not layer.prompts.grad.any()


def test_leading_dimensions_are_kept():
    model, x = made("MetaKAN")
    rows = model(x)
    torch.testing.assert_close(model(x.view(5, 1, 4)), rows.view(5, 1, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(model(x[0]), rows[0], atol=1e-6, rtol=0)
