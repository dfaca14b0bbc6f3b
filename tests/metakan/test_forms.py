"""Forms of a generated KAN that are not the paper's: amplitudes, separate prompts, mixed functions, shapes."""

from __future__ import annotations

import pytest
import torch

from metakan import MetaKAN, MetaKANConv2d, MetaKANLinear, MetaLearner, load_meta_learner, make_basis, save_meta_learner
from metakan.bases.gram import Gram
from metakan.shapes import FAMILIES, shape_numbers

MIXED = {"hidden_dim": 0, "meta_activation": "none", "prompt_dim": 2}
FORMS = {
    "amplitude": {"amplitude": True, "hidden_dim": 8},
    "separate": {"separate": True, "prompt_dim": 2, "hidden_dim": 8},
    "both": {"separate": True, "amplitude": True, "prompt_dim": 3, "hidden_dim": 9, "shapes": "sines"},
    "mixed": {**MIXED, "shapes": "polynomials"},
    "mixed by amplitude": {**MIXED, "amplitude": True},
    "remainder": {"hidden_dim": 8, "remainder_rank": 2},
    "mixed with a remainder": {**MIXED, "remainder_rank": 3},
}


def network(form: str, width=(7, 60, 3), **further) -> MetaKAN:
    torch.manual_seed(0)
    model = MetaKAN(list(width), num_clusters=2, **FORMS[form], **further).double()
    for layer in model.layers:
        if layer.edges.remainder is not None:  # it starts with zeros, which hide it
            torch.nn.init.normal_(layer.edges.remainder.output_factor)
    return model


def by_hand(layer: MetaKANLinear, edge: tuple[int, int]) -> torch.Tensor:
    """Return the numbers of one edge, unit by unit, from the parameters alone."""
    return generated_by_hand(layer, edge) + (0 if layer.edges.remainder is None else remainder_by_hand(layer, edge))


def remainder_by_hand(layer: MetaKANLinear, edge: tuple[int, int]) -> torch.Tensor:
    part, (row, column) = layer.edges.remainder, edge
    rank = part.output_factor.shape[1]
    return sum(part.output_factor[row, r] * part.input_factor[r, column] for r in range(rank))


def generated_by_hand(layer: MetaKANLinear, edge: tuple[int, int]) -> torch.Tensor:
    learner, prompt = layer.meta_learner, layer.prompts[edge]
    size = layer.in_features**-0.5
    amplified = layer.edges.amplitudes is not None
    z, factor = (prompt, layer.edges.amplitudes[edge][0]) if amplified else (prompt / size, size)
    if not learner.hidden_dim:
        return factor * sum(z[d] * learner.output.weight[:, d] for d in range(len(z)))
    total = learner.output.bias.clone()
    for unit in range(learner.hidden_dim):
        row = learner.hidden.weight[unit]
        argument = row[0] * z[unit % len(z)] if learner.separate else row @ z
        total = total + torch.relu(argument + learner.hidden.bias[unit]) * learner.output.weight[:, unit]
    return factor * total


@pytest.mark.parametrize("form", FORMS)
def test_the_numbers_are_those_of_the_formula(form):
    for layer in network(form).layers:
        numbers = layer.numbers()
        for edge in ((0, 0), (2, 4)):
            torch.testing.assert_close(numbers[edge], by_hand(layer, edge))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["tiled", "auto"])
def test_every_form_of_the_engine_has_the_plain_gradients(form, mode):
    x = torch.randn(400, 7, dtype=torch.float64)
    found = []
    for each in ("materialized", mode):
        model, inputs = network(form, mode=each), x.clone().requires_grad_()
        y = model(inputs)
        (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
        found.append([y.detach(), inputs.grad, *(parameter.grad for parameter in model.parameters())])
    assert model.mode_used != "materialized"
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_first_and_second_derivatives_are_those_of_differences(form):
    model = network(form, (2, 3, 2), mode="tiled")
    x = torch.rand(4, 2, dtype=torch.float64).mul_(1.6).sub_(0.8).requires_grad_()
    names = list(dict(model.named_parameters()))
    tensors = [parameter.detach().requires_grad_() for parameter in model.parameters()]

    def evaluate(points, *values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), points)

    assert torch.autograd.gradcheck(evaluate, (x, *tensors))
    assert torch.autograd.gradgradcheck(lambda points: evaluate(points, *tensors), (x,))


def test_separate_prompts_are_visited_by_the_walk_one_by_one():
    from metakan import native

    model = network("separate", (128, 128, 128)).float()
    model(torch.randn(64, 128))
    assert model.mode_used == ("walk" if native.active() and native.walk.AVAILABLE else "tiled")


def test_functions_mixed_are_the_affine_network_without_its_offset():
    """Functions U and weights z are a linear meta-learner whose hidden layer is the identity."""
    layer = MetaKANLinear(4, 3, **MIXED).double()
    affine = MetaKANLinear(4, 3, prompt_dim=2, hidden_dim=2, meta_activation="none").double()
    with torch.no_grad():
        affine.prompts.copy_(layer.prompts)
        learner = affine.meta_learner
        learner.hidden.weight.copy_(torch.eye(2)), learner.hidden.bias.zero_()
        learner.output.weight.copy_(layer.meta_learner.output.weight), learner.output.bias.zero_()
    x = torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), affine(x))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("amplitude", 2 * (7 * 60 + 60 * 3) + 2 * (2 * 8 + 9 * 9)),
        ("separate", 2 * (7 * 60 + 60 * 3) + 2 * (2 * 8 + 9 * 9)),
        ("mixed", 2 * (7 * 60 + 60 * 3) + 2 * 2 * 9),
        ("remainder", 7 * 60 + 60 * 3 + 2 * (2 * 8 + 9 * 9) + 2 * (60 + 7 * 9 + 3 + 60 * 9)),
    ],
)
def test_parameters(form, expected):
    assert sum(parameter.numel() for parameter in network(form).parameters()) == expected


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["bspline", "rbf", "legendre"])
def test_shapes_are_distinct_and_as_large_as_functions_of_a_dense_network(family, name):
    basis = make_basis(name, 8, 3, (-2, 2))
    low, high = getattr(basis, "grid_range", (-1, 1))
    t = torch.linspace(low, high, 2001, dtype=torch.float64)
    planes = basis.planes(t)
    values = shape_numbers(basis, family, 3).double() @ planes
    sizes = values.square().mean(1)
    usual = (torch.tensor(basis.gains).double().unsqueeze(1) * planes).square().sum(0).mean()
    assert ((sizes / usual).log().abs() < 0.5).all()  # a basis that lacks a shape has it smaller
    assert torch.linalg.matrix_rank(values / sizes.sqrt().unsqueeze(1), rtol=1e-2) == 3


def test_polynomials_are_exact_on_cubic_splines():
    basis = make_basis("bspline", 5, 3, (-1, 1))
    t = torch.linspace(-1, 1, 101, dtype=torch.float64)
    values = shape_numbers(basis, "polynomials", 3).double() @ basis.planes(t)
    wanted = torch.stack([t, (3 * t**2 - 1) / 2, (5 * t**3 - 3 * t) / 2])
    for found, exact in zip(values, wanted, strict=True):
        factor = (found @ exact) / (exact @ exact)
        assert factor > 0
        torch.testing.assert_close(found, factor * exact, atol=1e-6, rtol=0)


def test_functions_start_as_the_shapes_over_the_root_of_their_number():
    basis = make_basis("bspline", 5, 3, (-1, 1))
    layer = MetaKANLinear(4, 3, **MIXED, shapes="sines")
    expected = shape_numbers(basis, "sines", 2).t() / 2**0.5
    torch.testing.assert_close(layer.meta_learner.output.weight.detach(), expected)


def test_amplitudes_start_with_the_variance_of_the_fan_in_and_prompts_with_one():
    torch.manual_seed(0)
    layer = MetaKANLinear(400, 100, amplitude=True)
    assert layer.edges.amplitudes.std().item() == pytest.approx(400**-0.5, rel=0.02)
    assert layer.prompts.std().item() == pytest.approx(1.0, rel=0.02)
    assert layer.numbers()[..., -1].std().item() == pytest.approx(400**-0.5, rel=0.1)


@pytest.mark.parametrize("form", FORMS)
def test_states_and_files_hold_the_form(form, tmp_path):
    model = network(form).float()
    torch.manual_seed(1)
    other = MetaKAN([7, 60, 3], num_clusters=2, **FORMS[form])
    other.load_state_dict(model.state_dict())
    x = torch.randn(6, 7)
    torch.testing.assert_close(other(x), model(x))
    save_meta_learner(model, tmp_path / "learners.pt")
    for found, source in zip(load_meta_learner(tmp_path / "learners.pt"), model.meta_learners, strict=True):
        assert (found.separate, found.hidden_dim) == (source.separate, source.hidden_dim)
        prompts = torch.randn(5, source.prompt_dim)
        torch.testing.assert_close(found(prompts), source(prompts))
    torch.testing.assert_close(model.materialize()(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_state_of_another_form_is_refused():
    plain = MetaKANLinear(4, 3, prompt_dim=2, hidden_dim=8, meta_activation="relu")
    with pytest.raises(RuntimeError, match="separate"):
        MetaLearner(2, 8, 9, separate=True).load_state_dict(plain.meta_learner.state_dict())
    with pytest.raises(RuntimeError, match="amplitude"):
        MetaKANLinear(4, 3, prompt_dim=2, hidden_dim=8, amplitude=True).load_state_dict(plain.state_dict())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_dim": 0}, "meta_activation: found 'relu' with hidden_dim=0, expected 'none'"),
        ({"hidden_dim": 0, "meta_activation": "none", "init": "released"}, "init: found 'released' with hidden_dim=0"),
        ({"separate": True, "prompt_dim": 4, "hidden_dim": 3}, "hidden_dim: found 3 with separate=True"),
        ({"shapes": "squares"}, "shapes: found 'squares', expected one of 'random', 'polynomials'"),
        ({"shapes": "sines", "basis": "wavelet"}, "shapes: found 'sines' with the basis 'wavelet'"),
        ({"amplitude": True, "basis": "wavelet"}, "amplitude: found True with the basis 'wavelet'"),
        ({"remainder_rank": 2, "basis": "wavelet"}, "remainder_rank: found 2 with the basis 'wavelet', expected 0"),
        (
            {"remainder_rank": 2, "basis": Gram(3, 8, form="released")},
            "remainder_rank: found 2 with the basis 'gram', expected 0",
        ),
        ({"remainder_rank": -1}, "remainder_rank: found -1, expected an integer >= 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MetaKAN([4, 3, 2], **settings)


def test_a_network_starts_as_it_would_without_a_remainder():
    x, found = torch.randn(5, 4), []
    for rank in (0, 3):
        torch.manual_seed(0)
        model = MetaKAN([4, 6, 2], hidden_dim=8)
        with_part = MetaKAN([4, 6, 2], hidden_dim=8, remainder_rank=rank) if rank else model
        with_part.load_state_dict(model.state_dict(), strict=False)
        found.append(with_part(x))
    assert torch.equal(*found)


def test_the_remainder_of_a_rank_that_suffices_holds_any_numbers():
    layer = MetaKANLinear(4, 3, hidden_dim=8, remainder_rank=3).double()
    wanted = torch.randn(3, 4, 9, dtype=torch.float64)
    with torch.no_grad():
        layer.edges.remainder.output_factor.copy_(torch.eye(3))
        layer.edges.remainder.input_factor.copy_(wanted - layer.edges.source().numbers())
    torch.testing.assert_close(layer.numbers(), wanted)


def test_a_convolution_mixes_functions_too():
    torch.manual_seed(0)
    layer = MetaKANConv2d(3, 4, **MIXED).double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    y = layer(x)
    assert layer.mode_used == "factorised"
    torch.testing.assert_close(y, layer.materialize()(x))
