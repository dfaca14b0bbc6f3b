"""Baselines written around packages: found by trying widths, described by what was counted, kept to the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from kanbench.base.errors import InvalidInput
from kanbench.baselines import check, discovery, wrapping

PACKAGE = '''
import torch
from torch import nn


class Block(nn.Module):
    """Takes sizes, not widths."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.linear(x)


class PowerKAN(nn.Module):
    def __init__(self, widths, grid=3, k=2, scale=0.5, name="powers", compiled=True, seed=0, activation=None):
        super().__init__()
        if k != 2:
            raise ValueError("only k=2")
        if compiled:
            raise RuntimeError("no compiler")
        torch.manual_seed(seed)
        shapes = zip(widths[:-1], widths[1:])
        self.weights = nn.ParameterList(nn.Parameter(scale * torch.randn(a, b, grid)) for a, b in shapes)

    def forward(self, x):
        for weight in self.weights:
            powers = torch.stack([torch.tanh(x) ** n for n in range(1, weight.shape[-1] + 1)], -1)
            x = torch.einsum("nip,iop->no", powers, weight)
        return x
'''


@pytest.fixture
def package(tmp_path, monkeypatch) -> str:
    (tmp_path / "powers_of_x.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "powers_of_x"


def test_a_file_on_the_path_becomes_a_baseline_that_keeps_the_contract(package, tmp_path):
    place = tmp_path / "baselines"
    wrapping.new_baseline("powers", package, place)
    results = check.check_baseline("powers", place)
    assert [result for result in results if result.ok is False] == []
    baseline = discovery.discover(place)["powers"]
    assert baseline.label == "PowerKAN"
    assert baseline.requires == ("powers_of_x",)
    assert baseline.axes == ("hidden_width", "depth", "grid_size"), "k takes one value alone, so it is no axis"
    plain = {"hidden_width": 32, "depth": 1, "grid_size": 3, "spline_order": 2}
    assert dict(baseline.settings) == {**plain, "scale": 0.5, "name": "powers", "compiled": False}
    assert baseline.example["trainable_parameters"] == (784 * 32 + 32 * 10) * 3
    model = (baseline.path / "model.py").read_text()
    assert 'grid=settings["grid_size"]' in model
    assert "seed=int(torch.randint(" in model, "the harness seeds"
    assert "activation" not in model, "what has no plain default is the package's"


def test_a_class_may_be_named(package, tmp_path):
    with pytest.raises(InvalidInput, match="Block: TypeError"):
        wrapping.new_baseline("powers", f"{package}:Block", tmp_path / "baselines")
    with pytest.raises(InvalidInput, match="no such class"):
        wrapping.new_baseline("powers", f"{package}:PowerCAN", tmp_path / "baselines")
    assert not list(Path(tmp_path).glob("baselines/*")), "nothing is left"


def test_a_package_that_is_not_there_is_named_with_what_to_do(tmp_path):
    with pytest.raises(InvalidInput, match="pip install no_such_kan"):
        wrapping.new_baseline("powers", "no_such_kan", tmp_path / "baselines")
