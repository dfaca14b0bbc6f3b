"""The workflow as a user meets it: dry runs, refusals, what an edit reruns, kill and resume."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from report_page import Page

from kanbench.study import config, plan

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture
def study(suite, tiny):
    """A copy of the suite with a two-run study."""
    (suite / "tiny.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
    return suite


def snakemake(*arguments, config="tiny.yaml") -> list[str]:
    return [sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "host", "--configfile", config, *arguments]


def planned(output: str, rule: str) -> int:
    """Return how many jobs of a rule a dry run announces."""
    found = re.search(rf"^{rule}\s+(\d+)$", output, flags=re.MULTILINE)
    return int(found.group(1)) if found else 0


def dry(run, folder, *arguments, config="tiny.yaml") -> str:
    done = run(snakemake("--dry-run", *arguments, config=config), folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


PART = ("--config", "only=E2,E4,E8,E10,E11,E12")
"""Of the full study, whose tens of thousands of jobs take Snakemake minutes; `.ci/run` plans all of it."""


@pytest.mark.parametrize(("name", "options"), [("smoke", ()), ("laptop", ()), ("paper", PART)])
def test_every_study_can_be_planned_by_snakemake(run, shared_suite, name, options):
    output = dry(run, shared_suite, *options, config=f"workflow/config/{name}.yaml")
    assert planned(output, "train") > 10
    assert planned(output, "report") == 1
    assert not (shared_suite / "results").exists(), "a dry run leaves nothing behind"


def test_a_bad_study_is_refused_before_the_dag_exists(run, study, tiny):
    tiny["experiments"]["E1"]["methods"] = ["mpl"]
    tiny["experiments"]["E1"]["axes"]["gird_size"] = 3
    (study / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    done = run(snakemake("--dry-run"), study)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "did you mean 'mlp'?" in output
    assert "did you mean 'grid_size'?" in output
    assert "Job stats" not in output


@pytest.mark.parametrize(
    ("ending", "found"),
    [("seeds: [0]\n", "'seeds' is written twice"), ("only: &a [*a]\n", ""), ("data_root: 2001-01-01\n", "date")],
)
def test_what_our_reader_refuses_snakemake_does_not_accept(run, shared_suite, tiny, tmp_path, ending, found):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(tiny) + ending)
    done = run(snakemake("--dry-run", config=str(file)), shared_suite)
    assert done.returncode != 0
    assert found in done.stdout + done.stderr
    assert "Job stats" not in done.stdout + done.stderr


def test_a_bad_claim_is_refused_before_the_dag_exists(run, study):
    file = study / "paper_figures/claims.yaml"
    text = file.read_text()
    assert ", expect: " in text
    file.write_text(re.sub(r", expect: \w+", "", text, count=1))
    done = run(snakemake("--dry-run"), study)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "criterion.expect" in output
    assert "expect, which paired_" in output
    assert "Job stats" not in output
    file.write_text(text)
    assert run(snakemake("--dry-run"), study).returncode == 0


def test_looks_other_than_those_of_the_claims_are_refused_before_the_dag_exists(run, study, tiny):
    tiny |= {"looks": [2, 4], "experiments": {"E5": tiny["experiments"]["E1"]}}
    (study / "tiny.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
    done = run(snakemake("--dry-run"), study)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "tiny.yaml: looks" in output
    assert "[2, 4]" in output
    assert "[10, 20, 40]" in output
    assert "Job stats" not in output
    assert "Traceback" not in output


def test_train_touch_edit_revert_and_add_rerun_exactly_what_they_should(run, study, tiny):
    done = run(snakemake("--until", "train"), study)
    assert done.returncode == 0, done.stdout + done.stderr
    assert planned(dry(run, study, "--until", "train"), "train") == 0, "nothing is left to do"

    model = study / "baselines" / "mlp" / "model.py"
    original = model.read_text()
    os.utime(model)
    assert planned(dry(run, study, "--until", "train"), "train") == 0, "a touched file reruns nothing"
    model.write_text(original + "\n# edited\n")
    assert planned(dry(run, study, "--until", "train"), "train") == 1, "an edit reruns its own baseline only"
    model.write_text(original)
    assert planned(dry(run, study, "--until", "train"), "train") == 0, "a revert reruns nothing"

    added = run([sys.executable, "-m", "kanbench", "new-baseline", "newcomer"], study)
    assert added.returncode == 0, added.stderr
    tiny["experiments"]["E1"]["methods"].append("newcomer")
    (study / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    assert planned(dry(run, study, "--until", "train"), "train") == 1, "a new folder plans only its own runs"


def test_killed_in_flight_the_same_command_resumes(run, study, tiny):
    tiny["seeds"] = [0, 1, 2]
    (study / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{study}{os.pathsep}{study / 'workflow'}",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        snakemake("--until", "train"),
        cwd=study,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    runs = study / "results" / "tiny" / "runs"
    deadline = time.monotonic() + 90
    while not list(runs.rglob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("[!.]*.json")}
    assert 1 <= len(before) < 6
    for path in before:
        assert json.loads(path.read_text())["status"] == "ok", "no half record"
    assert (study / ".snakemake" / "locks").exists(), "the kill left Snakemake's lock behind"

    done = run(snakemake("--until", "train"), study)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(runs.rglob("[!.]*.json"))) == 6
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items()), "finished runs are kept"


def test_seeds_of_a_cell_train_together_and_rerun_together(run, study, tiny):
    tiny["seeds"] = [0, 1, 2, 3]
    tiny["experiments"]["E1"]["together"] = True
    (study / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    together = r"train_together_[0-9a-f]{8}"
    announced = dry(run, study, "--until", "collect")
    assert len(set(re.findall(together, announced))) == 2, "one job a method"
    assert planned(announced, "train") == 0
    names = (run.name for run in plan.expand(config.from_content(tiny, "tiny.yaml")).runs.values())
    asked = dry(run, study, "--", f"results/tiny/runs/{next(names)}.json")
    assert len(set(re.findall(together, asked))) == 1, "a record that is asked for comes with its cell"
    assert planned(asked, "train") == 0
    assert run(snakemake("--until", "collect"), study).returncode == 0
    records = sorted((study / "results" / "tiny" / "runs").rglob("[!.]*.json"))
    contents = [json.loads(path.read_text()) for path in records]
    assert [content["time"]["together"] for content in contents] == [4] * 8
    assert sorted(content["spec"]["seed"] for content in contents) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert "train_together" not in dry(run, study, "--until", "collect"), "nothing is left to do"
    (study / "results" / "tiny" / "records.jsonl.gz").unlink()
    lost = next(path for path in records if "mlp" in path.as_posix())
    lost.unlink()
    announced = dry(run, study, "--until", "collect")
    assert len(set(re.findall(together, announced))) == 1, "a lost record is made again"
    assert run(snakemake("--until", "collect"), study).returncode == 0
    assert lost.is_file()

    model = study / "baselines" / "mlp" / "model.py"
    model.write_text(model.read_text() + "\n# edited\n")
    announced = dry(run, study, "--until", "collect")
    assert len(set(re.findall(together, announced))) == 1, "an edit brings the whole cell of its baseline, in one job"


def test_a_seed_that_is_added_trains_without_those_that_are_there(run, study, tiny):
    tiny["experiments"]["E1"]["together"] = True
    stamps, runs = {}, study / "results" / "tiny" / "runs"
    for seeds, size in (([0], 1), ([0, 1, 2, 3, 4], 4)):
        tiny["seeds"] = seeds
        (study / "tiny.yaml").write_text(yaml.safe_dump(tiny))
        announced = dry(run, study, "--until", "collect")
        jobs = [line for line in announced.splitlines() if line.strip().startswith("output:") and "/runs/" in line]
        assert len(jobs) == 2, "one job a method"
        assert all(line.count(".json") == size for line in jobs), "of the new seeds only"
        assert run(snakemake("--until", "collect"), study).returncode == 0
        made = {path: path.stat().st_mtime_ns for path in runs.rglob("[!.]*.json")}
        assert stamps.items() <= made.items(), "records that were there are kept"
        assert len(made) == 2 * len(seeds)
        stamps = made
        assert "train_together" not in dry(run, study, "--until", "collect"), "nothing is left to do"
    together = {path: json.loads(path.read_text())["time"].get("together") for path in stamps}
    assert sorted(map(str, together.values())) == ["4"] * 8 + ["None"] * 2


def test_the_second_look_trains_further_seeds_of_what_is_undecided(run, study, tiny):
    first = tiny["experiments"]["E1"] | {"methods": ["affine"]}
    tiny |= {
        "looks": [1, 2],
        "experiments": {"E90": first, "E91": first | {"methods": ["mlp"]}},
    }  # of no declared claim
    (study / "tiny.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))

    def train(*look) -> dict[str, int]:
        done = run(snakemake("--until", "collect", *look), study)
        assert done.returncode == 0, done.stdout + done.stderr
        return {file.stem: file.stat().st_mtime_ns for file in (study / "results/tiny/runs").rglob("*.json")}

    before = train()
    verdicts = [("one", "holds", "E90"), ("two", "undecided", "E91")]
    claims = [{"id": i, "verdict": v, "experiments": [e], "unit": "seeds"} for i, v, e in verdicts]
    content = json.dumps({"records_sha256": "of the first look", "claims": claims})
    (study / "results/tiny/claims.json").write_text(content)
    after = train("--config", "look=2")
    assert len(before) == 2
    assert {name: time for name, time in after.items() if name in before} == before, "earlier seeds stay as they are"
    (added,) = after.keys() - before.keys()
    assert "seed1" in added
    assert json.loads((study / "results/tiny/looks.json").read_text())["2"]["experiments"] == {"E91": ["two"]}
    assert planned(dry(run, study, "--until", "collect"), "train") == 0, "without a look, the last that was begun"


def test_a_record_set_renders_without_torch_and_without_training(run, study):
    for recipe in (study / "paper_figures").glob("*.py"):  # the others are drawn in tests of their own
        if recipe.stem not in ("summary", "learning_curves", "step_time", "answer_limits"):
            recipe.unlink()
    assert run(snakemake("--until", "collect"), study).returncode == 0
    reference = study / "results" / "reference"
    reference.mkdir()
    for name in ("records.jsonl.gz", "records.csv"):
        (study / "results" / "tiny" / name).rename(reference / name)
    (study / "torch.py").write_text("raise ImportError('torch must not be needed here')\n")
    done = run([sys.executable, "-m", "snakemake", "--cores", "2", "--config", "records=results/reference"], study)
    assert done.returncode == 0, done.stdout + done.stderr
    page = Page((reference / "report.html").read_text()).whole
    for line in (reference / "records.csv").read_text().splitlines()[1:]:
        assert line.partition(",")[0] in page
    assert (reference / "claims.csv").is_file()
    assert {path.stem for path in (reference / "figures").glob("*.png")} == {"learning_curves", "step_time"}
    assert {path.stem for path in (reference / "tables").glob("*.csv")} >= {"summary", "answer_limits"}
    assert not (reference / "runs").exists()
