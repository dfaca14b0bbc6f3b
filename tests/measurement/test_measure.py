"""Measurement against what is known in advance."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kanbench.measurement import measure

MIB = 2**20


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1, bias=False))


def test_parameters_are_counted_by_kind_and_group():
    model = net()
    model[2].weight.requires_grad_(False)
    model.register_buffer("grid", torch.zeros(7))
    groups = [{"name": "prompts", "params": [model[0].weight]}, {"name": "other", "params": [model[0].bias]}]
    assert measure.count_parameters(model, groups) == {
        "trainable": 15,
        "total": 18,
        "buffers": 7,
        "groups": {"prompts": 12, "other": 3},
    }


def test_a_shared_tensor_counts_once():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    assert measure.count_parameters(model, [])["trainable"] == 4


def test_saved_bytes_are_the_unique_activations():
    x = torch.randn(8, 4)
    model = net()
    # Of a ReLU network only the hidden layer is kept: the second product and the ReLU share its 8 x 3 floats.
    assert measure.saved_for_backward(model, lambda: model(x).sum(), [x]) == 8 * 3 * 4
    # exp keeps its result, and the square its input: the same tensor, once.
    w = nn.Parameter(torch.randn(10, 10))
    holder = nn.Module()
    holder.w = w
    assert measure.saved_for_backward(holder, lambda: w.exp().square().sum(), []) == 400


def test_simulated_peak_accounts_for_weights_gradients_and_moments():
    model = nn.Linear(512, 512, bias=False)
    x = torch.randn(1, 512)
    optimiser = torch.optim.Adam(model.parameters(), foreach=False)

    def step():
        optimiser.zero_grad()
        model(x).sum().backward()
        optimiser.step()

    step()
    found = measure.simulated_peak(model, optimiser, step, [x])
    assert found["breakdown"]["parameter"] == MIB
    assert found["breakdown"]["gradient"] == MIB
    assert 2 * MIB <= found["breakdown"]["optimiser"] <= 4 * MIB + 64
    assert found["simulated_peak_bytes"] == sum(found["breakdown"].values())


@pytest.mark.gpu
def test_cuda_peak_reports_a_known_allocation():
    def allocate():
        torch.empty(64 * MIB, dtype=torch.uint8, device="cuda")

    before = torch.cuda.memory_allocated()
    peak, reserved = measure.cuda_peak(allocate, torch.device("cuda"))
    assert abs(peak - before - 64 * MIB) <= 2 * MIB
    assert reserved >= peak


def test_the_timer_leaves_out_the_warm_up():
    timer = measure.StepTimer(torch.device("cpu"))
    assert timer.summary() == {"median": None, "q25": None, "q75": None}
    timer._marks = [(0.0, 9.0)] * measure.WARM_UP_STEPS + [(0.0, 1.0), (0.0, 2.0), (0.0, 3.0)]
    assert timer.summary() == {"median": 2.0, "q25": 1.5, "q75": 2.5}
