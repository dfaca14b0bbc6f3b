"""What the fit of a form to a dense network finds, on networks whose edge functions are known."""

from __future__ import annotations

import types

import pytest
import torch
from torch import nn

from kanbench.baselines import build, discovery
from kanbench.tasks import task as tasks
from kanbench.tasks import taskinfo
from kanbench.training import analysis
from kanbench.training.analyses import representation
from metakan import KAN, MetaKAN
from metakan.misfit import feature_moments, misfit

MODULE = build.load_model_module(discovery.discover()["tiled_kan"])
ONE, TWO, THREE = "one function", "2 functions mixed", "3 functions mixed"


def subject_of(dense: KAN, forms: tuple[str, ...] = ()) -> types.SimpleNamespace:
    """A trained network as an analysis meets it; with the forms that are named, or all."""
    sizes = {"formula": "I.6.20", "train_samples": 60, "validation_samples": 40, "test_samples": 20}
    settings = taskinfo.resolve("feynman", sizes)
    task = tasks.load("feynman", settings, seed=0, dtype=torch.float64, device=torch.device("cpu"))
    model = nn.Sequential(nn.Flatten(), dense)

    def offered(inputs: torch.Tensor) -> dict:
        found = MODULE.generated_forms(model, inputs)
        return {name: found[name] for name in forms or found}

    return types.SimpleNamespace(
        model=model,
        task=task,
        generator=lambda purpose: torch.Generator().manual_seed(3),
        capabilities={"generated_forms": offered},
    )


def of_functions(count: int) -> KAN:
    """A dense KAN whose edge functions are mixtures of so many."""
    torch.manual_seed(0)
    dense = KAN([2, 4, 1]).double()
    for layer in dense.layers:
        weight = layer.edges.weight
        mixture = torch.randn(*weight.shape[:2], count, dtype=weight.dtype)
        with torch.no_grad():
            weight.copy_(mixture @ torch.randn(count, weight.shape[-1], dtype=weight.dtype) / 3)
    return dense


@pytest.mark.parametrize("count", [1, 2])
def test_as_many_functions_as_a_network_is_made_of_fit_it_and_fewer_do_not(count):
    subject = subject_of(of_functions(count), (ONE, TWO, THREE))
    found = representation.finish(subject, {"starts": 2, "steps": 20})
    for number, entry in enumerate(found["forms"], 1):
        if number >= count:
            assert entry["functions_left"] < 1e-3
            assert entry["fitted"] == pytest.approx(found["dense"], rel=0.05)
        else:
            assert entry["functions_left"] > 0.1
        assert entry["trained_further"] < entry["fitted"]


def test_every_form_is_measured_with_its_parameters():
    subject = subject_of(of_functions(3))
    before = torch.random.get_rng_state()
    found = representation.finish(subject, {"starts": 1, "steps": 1})
    assert torch.equal(torch.random.get_rng_state(), before)
    counts = {entry["form"]: entry["parameters"] for entry in found["forms"]}
    assert counts.keys() == MODULE.GENERATED.keys()
    assert counts[ONE] == 12 + 2 * 9
    assert counts["curve"] == 12 + 2 * (2 * 16 + 17 * 9)
    assert counts["curve with a remainder of rank 1"] == counts["curve"] + (4 + 2 * 9) + (1 + 4 * 9)


def test_the_misfit_is_the_mean_square_of_the_functions_difference():
    torch.manual_seed(0)
    dense, model = KAN([2, 3, 1]).double(), MetaKAN([2, 3, 1], hidden_dim=4).double()
    x = torch.rand(200, 2, dtype=torch.float64) * 2 - 1
    weights = feature_moments(dense, x)
    parts, inputs = [], x
    for own, other in zip(model.layers, dense.layers, strict=True):
        at = inputs.t()
        wanted, given = (
            torch.stack([each.edge_functions(column)[:, place] for place, column in enumerate(at)], dim=1)
            for each in (other, own)
        )
        parts.append((given - wanted).square().mean(-1).sum() / wanted.square().mean(-1).sum())
        inputs = other(inputs)
    torch.testing.assert_close(misfit(model, dense, weights), sum(parts) / 2)


def test_edge_functions_that_are_not_linear_in_their_numbers_are_passed_over():
    wavelets = KAN([2, 3, 1], basis="wavelet").double()
    with pytest.raises(analysis.Skip, match="not linear"):
        representation.finish(subject_of(wavelets), {"starts": 1, "steps": 1})
    with pytest.raises(ValueError, match="basis: found 'wavelet'"):
        feature_moments(wavelets, torch.zeros(3, 2, dtype=torch.float64))
