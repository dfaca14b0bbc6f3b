"""What a record depends on: its protocol and the digests of baseline, task and numerics. The rest may be refactored."""

from __future__ import annotations

import json
import sys

import pytest
import yaml

ELSEWHERE = (
    "workflow/kanbench/pages/table.py",
    "workflow/kanbench/verdicts/paired.py",
    "workflow/kanbench/statistics/stats.py",
    "workflow/kanbench/records/frame.py",
    "workflow/kanbench/records/check.py",
    "workflow/kanbench/records/record.py",
    "workflow/kanbench/study/plan.py",
    "workflow/kanbench/cli/run.py",
    "workflow/kanbench/process/server.py",
    "workflow/kanbench/training/failures.py",
    "workflow/kanbench/training/watched.py",
    "workflow/kanbench/data/presence.py",
    "workflow/rules/train.smk",
    "paper_figures/claims.yaml",
    "metakan/MEMORY.md",
)
NUMERICS = ("workflow/kanbench/training/loop.py", "workflow/kanbench/base/seeds.py", "workflow/kanbench/tasks/task.py")


@pytest.fixture
def digests(suite, tiny, run):
    """Return the digest by baseline of what would make each run now, in a copy of the suite."""
    tiny["experiments"]["E1"]["methods"] = ["mlp", "tiled_kan"]
    (suite / "tiny.yaml").write_text(yaml.safe_dump(tiny))

    def _digests() -> dict[str, str]:
        command = [sys.executable, "-m", "kanbench", "plan", "--write", "--configfile", "tiny.yaml"]
        done = run(command, suite)
        assert done.returncode == 0, done.stderr
        planned = json.loads((suite / "results/tiny/plan.json").read_text(encoding="utf-8"))["runs"].values()
        return {each["spec"]["method"]["baseline"]: each["code"]["digest"] for each in planned}

    return _digests


def edit(suite, names) -> None:
    for name in names:
        file = suite / name
        file.write_text(file.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")


def test_a_refactoring_elsewhere_makes_no_record_stale_and_one_of_the_numerics_does(digests, suite):
    before = digests()
    edit(suite, ELSEWHERE)
    assert digests() == before
    edit(suite, ["metakan/engine/tiled.py"])
    engine = digests()
    assert engine["mlp"] == before["mlp"], "an MLP does not run the engine"
    assert engine["tiled_kan"] != before["tiled_kan"]
    edit(suite, NUMERICS)
    numerics = digests()
    assert all(numerics[name] != engine[name] for name in before)
    edit(suite, ["workflow/kanbench/tasks/feynman.py"])
    assert all(digests()[name] != numerics[name] for name in before)
