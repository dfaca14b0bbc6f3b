"""Function fitting: formulas against published label statistics, sampling, noise, floors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
import torch

from kanbench.tasks import feynman, task, taskinfo

PUBLISHED_SAMPLES = 2000
PUBLISHED = {  # mean and standard deviation of 2,000 labels of the released code; its I.16.6 is the wrong one
    "I.6.20a": (0.164, 0.1386), "I.6.20": (0.3057, 0.1103), "I.6.20b": (0.2242, 0.1357), "I.8.4": (1.045, 0.4973),
    "I.9.18": (-0.0004889, 0.02828), "I.10.7": (0.5604, 0.3522), "I.11.19": (-0.005338, 0.5689),
    "I.12.1": (-0.003894, 0.3319), "I.12.2": (0.0001652, 0.03435), "I.12.4": (-0.001018, 0.06312),
    "I.12.5": (-0.003894, 0.3319), "I.12.11": (-0.00232, 0.3473), "I.13.4": (-0.002249, 0.3239),
    "I.13.12": (-0.001713, 0.1013), "I.14.3": (0.0004678, 0.1872), "I.14.4": (0.07911, 0.09719),
    "I.15.3x": (0.001207, 0.7965), "I.15.10": (-0.004052, 0.3458), "I.16.6-released": (-0.02715, 0.229),
    "I.18.4": (-0.001085, 0.3992), "I.18.16": (-0.004982, 0.1335), "I.24.6": (0.02673, 0.04184),
    "I.25.13": (-0.002614, 0.588), "I.26.2": (0.009058, 0.4504), "I.27.6": (0.6038, 0.179),
    "I.29.4": (0.4636, 0.3488), "I.29.16": (0.7093, 0.3748), "I.30.3": (0.3641, 0.4112),
    "I.34.10": (0.7669, 0.5437), "I.37.4": (1.069, 0.853),
}  # fmt: skip


def load(seed=0, dtype=torch.float64, **settings):
    settings = taskinfo.resolve("feynman", settings)
    return task.load("feynman", settings, seed=seed, dtype=dtype, device=torch.device("cpu"))


def labels(name: str, count: int) -> np.ndarray:
    formula = taskinfo.formulas()[name]
    bounds = feynman.ranges(formula)
    points = np.random.default_rng(7).uniform(bounds[:, 0], bounds[:, 1], (count, len(bounds)))
    return feynman.target(formula, points)


def test_the_published_statistics_cover_the_runnable_formulas():
    right = {name.removesuffix("-released") for name in PUBLISHED}
    assert right == set(taskinfo.formula_ids("runnable"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_labels_have_the_published_mean_and_deviation(name):
    values = labels(name, 100_000)
    mean, deviation = PUBLISHED[name]
    centred = values - values.mean()
    error_of_mean = values.std() / math.sqrt(PUBLISHED_SAMPLES)
    error_of_deviation = math.sqrt((centred**4).mean() - values.var() ** 2) / (
        2 * values.std() * math.sqrt(PUBLISHED_SAMPLES)
    )
    assert mean == pytest.approx(values.mean(), abs=4 * error_of_mean)
    assert deviation == pytest.approx(values.std(), abs=4 * error_of_deviation + 1e-4)


@pytest.mark.parametrize("name", taskinfo.formulas())
def test_every_formula_uses_its_variables_and_is_finite(name):
    formula = taskinfo.formulas()[name]
    symbols = {variable: sympy.Symbol(variable) for variable in formula["variables"]}
    used = sympy.sympify(formula["expression"], locals=symbols).free_symbols
    assert used == set(symbols.values())
    bounds = feynman.ranges(formula)
    assert (bounds[:, 0] < bounds[:, 1]).all()
    values = labels(name, 2000)
    assert np.isfinite(values).all()
    assert values.std() > 0


def test_values_at_known_points():
    formulas = taskinfo.formulas()
    points = np.array([[0.5, -0.4, 2.0]])
    assert feynman.target(formulas["I.16.6"], points)[0] == pytest.approx(0.1 / (1 - 0.2 / 4))
    assert feynman.target(formulas["I.16.6-released"], points)[0] == pytest.approx(-0.2 / (1 - 0.2 / 4))
    assert feynman.target(formulas["product"], np.array([[0.5, -0.4]]))[0] == pytest.approx(-0.2)
    assert feynman.target(formulas["exp-sin"], np.array([[0.5, 0.5]]))[0] == pytest.approx(math.exp(1.25))
    assert feynman.target(formulas["I.12.11"], np.array([[2.0, 3.0, 1.0, 1.0, math.pi / 2]]))[0] == pytest.approx(8.0)


def test_unit_scaling_maps_the_declared_ranges_and_none_leaves_them():
    scaled, plain = load(formula="I.26.2"), load(formula="I.26.2", input_scaling="none")
    inputs, raw = scaled.splits["train"][0], plain.splits["train"][0]
    assert inputs.abs().max() <= 1
    assert torch.allclose((inputs + 1) / 2 * torch.tensor([0.99, 2 * math.pi]), raw, atol=1e-12)
    assert torch.equal(scaled.splits["train"][1], plain.splits["train"][1])
    ratio, angle = plain.splits["test"][0].T
    assert torch.allclose(plain.splits["test"][1][:, 0], torch.asin(ratio * angle.sin()), atol=1e-12)


def test_a_seed_fixes_the_data_and_the_splits_are_separate_draws():
    first, again, other = load(), load(), load(seed=1)
    assert first.data == again.data
    assert first.data["fingerprint"] != other.data["fingerprint"]
    assert load(dtype=torch.float32).data == first.data
    points = [set(first.splits[split][0][:, 0].tolist()) for split in task.SPLITS]
    assert [len(p) for p in points] == [1000, 1000, 1000]
    assert len(set().union(*points)) == 3000


def test_more_training_points_leave_the_other_splits_alone():
    few, many = load(train_samples=20), load(train_samples=400)
    assert torch.equal(few.splits["test"][0], many.splits["test"][0])
    assert torch.equal(few.splits["train"][0], many.splits["train"][0][:20])


def test_noise_is_relative_and_on_training_targets_only():
    clean, noisy = load(train_samples=20_000), load(train_samples=20_000, noise=0.5)
    difference = noisy.splits["train"][1] - clean.splits["train"][1]
    assert difference.std().item() == pytest.approx(0.5 * clean.splits["train"][1].std().item(), rel=0.03)
    for split in ("validation", "test"):
        assert torch.equal(noisy.splits[split][1], clean.splits[split][1])


def test_floors_are_the_best_constant_and_the_best_affine_function():
    subject = load(formula="I.11.19", train_samples=5000, test_samples=5000)
    targets = subject.splits["test"][1]
    floors = subject.floors()
    assert floors["constant"]["rmse"] == pytest.approx(targets.std().item(), rel=0.01)
    assert floors["constant"]["nrmse"] == pytest.approx(1.0, abs=0.03)
    assert floors["affine"]["rmse"] == pytest.approx(floors["constant"]["rmse"], rel=0.01), "products only"
    affine = load(formula="I.14.3", train_samples=5000).floors()
    assert affine["affine"]["rmse"] < 0.7 * affine["constant"]["rmse"]
