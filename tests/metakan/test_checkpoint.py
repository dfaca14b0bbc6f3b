"""Meta-learners in files, and networks that take them."""

from __future__ import annotations

import pickle

import pytest
import torch

from metakan import (
    MetaConvKAN,
    MetaKAN,
    MetaKANConv2d,
    MetaKANLinear,
    MetaLearner,
    load_meta_learner,
    save_meta_learner,
)

PROVENANCE = {"task": "feynman", "seed": 3, "formulas": ["I.6.20a", "I.9.18"], "steps": 200, "lr": 1e-3, "note": None}


def saved(model, path, **options):
    """Save with moved parameters, load again."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    save_meta_learner(model, path, **options)
    return load_meta_learner(path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("activation", ["relu", "none", "tanh", "silu", "gelu"])
def test_a_round_trip_keeps_values_settings_and_provenance(tmp_path, activation, dtype):
    options = {"prompt_dim": 2, "hidden_dim": 5, "meta_activation": activation, "init": "released"}
    model = MetaKAN([3, 4, 2], basis="rbf", **options).to(dtype)
    found = saved(model, tmp_path / "learner.pt", provenance=PROVENANCE)
    expected = model.meta_learners[0]
    assert isinstance(found, MetaLearner)
    assert found.describe() == expected.describe()
    assert found.describe()["basis"] == {
        "name": "rbf", "grid_size": 5, "spline_order": 3, "grid_range": [-1.0, 1.0],
    }  # fmt: skip
    assert (found.activation, found.init) == (activation, "released")
    assert found.provenance == PROVENANCE
    z = torch.randn(6, 2).to(dtype)
    assert torch.equal(found(z), expected(z))


def test_several_are_a_list_in_the_order_of_the_clusters(tmp_path):
    model = MetaKAN([3, 4, 5, 2], num_clusters=3, hidden_dim=4)
    found = saved(model, tmp_path / "learners.pt")
    assert len(found) == 3
    for learner, expected in zip(found, model.meta_learners, strict=True):
        torch.testing.assert_close(learner.state_dict(), expected.state_dict(), atol=0, rtol=0)
        assert learner.provenance == {}
    again = MetaKAN([3, 4, 5, 2], num_clusters=3, meta_learners=found)
    assert list(again.meta_learners) == found
    again.load_state_dict(model.state_dict())
    x = torch.rand(7, 3)
    assert torch.equal(again(x), model(x))


@pytest.mark.parametrize(
    "make", [lambda: MetaKANLinear(3, 2, hidden_dim=4), lambda: MetaKAN([3, 2], hidden_dim=4).layers[0]]
)
def test_a_layer_gives_its_meta_learner_whether_registered_or_not(tmp_path, make):
    layer = make()
    found = saved(layer, tmp_path / "learner.pt")
    torch.testing.assert_close(found.state_dict(), layer.meta_learner.state_dict(), atol=0, rtol=0)


def test_a_frozen_meta_learner_serves_layers_while_prompts_learn(tmp_path):
    learner = saved(MetaKAN([3, 4, 2], hidden_dim=6, prompt_dim=2), tmp_path / "learner.pt")
    learner.requires_grad_(False)
    model = MetaKAN([5, 7, 1], meta_learners=learner)
    assert model.meta_learners[0] is learner
    assert [layer.prompts.shape[2] for layer in model.layers] == [2, 2]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(torch.rand(8, 5)).square().sum().backward()
    optimiser.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"layers.0.edges.prompts", "layers.1.edges.prompts"}
    learner.requires_grad_(True)
    model(torch.rand(8, 5)).sum().backward()
    assert all(p.grad is not None for p in learner.parameters())


def test_layers_and_convolutions_take_it(tmp_path):
    learner = saved(MetaKAN([3, 2], hidden_dim=6), tmp_path / "learner.pt")
    linear, image = MetaKANLinear(4, 2, meta_learner=learner), MetaKANConv2d(2, 3, meta_learner=learner)
    assert linear.meta_learner is image.meta_learner is learner
    network = MetaConvKAN((3, 4), in_channels=1, meta_learners=[learner])
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert network.meta_learners[0] is learner


def test_loading_draws_nothing_from_the_global_generator(tmp_path):
    save_meta_learner(MetaLearner(1, 4, 9), tmp_path / "learner.pt")
    state = torch.get_rng_state()
    load_meta_learner(tmp_path / "learner.pt")
    assert torch.equal(torch.get_rng_state(), state)


def test_bad_files_and_arguments_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_meta_learner(tmp_path / "nowhere.pt")
    (tmp_path / "text.pt").write_text("no tensors")
    with pytest.raises(ValueError, match=r"text.pt: not a file of save_meta_learner"):
        load_meta_learner(tmp_path / "text.pt")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="found the format None, expected 'metakan.meta_learner'"):
        load_meta_learner(tmp_path / "other.pt")
    with pytest.raises(ValueError, match="found no MetaLearner in Linear"):
        save_meta_learner(torch.nn.Linear(1, 1), tmp_path / "none.pt")
    with pytest.raises(TypeError, match="found a dict, expected a MetaLearner or a model"):
        save_meta_learner({}, tmp_path / "none.pt")
    with pytest.raises(TypeError, match="provenance: found a list, expected a mapping"):
        save_meta_learner(MetaLearner(1, 4, 9), tmp_path / "none.pt", provenance=[1])
    with pytest.raises(TypeError, match="provenance: .*expected values of JSON's types"):
        save_meta_learner(MetaLearner(1, 4, 9), tmp_path / "none.pt", provenance={"x": object()})
    assert not (tmp_path / "none.pt").exists()


class Trap:
    """Would run code when it is unpickled."""

    def __reduce__(self):
        return print, ("ran",)


def test_no_code_runs_on_loading(tmp_path, capsys):
    torch.save({"format": "metakan.meta_learner", "version": 1, "trap": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ValueError, match="not a file of save_meta_learner"):
        load_meta_learner(tmp_path / "trap.pt")
    assert capsys.readouterr().out == ""
    assert pickle.loads(pickle.dumps(Trap())) is None
    assert capsys.readouterr().out == "ran\n"
