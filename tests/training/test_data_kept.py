"""Data that a method changes while it trains, and outputs that would be broadcast, end the run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from guests import BUILD, guest

from kanbench.base import paths, seeds
from kanbench.study import config, plan
from kanbench.tasks import task, taskinfo
from kanbench.training import ensemble, train

CHANGES = {
    "def after_step(model, step, batch): batch[1].zero_()": "function_fitting",
    "def after_step(model, step, batch): batch[0].data[0, 0] += 1e-3": "function_fitting",
    "def prepare(model, batch): batch[0].mul_(2)": "function_fitting",
    "def penalty(model):\n    import gc\n    return model.linear.weight.sum() * 0": None,
}


@pytest.fixture
def suite_of(tmp_path, monkeypatch):
    """Return what makes a suite whose only baseline is a `guest` with a given model."""

    def make(body: str, **changes) -> Path:
        for name in ("Snakefile", "workflow", "paper_figures"):
            (tmp_path / name).symlink_to(paths.root() / name)
        (tmp_path / "baselines").mkdir()
        guest(tmp_path / "baselines", body, **changes)
        monkeypatch.setenv("KANBENCH_ROOT", str(tmp_path))
        return tmp_path

    return make


def specs(tiny, **changes) -> list[dict]:
    tiny["experiments"]["E1"] |= {"methods": ["guest"], "axes": {}, **changes}
    return [run.spec for run in plan.expand(config.from_content(tiny, "tiny.yaml")).runs.values()]


@pytest.mark.parametrize("body", CHANGES)
def test_a_run_whose_data_were_changed_is_no_result(suite_of, tiny, body):
    suite_of(BUILD + body)
    (spec,) = specs(tiny)
    if CHANGES[body] is None:
        assert train.run(spec)["status"] == "ok"
        return
    result = train.run(spec)
    assert result["status"] == "failed"
    assert "guest changed the data of the task during training" in result["reason"]
    assert result["metrics"] == {"last": None, "selected": None, "legacy_best_on_test": None}


def test_a_mini_batch_is_a_copy_and_the_data_are_kept(suite_of, tiny):
    suite_of(BUILD + "def after_step(model, step, batch): batch[1].zero_()")
    training = {"optimiser": "adam", "steps": 4, "evaluations": 2, "batch_size": 8}
    (spec,) = specs(tiny, training=training)
    assert train.run(spec)["status"] == "ok", "the contract finds this hook; the data set is whole"


@pytest.mark.usefixtures("pairs_are_stacked")
def test_runs_that_are_trained_together_are_looked_at_too(suite_of, tiny):
    lines = ("if not torch._C._functorch.is_batchedtensor(x): x.data[0, 0] += 1", "return self.linear(x)")
    body = "class M(Line):\n    def forward(self, x):\n        " + "\n        ".join(lines)
    suite_of(body + "\ndef build(problem, settings): return M(problem)")
    tiny["seeds"] = [0, 1]
    for result in ensemble.run(specs(tiny)):
        assert result["status"] == "failed"
        assert "changed the data of the task" in result["reason"]


@pytest.mark.parametrize("name", ["poisson", "feynman_family", "digits", "step_cost", "edge_diversity"])
def test_every_task_says_what_it_holds_and_training_leaves_it(name):
    info = taskinfo.discover()[name]
    settings = taskinfo.resolve(name, {})
    subject = task.load(name, settings, seed=0, dtype=torch.float32, device=torch.device("cpu"))
    held = subject.held()
    assert held
    assert all(torch.is_tensor(part) for part in held)
    before = task.fingerprint(*held)
    next(subject.batches(4, seeds.generator(0, "order")))
    assert task.fingerprint(*subject.held()) == before
    held[-1].view(-1)[0] += 1
    assert task.fingerprint(*subject.held()) != before, info.name


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8]
)
def test_fingerprints_take_every_dtype_and_every_view(dtype):
    whole = torch.arange(24).reshape(4, 6).to(dtype)
    part = whole[:, ::2]
    assert task.fingerprint(part) == task.fingerprint(part.clone())
    assert task.fingerprint(part) != task.fingerprint(part.flip(0))
    assert task.fingerprint(torch.zeros((), dtype=dtype)) != task.fingerprint(torch.zeros(1, dtype=dtype))
    assert task.fingerprint(torch.zeros(0, 3, dtype=dtype)) == task.fingerprint(torch.zeros(0, 3, dtype=dtype))


@pytest.mark.parametrize(
    "line", ["self.linear(x)[:, 0]", "self.linear(x)[None]", "self.linear(x).sum(0, keepdim=True)"]
)
def test_outputs_of_another_shape_end_the_run_instead_of_being_broadcast(suite_of, tiny, line):
    body = f"class M(Line):\n    def forward(self, x): return {line}\ndef build(problem, settings): return M(problem)"
    suite_of(body)
    result = train.run(specs(tiny)[0])
    assert result["status"] == "failed"
    assert re.search(r"the model gave outputs of the shape .* expected \(\d+, 1\)", result["reason"])


def test_a_record_says_which_rules_its_method_breaks_and_why(suite_of, tiny):
    waivers = {"evaluation": "the published method centres every batch"}
    suite_of(BUILD, waivers=waivers)
    assert train.run(specs(tiny)[0])["method_info"] == {"waived": waivers}
