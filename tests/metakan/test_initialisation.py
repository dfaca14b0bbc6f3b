"""Where generated numbers start, and how far one step of an optimiser moves them: alike for every fan-in."""

from __future__ import annotations

import pytest
import torch

from metakan import MetaKANLinear, MetaLearner, make_basis

FAN_INS = (16, 1024)


def layers(basis: str = "bspline", **options) -> list[MetaKANLinear]:
    """Return layers of several fan-ins that share a meta-learner."""
    torch.manual_seed(0)
    family = make_basis(basis, 5, 3, (-1, 1))
    learner = MetaLearner(1, 32, family.numbers, gains=family.gains, **options)
    return [MetaKANLinear(fan_in, 16384 // fan_in, meta_learner=learner, basis=family) for fan_in in FAN_INS]


@pytest.mark.parametrize("basis", ["bspline", "wavelet", "chebyshev"])
def test_generated_numbers_start_with_the_deviations_of_a_dense_layer(basis):
    for layer, fan_in in zip(layers(basis), FAN_INS, strict=True):
        found = layer.numbers().flatten(0, 1)
        expected = torch.tensor(layer.basis.scales(fan_in))
        torch.testing.assert_close(found.std(0), expected, rtol=0.05, atol=0)
        assert (found.mean(0).abs() < 0.05 * expected).all()


def test_a_step_of_a_prompt_moves_a_weight_equally_far_whatever_the_fan_in():
    slopes = []
    for layer in layers():
        (slope,) = torch.autograd.grad(layer.numbers()[..., -1].sum(), layer.prompts)
        slopes.append(slope.abs().mean().item())
    assert slopes[0] == pytest.approx(slopes[1], rel=0.05)
    assert 0.5 < slopes[0] < 2, "a step of a base weight is about the step of its prompt"


def test_as_released_prompts_reach_the_meta_learner_unscaled():
    for layer, fan_in in zip(layers(init="released"), FAN_INS, strict=True):
        assert layer.prompts.std().item() == pytest.approx((2 / (1 + 16384)) ** 0.5, rel=0.05), fan_in
        torch.testing.assert_close(layer.numbers(), layer.meta_learner(layer.prompts))
