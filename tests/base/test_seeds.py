"""Random numbers: separate purposes, equal seeds, untouched global generators."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from kanbench.base import seeds


def draws(seed, purpose):
    return torch.randn(4, generator=seeds.generator(seed, purpose)).tolist()


def test_a_seed_and_a_purpose_fix_the_numbers():
    assert draws(3, "order") == draws(3, "order")
    assert draws(3, "order") != draws(4, "order")
    assert draws(3, "order") != draws(3, "split")
    numpy = [seeds.numpy_generator(3, purpose).random(3).tolist() for purpose in ("order", "order", "split")]
    assert numpy[0] == numpy[1] != numpy[2]


def test_neighbouring_seeds_and_purposes_never_share_a_stream():
    streams = {seeds.derive(seed, purpose) for seed in range(200) for purpose in ("a", "b", "a/1")}
    assert len(streams) == 600
    assert all(0 <= value < 2**63 for value in streams)


def state():
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002


def test_seeded_repeats_inside_and_restores_outside():
    before, inside = state(), []
    for _ in range(2):
        with seeds.seeded(5, "initialisation"):
            inside.append((torch.rand(1).item(), random.random(), np.random.rand()))  # noqa: NPY002
    assert inside[0] == inside[1]
    assert state() == before


def test_seeded_restores_after_an_error():
    def fail():
        with seeds.seeded(0, "a"):
            torch.manual_seed(1)
            raise KeyError

    before = state()
    with pytest.raises(KeyError):
        fail()
    assert state() == before
