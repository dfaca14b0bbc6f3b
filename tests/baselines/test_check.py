"""The contract check itself: a baseline that breaks a rule is rejected by the name of that rule."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from guests import DESCRIPTION, GOOD, HEAD, guest

from kanbench.base.errors import Unavailable
from kanbench.baselines import build, check, discovery, outcomes

pytestmark = pytest.mark.usefixtures("elsewhere")


def broken_rules(folder: Path) -> dict[str, str]:
    return {r.rule: r.message for r in check.check_baseline("guest", folder) if r.ok is False}


def test_a_line_keeps_every_rule(tmp_path):
    results = check.check_baseline("guest", guest(tmp_path, GOOD))
    assert [result.rule for result in results] == ["schema", *check.RULES]
    assert all(result.ok for result in results)


WRONG = {
    "shapes": "class M(Line):\n    def forward(self, x): return self.linear(x)[:, 0]",
    "dtype_and_device": "class M(Line):\n    def forward(self, x): return self.linear(x).float()",
    "gradients": "class M(Line):\n    def __init__(self, p):\n        super().__init__(p)\n"
    "        self.dead = nn.Parameter(torch.rand(1))\n    def forward(self, x): return self.linear(x) + 0 * self.dead",
    "second_derivatives": "class M(Line):\n    def forward(self, x):\n        with torch.no_grad(): y = x * 1\n"
    "        return self.linear(y)",
    "count": "class M(Line):\n    def __init__(self, p):\n        super().__init__(p)\n"
    "        self.gain = nn.Parameter(torch.ones(1))\n    def forward(self, x): return self.linear(x) * self.gain",
    "files": "class M(Line):\n    def forward(self, x):\n        open('cache.txt', 'w').close()\n"
    "        return self.linear(x)",
    "settings_read_only": "class M(Line): pass\n"
    "def build(problem, settings):\n    if isinstance(settings, dict): settings['scale'] = 2.0\n    return M(problem)",
    "generators": "class M(Line):\n    def __init__(self, p):\n        np.random.seed(torch.randint(9, ()).item())\n"
    "        super().__init__(p)",
    "seed_decides": "class M(Line):\n    def __init__(self, p):\n        super().__init__(p)\n"
    "        for q in self.parameters(): nn.init.constant_(q, 0.5)",
    "state_dict": "class M(Line):\n    def __init__(self, p):\n        super().__init__(p)\n"
    "        self.shift = torch.rand(1)\n    def forward(self, x): return self.linear(x) + self.shift",
    "evaluation": "class M(Line):\n    def forward(self, x): return self.linear(x - x.mean(0))",
    "learning": "class M(Line):\n    def forward(self, x): return self.linear(x) * 1e-6",
    "imports": "class M(Line): pass\ndef late():\n    from kanbench.tasks import task\n    return task",
    "names": "class M(Line): pass\ndef after_steps(model, step, batch): pass",
    "small_problems": "class M(Line):\n    def forward(self, x): return self.linear(x).squeeze()[..., None]",
    "axes": "class M(Line): pass",
    "penalty": "class M(Line): pass\ndef penalty(model): return 0.1 * model.linear.weight.abs()",
    "hooks": "class M(Line): pass\ndef after_step(model, step, batch): batch[1].zero_()",
    "groups": "class M(Line): pass\ndef parameter_groups(model, settings):\n"
    "    return [{'name': 'a', 'params': list(model.parameters())}, {'name': 'b', 'params': [model.linear.bias]}]",
}


@pytest.mark.parametrize("rule", WRONG)
def test_a_broken_rule_is_named(tmp_path, rule):
    body = WRONG[rule]
    if "def build" not in body:
        body += "\ndef build(problem, settings): return M(problem)"
    changes = {"axes": ["depth"], "settings": {**DESCRIPTION["settings"], "depth": 1}} if rule == "axes" else {}
    found = broken_rules(guest(tmp_path, body, **changes))
    assert rule in found
    assert found[rule]
    assert "builds" not in found


def test_every_rule_that_can_be_broken_is_tried_here():
    assert set(WRONG) == set(check.RULES) - {"builds"}


def test_messages_say_what_was_found(tmp_path):
    found = broken_rules(guest(tmp_path, WRONG["gradients"] + "\ndef build(problem, settings): return M(problem)"))
    assert found["gradients"].startswith("the gradient of dead is zero everywhere")
    assert found["count"].startswith("4 counted, 3 declared")


def test_parameter_groups_have_to_be_declared(tmp_path):
    body = "def build(problem, settings): return Line(problem)\ndef parameter_groups(model, settings):\n"
    body += "    return [{'name': 'slopes', 'params': [model.linear.weight]}]"
    found = broken_rules(guest(tmp_path, body))
    assert found["groups"] == "groups slopes found, none declared in groups"


def test_a_pinned_seed_is_noticed(tmp_path):
    found = broken_rules(
        guest(tmp_path, "def build(problem, settings):\n    torch.manual_seed(0)\n    return Line(problem)")
    )
    assert found["generators"].startswith("torch's global generator is reseeded")
    assert found["seed_decides"] == "another seed changes nothing"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("def build(problem, settings):\n    settings['scale'] = 2", "does not support item assignment"),
        ("def build(problem, settings):\n    settings['sizes'].append(3)", "has no attribute 'append'"),
        ("def build(problem, settings): return 3", "built a int, not a torch.nn.Module"),
        ("def build(problem, settings): return Line(problem.inptus)", "no attribute 'inptus'"),
        ("import absent_package", "cannot be imported: No module named 'absent_package'"),
        ("", "has no function build(problem, settings)"),
    ],
)
def test_what_does_not_build_is_not_tried_further(tmp_path, body, text):
    results = check.check_baseline("guest", guest(tmp_path, body))
    assert [result.rule for result in results] == ["schema", "builds"]
    assert text in results[-1].message


def test_an_absent_package_is_skipped_with_its_reason(tmp_path, capsys):
    folder = guest(tmp_path, "import absent_package\n" + GOOD, requires=["absent_package"])
    results = check.check_baseline("guest", folder)
    assert [(r.rule, r.ok) for r in results] == [("schema", True), ("builds", None)]
    assert results[1].message == "skipped: guest needs the package 'absent_package': No module named 'absent_package'"
    assert outcomes.report(results) == 0
    assert "skipped: guest needs" in capsys.readouterr().out
    with pytest.raises(Unavailable):
        build.load_model_module(discovery.discover(folder)["guest"])


def test_a_bad_description_breaks_the_rule_schema(tmp_path):
    results = check.check_baseline("guest", guest(tmp_path, GOOD, lable="x"))
    assert [(r.rule, r.ok) for r in results] == [("schema", False)]
    assert "did you mean 'label'?" in results[0].message


def test_the_report_names_rule_and_method_and_fails(tmp_path, capsys):
    body = WRONG["count"] + "\ndef build(problem, settings): return M(problem)"
    assert outcomes.report(check.check_baseline("guest", guest(tmp_path, body))) == 1
    printed = capsys.readouterr().out
    assert "guest: 20 of 21 rules kept" in printed
    assert "count is BROKEN: 4 counted, 3 declared" in printed
    assert check.RULES["count"].__doc__ in printed


def test_a_family_that_is_skipped_is_not_held_against_a_method(tmp_path):
    body = WRONG["second_derivatives"] + "\ndef build(problem, settings): return M(problem)"
    folder = guest(tmp_path, body, tasks={"pde": {"skip": "no second derivative"}})
    outcome = {r.rule: r for r in check.check_baseline("guest", folder)}["second_derivatives"]
    assert (outcome.ok, outcome.message) == (None, "skipped: pde is skipped: no second derivative")


def test_files_of_the_folder_can_be_imported_relatively_and_edits_are_seen(tmp_path):
    folder = guest(tmp_path, "from .parts import GAIN\nclass M(Line):\n    gain = GAIN\ndef build(p, s): return M(p)")
    (folder / "guest/parts.py").write_text("GAIN = 3")
    found = discovery.discover(folder)["guest"]
    module = build.load_model_module(found)
    assert module.M.gain == 3
    assert build.load_model_module(found) is module
    (folder / "guest/model.py").write_text(HEAD + GOOD)
    assert not hasattr(build.load_model_module(found), "M")


def test_what_the_harness_builds_leaves_the_generators_alone(tmp_path):
    import numpy as np

    found = discovery.discover(guest(tmp_path, "def build(p, s):\n    np.random.seed(0)\n    return Line(p)"))["guest"]
    subject = check.Subject(found.methods["guest"])
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    build.build(subject.method, subject.settings, subject.problem)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (torch.nn.Parameter(torch.zeros(n)) for n in (1, 2, 3))
        self.c.requires_grad_(False)


def groups(offer):
    model = Two()
    module = type("module", (), {"parameter_groups": staticmethod(lambda m, s: offer(m))})
    return build.parameter_groups(module, model, {})


def test_what_no_group_takes_goes_to_other():
    found = groups(lambda m: [{"name": "first", "params": [m.a, m.c], "lr_scale": 2.0}, {"name": "none", "params": []}])
    assert [(g["name"], [p.numel() for p in g["params"]]) for g in found] == [("first", [1]), ("other", [2])]
    assert found[0]["lr_scale"] == 2.0
    everything = build.parameter_groups(object(), Two(), {})
    assert [(g["name"], len(g["params"])) for g in everything] == [("other", 2)]


@pytest.mark.parametrize(
    ("offer", "text"),
    [
        (lambda m: [{"name": "x", "params": [m.a, m.a]}], "'x' is in two places"),
        (lambda m: [{"name": "x", "params": [torch.zeros(1)]}], "no parameter of the model"),
        (lambda m: [{"name": "x", "params": [m.a], "lr": 1}], "known are name, params, lr_scale"),
        (lambda m: [{"params": [m.a]}], "the keys of a group are params"),
    ],
)
def test_groups_that_make_no_sense_break_the_rule(offer, text):
    with pytest.raises(build.BrokenContract, match=text):
        groups(offer)
