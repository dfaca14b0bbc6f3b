"""The check in a child process: what ends, hangs, floods or tampers there is a broken rule here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest
from guests import GOOD, guest

from kanbench.base import paths
from kanbench.baselines import check, outcomes, supervised

FORWARD = (
    "import os, sys, time, signal\n"
    "class M(Line):\n    def forward(self, x):\n        {}\n        return self.linear(x)\n"
    "def build(problem, settings): return M(problem)"
)


def test_a_good_baseline_keeps_every_rule_there_too(tmp_path):
    results = supervised.check_baseline("guest", guest(tmp_path, GOOD))
    assert [(result.method, result.rule, result.ok) for result in results] == [
        ("guest", rule, True) for rule in (outcomes.SCHEMA, *check.RULES)
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("os._exit(0)", "the process ended with exit status 0"),
        ("print('last words', flush=True); os._exit(3)", "with exit status 3; it said last: last words"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "the process ended by SIGKILL"),
    ],
)
def test_a_process_that_ends_leaves_rules_unreported_and_fails(tmp_path, line, told, capsys):
    results = supervised.check_baseline("guest", guest(tmp_path, FORWARD.format(line)))
    kept = [result.rule for result in results if result.ok]
    assert kept == ["schema", "builds", "imports", "names"]
    unreported = [result for result in results if result.ok is False]
    assert len(unreported) == len(check.RULES) - 3, "every rule has an outcome"
    assert all(told in result.message for result in unreported if "print" not in line)
    assert told.partition(";")[0] in unreported[0].message
    assert outcomes.report(results) == 1
    assert "shapes is BROKEN: not reported" in capsys.readouterr().out


def test_an_exit_through_python_breaks_the_rule_and_the_others_are_tried(tmp_path):
    results = {r.rule: r for r in supervised.check_baseline("guest", guest(tmp_path, FORWARD.format("sys.exit(0)")))}
    assert set(results) == {"schema", *check.RULES}
    assert results["shapes"].ok is False
    assert "SystemExit: 0" in results["shapes"].message
    assert results["builds"].ok
    assert results["count"].ok


def test_a_rule_that_hangs_is_ended_with_what_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(supervised, "ANSWER_SECONDS", 15.0)
    mark = tmp_path / "child"
    line = f"import subprocess; p = subprocess.Popen(['sleep', '300']); open({str(mark)!r}, 'w').write(str(p.pid)); "
    line += "time.sleep(300)"
    started = time.monotonic()
    results = supervised.check_baseline("guest", guest(tmp_path, FORWARD.format(line)))
    assert time.monotonic() - started < 120
    assert "not reported: no answer in 15 s" in next(r for r in results if r.ok is False).message
    pid = int(mark.read_text())
    gone = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    assert gone[:1] in ("", "Z"), "what it started is gone too"


def test_a_flood_of_output_is_bounded(tmp_path, capsys):
    line = "os.write(1, b'x' * 2**24); os.write(2, b'y' * 2**24); print('z' * 10**6)"
    body = FORWARD.format(line) + "\nraise_ = None"
    results = supervised.check_baseline("guest", guest(tmp_path, body))
    assert all(result.ok for result in results), [r for r in results if not r.ok]
    many = (
        "class M(Line):\n    def __init__(self, p):\n        super().__init__(p)\n        self.dead = nn.ParameterList("
    )
    many += "[nn.Parameter(torch.rand(1)) for _ in range(3000)])\ndef build(problem, settings): return M(problem)"
    (other := tmp_path / "other").mkdir()
    outcomes.report(supervised.check_baseline("guest", guest(other, many)))
    assert len(capsys.readouterr().out) < 4 * outcomes.MAX_MESSAGE


def test_what_does_not_build_is_not_tried_further_and_schema_needs_no_child(tmp_path):
    folder = guest(tmp_path, "import absent_package")
    assert [(r.rule, r.ok) for r in supervised.check_baseline("guest", folder)] == [("schema", True), ("builds", False)]
    (folder / "guest/baseline.yaml").write_text("label: 3")
    assert [(r.rule, r.ok) for r in supervised.check_baseline("guest", folder)][0] == ("schema", False)


def test_an_import_that_ends_the_process_is_reported(tmp_path):
    results = supervised.check_baseline("guest", guest(tmp_path, "import os\nos._exit(0)\n" + GOOD))
    assert results[1].rule == "builds"
    assert "the process ended with exit status 0" in results[1].message
    assert not any(result.ok for result in results[1:])


def test_the_verb_uses_the_child_and_imports_no_torch(run):
    code = "import sys; from kanbench.cli.parser import main; status = main(['check-baseline', 'affine'])\n"
    code += "assert 'torch' not in sys.modules; sys.exit(status)"
    done = run([sys.executable, "-c", code], paths.root())
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"affine: (\d+) of \1 rules kept", done.stdout)
    assert os.environ.get("KANBENCH_ROOT") is None
