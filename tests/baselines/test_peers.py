"""Packages of other authors: absent ones are skipped, present ones compute what they are described to."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from kanbench.base import paths, seeds
from kanbench.baselines import build, discovery
from kanbench.tasks.task import Problem
from metakan import KAN

PACKAGES = {"flashkan": "flashkan", "inkan": "inkan", "kanditioned-default": "KANditioned"}
SHAPE = Problem("function_fitting", inputs=3, outputs=2, grid_range=(-1.5, 1.0))


def method_of(name: str) -> discovery.Method:
    return discovery.discover()[name.partition("-")[0]].methods[name]


def made(name: str, **overrides) -> torch.nn.Module:
    pytest.importorskip(PACKAGES[name])
    method = method_of(name)
    settings = discovery.resolve(method, SHAPE.family, {"hidden_width": 4, "depth": 1, **overrides})
    with seeds.seeded(0, "initialisation"):
        return build.build(method, settings, SHAPE).double()


@pytest.mark.parametrize("name", PACKAGES)
def test_an_absent_package_makes_the_baseline_unavailable(name, monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    for loaded in [key for key in sys.modules if key.startswith(f"kanbench_baseline_{name.partition('-')[0]}")]:
        monkeypatch.delitem(sys.modules, loaded)
    with pytest.raises(build.Unavailable, match=PACKAGES[name]):
        build.load_model_module(method_of(name).baseline)


def dense(network: torch.nn.Module, name: str) -> KAN:
    """Return a `KAN` with the coefficients of a package's network."""
    kan = KAN([3, 4, 2], grid_size=7, grid_range=SHAPE.grid_range).double()
    layers = network.layers if name == "flashkan" else network[1].layers
    with torch.no_grad():
        for ours, theirs in zip(kan.layers, layers, strict=True):
            if name == "flashkan":
                numbers = torch.cat([theirs.spline_weight, theirs.base_weight.unsqueeze(-1)], dim=-1)
            else:
                splines, base = theirs.weight.split([ours.in_features * 10, ours.in_features], dim=1)
                numbers = torch.cat([splines.unflatten(1, (ours.in_features, 10)), base.unsqueeze(-1)], dim=-1)
            ours.edges.weight.copy_(numbers)
    return kan


@pytest.mark.parametrize("name", ["flashkan", "inkan"])
def test_spline_packages_compute_the_kan_of_their_coefficients(name):
    network = made(name, grid_size=7)
    kan = dense(network, name)
    x = (3 * torch.rand(40, 3, dtype=torch.float64) - 1.7).requires_grad_()
    found, expected = network(x), kan(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # one of them writes 1/6 in eight digits
    first = [torch.autograd.grad(y.sum(), x, create_graph=True)[0] for y in (found, expected)]
    torch.testing.assert_close(*first, rtol=0, atol=1e-5)
    second = [torch.autograd.grad(slope.sum(), x)[0] for slope in first]
    torch.testing.assert_close(*second, rtol=0, atol=1e-4)


@pytest.mark.parametrize("lookup", ["embedding_bag", "embedding"])
def test_kanditioned_interpolates_and_goes_on_straight(lookup):
    network = made("kanditioned-default", control_points=6, spline_width=2.0, depth=0, lookup=lookup)
    table = network[1].kan_weight.detach()
    with torch.no_grad():
        network[1].kan_weight.copy_(torch.randn_like(table))
    x = 3 * torch.rand(30, 3, dtype=torch.float64) - 1.5
    places = np.linspace(-1, 1, 6)
    expected = np.zeros((30, 2))
    for i in range(3):
        for o in range(2):
            values, points = table[i, :, o].numpy(), x[:, i].numpy()
            inner = np.interp(points, places, values)
            left, right = (values[1] - values[0]) / 0.4, (values[-1] - values[-2]) / 0.4
            inner += np.minimum(points + 1, 0) * left + np.maximum(points - 1, 0) * right
            expected[:, o] += inner
    torch.testing.assert_close(network(x).detach(), torch.from_numpy(expected), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["flashkan", "inkan"])
def test_compiled_code_declines_what_needs_second_derivatives(name):
    pytest.importorskip(PACKAGES[name])
    module = build.load_model_module(method_of(name).baseline)
    assert "second derivatives" in module.declines(Problem("pde", inputs=2, outputs=1), {"compiled": True})
    assert module.declines(Problem("pde", inputs=2, outputs=1), {"compiled": False}) is None


def test_the_benchmark_has_a_row_for_every_package_present_or_not(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(paths.root() / "benchmarks"))
    import peers

    monkeypatch.setitem(sys.modules, "inkan", None)
    for loaded in [key for key in sys.modules if key.startswith("kanbench_baseline_inkan")]:
        monkeypatch.delitem(sys.modules, loaded)
    assert peers.main(["--width", "6", "8", "3", "--batch", "4", "--rounds", "1"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert list(rows) == list(peers.METHODS)
    assert "skipped: inkan needs the package 'inkan'" in rows["inkan"]
    assert "efficient" in rows["efficient_kan"].partition(" ")[2], "upstream or own"
    ratios = [float(rows[name].split()[5]) for name in peers.DENSE if "skipped" not in rows[name]]
    assert min(ratios) == 1.0
