"""What a baseline may not touch, kind by kind: each fault is found by its rule, and in words that say what it is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch
from guests import BUILD, GOOD, guest

from kanbench.base import paths
from kanbench.baselines import build, check, estimators

pytestmark = pytest.mark.usefixtures("elsewhere")


def outcome(folder: Path, body: str, rule: str, **changes):
    results = {result.rule: result for result in check.check_baseline("guest", guest(folder, body, **changes))}
    return results[rule]


def broken(folder: Path, body: str, rule: str, **changes) -> str:
    result = outcome(folder, body, rule, **changes)
    assert result.ok is False, result
    return result.message


CHANGED = "of the batch were changed in place: "
HOOKS = {
    "def after_step(model, step, batch): batch[1].zero_()": f"targets {CHANGED}after_step",
    "def after_step(model, step, batch): batch[0].data.mul_(2)": f"inputs {CHANGED}after_step",
    "def after_step(model, step, batch): batch[1].resize_(1)": f"targets {CHANGED}after_step",
    "def prepare(model, batch): batch[0].clamp_(0, 1)": f"inputs {CHANGED}prepare",
    "def prepare(model, batch): model.kept = batch[1]\ndef penalty(model):\n    model.kept.add_(1)\n"
    "    return model.linear.weight.sum()": f"targets {CHANGED}penalty",
    "def after_step(model, batch): pass": "takes 2 positional arguments but 3 were given",
    "def penalty(model, batch): pass": "missing 1 required positional argument",
}


@pytest.mark.parametrize("body", HOOKS)
def test_hooks_that_change_the_batch_or_cannot_be_called(tmp_path, body):
    assert HOOKS[body] in broken(tmp_path, BUILD + body, "hooks")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("0.1", "a float"),
        ("model.linear.weight.sum(1)", "the shape (1,)"),
        ("(model.linear.weight.sum() * 3).long()", "torch.int64"),
        ("model.linear.weight.sum() / 0", "inf"),
        ("[model.linear.weight.sum()]", "a list"),
    ],
)
def test_a_penalty_is_a_scalar_tensor(tmp_path, value, found):
    assert found in broken(tmp_path, f"{BUILD}def penalty(model): return {value}", "penalty")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("after_steps", "after_step"),
        ("penaltys", "penalty"),
        ("parameters_group", "parameter_groups"),
        ("afterStep", "after_step"),
        ("prompt", "prompts"),
        ("edge_function", "edge_functions"),
    ],
)
def test_a_misspelt_hook_is_named_with_the_nearest(tmp_path, name, meant):
    message = broken(tmp_path, f"{BUILD}def {name}(*arguments): pass", "names")
    assert f"'{name}' is never called (did you mean '{meant}'?)" in message


def test_functions_of_its_own_may_be_called_anything_else(tmp_path):
    assert outcome(tmp_path, f"{BUILD}def normalised(x): return x\ndef _penaltys(model): pass", "names").ok


def test_the_list_of_offers_is_that_of_the_calls():
    called = set()
    for path in (paths.root() / "workflow/kanbench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "capability":
                called |= {part.value for part in node.args[1:] if isinstance(part, ast.Constant)}
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "REQUIRES":
                called |= set(ast.literal_eval(node.value))
    assert called <= {*build.OFFERS, *estimators.OFFERS}
    text = (paths.root() / "docs/reference/contract.md").read_text(encoding="utf-8")
    assert set(build.OFFERS) <= {"build", *re.findall(r"`(\w+)\(", text)}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("import kanbench.base.paths", "kanbench.base.paths"),
        ("from kanbench import PROTOCOL", "kanbench"),
        ("import importlib\nloaded = importlib.import_module('baselines.mlp.model')", "baselines.mlp.model"),
        ("import snakemake", "snakemake"),
    ],
)
def test_imports_of_the_harness_and_of_other_baselines(tmp_path, line, name):
    (folder := tmp_path / "a").mkdir()
    target = guest(folder, BUILD)
    (target / "guest/parts.py").write_text(f"def late():\n    {line.splitlines()[0]}\n")
    found = {result.rule: result for result in check.check_baseline("guest", target)}["imports"]
    assert ("guest/parts.py, line 2" in found.message) == ("loaded" not in line)
    (other := tmp_path / "b").mkdir()
    lines = "\n".join(f"    {part}" for part in line.splitlines())
    assert f"imports {name}" in broken(other, f"{BUILD}def later():\n{lines}", "imports")


FILES = {
    "open('here.txt', 'w').close()": "here.txt",
    "import pathlib; pathlib.Path.home().joinpath('.mine').write_text('x')": "~/home/.mine",
    "import tempfile; tempfile.mkstemp()": "~/temporary/tmp",
    "import os; os.close(os.open('low.bin', os.O_CREAT | os.O_WRONLY))": "low.bin",
    "import os; os.makedirs('kept', exist_ok=True)": "kept",
    "torch.save(x.detach(), 'state.pt')": "state.pt",
    "np.save('array.npy', np.zeros(2))": "array.npy",
    "import subprocess; subprocess.run(['true'])": "the process",
    "import pathlib; pathlib.Path(__file__).with_name('beside.txt').write_text('x')": "beside.txt",
}


@pytest.mark.parametrize("line", FILES)
def test_files_are_seen_wherever_they_are_written(tmp_path, line):
    body = f"class M(Line):\n    def forward(self, x):\n        {line}\n        return self.linear(x)\n"
    message = broken(tmp_path, body + "def build(problem, settings): return M(problem)", "files")
    assert FILES[line] in message


def test_files_of_hooks_are_seen_and_reading_is_free(tmp_path):
    hook = "def after_step(model, step, batch): open('log.txt', 'a').write('x')"
    assert "log.txt" in broken(tmp_path, BUILD + hook, "files")
    (other := tmp_path / "other").mkdir()
    assert outcome(other, BUILD + "def describe(model): return {'text': open(__file__).read()}", "files").ok


SWITCHES = {
    "torch.set_default_dtype(torch.float64)": "the default dtype from torch.float32 to torch.float64",
    "torch.set_num_threads(7)": "the number of threads from",
    "torch.set_grad_enabled(False)": "the gradient mode from True to False",
    "torch.use_deterministic_algorithms(True)": "deterministic algorithms from False to True",
    "torch.manual_seed(0)": "torch's global generator is reseeded",
    "np.random.seed(0)": "NumPy's global generator is touched",
    "random.seed(0)": "the global generator of `random` is touched",
    "import os; os.chdir('/')": "the working directory from",
}
PLACES = {
    "build": "def build(problem, settings):\n    {}\n    return Line(problem)",
    "a forward pass": "class M(Line):\n    def forward(self, x):\n        {}\n        return self.linear(x)\n"
    "def build(problem, settings): return M(problem)",
    "after_step": BUILD + "def after_step(model, step, batch):\n    {}",
    "penalty": BUILD + "def penalty(model):\n    {}\n    return model.linear.weight.abs().sum()",
    "prepare": BUILD + "def prepare(model, batch):\n    {}",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("line", SWITCHES)
def test_global_state_is_left_alone_everywhere(tmp_path, place, line):
    before = build.switches()
    message = broken(tmp_path, PLACES[place].format(line), "generators")
    assert SWITCHES[line] in message
    assert place in message
    assert build.switches() == before, "what a rule has seen is undone"


def test_what_an_import_changes_is_named_and_undone(tmp_path):
    message = broken(tmp_path, "torch.set_default_dtype(torch.float64)\n" + BUILD, "generators")
    assert message == "importing model.py changes the default dtype from torch.float32 to torch.float64"
    assert torch.get_default_dtype() == torch.float32


SMALL = {
    "return self.linear(x).squeeze()[..., None]": "function_fitting with 1 input(s) and 1 output(s)",
    "return self.linear(x).squeeze(-1) if self.linear.out_features == 1 else self.linear(x)": "gave (1,)",
    "return self.linear(x)[None] if not self.training else self.linear(x)": "evaluating",
    "return self.linear(x).sum(0, keepdim=True)": "expected (",
}


@pytest.mark.parametrize("line", SMALL)
def test_outputs_that_would_be_broadcast_against_the_targets(tmp_path, line):
    body = f"class M(Line):\n    def forward(self, x):\n        {line}\n"
    body += "def build(problem, settings): return M(problem)"
    results = {r.rule: r for r in check.check_baseline("guest", guest(tmp_path, body))}
    assert SMALL[line] in results["small_problems"].message


def test_a_method_that_fails_on_one_input_is_told_on_which(tmp_path):
    body = "class M(Line):\n    def forward(self, x): return self.linear(x - x[:, 1:2] * 0)\n"
    message = broken(tmp_path, body + "def build(problem, settings): return M(problem)", "small_problems")
    assert message.startswith("function_fitting with 1 input(s) and 1 output(s): ")


BATCH_STATISTICS = (
    "class M(Line):\n    def forward(self, x): return self.linear(x - x.mean(0))\n"
    "def build(problem, settings): return M(problem)"
)


def test_a_rule_that_a_published_method_breaks_is_waived_with_its_reason(tmp_path):
    reason = "the published method centres every batch"
    result = outcome(tmp_path, BATCH_STATISTICS, "evaluation", waivers={"evaluation": reason})
    assert result.ok is None
    assert result.message.startswith(f"waived: {reason} (an output depends on the rest of the batch")


def test_a_waiver_counts_for_its_rule_alone_and_for_rules_that_may_be_waived(tmp_path):
    assert outcome(tmp_path, GOOD, "evaluation", waivers={"evaluation": "it might break one day"}).ok is True
    (other := tmp_path / "other").mkdir()
    results = check.check_baseline("guest", guest(other, GOOD, waivers={"count": "it is hard to count"}))
    assert [(r.rule, r.ok) for r in results] == [("schema", False)]
    assert "one of dtype_and_device, evaluation" in results[0].message
