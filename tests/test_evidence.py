"""What the workflow does about records that are damaged, lost or outdated: the same command makes them again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

pytestmark = pytest.mark.slow


@pytest.fixture
def study(suite, tiny, run):
    """A copy of the suite with a two-run study that has been collected."""
    (suite / "tiny.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
    command(run, suite)
    return suite


def snakemake(*arguments) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "tiny.yaml", *arguments]


def command(run, folder, *arguments, status=0) -> str:
    """Run the study's command up to its record set; return what it says."""
    done = run(snakemake("--until", "collect", *arguments), folder)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def planned(output: str, rule: str) -> int:
    found = re.search(rf"^{rule}\s+(\d+)$", output, flags=re.MULTILINE)
    return int(found.group(1)) if found else 0


def counts(run, folder) -> str:
    done = run([sys.executable, "-m", "kanbench", "status", "--configfile", "tiny.yaml"], folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tree(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_damaged_or_lost_record_is_made_again_by_the_same_command(run, study):
    results = study / "results/tiny"
    (record,) = (results / "runs/feynman/mlp").glob("*.json")
    whole, collected = record.read_bytes(), (results / "records.jsonl.gz").read_bytes()
    value = json.loads(whole)["metrics"]["selected"]["test"]["rmse"]
    stamps = record.stat().st_atime_ns, record.stat().st_mtime_ns
    damages = {"truncated": whole[: len(whole) // 2], "emptied": b"", "deleted": None}
    damages["edited"] = whole.replace(str(value).encode(), b"0.0")
    for kind, content in damages.items():
        for notes in (True, False):
            record.unlink() if content is None else record.write_bytes(content)
            if content is not None:
                os.utime(record, ns=stamps)
            if not notes:
                shutil.rmtree(study / ".snakemake")
            before = tree(results)
            announced = command(run, study, "--dry-run")
            assert (planned(announced, "train"), planned(announced, "collect")) == (1, 1), (kind, notes)
            assert tree(results) == before, "a dry run changes nothing"
            assert "1 of 2 runs done" in counts(run, study)
            said = command(run, study)
            again = json.loads(record.read_bytes())
            assert again["metrics"]["selected"]["test"]["rmse"] == value
            assert "2 of 2 runs done" in counts(run, study)
            assert planned(command(run, study, "--dry-run"), "train") == 0, (kind, notes)
            if content is not None:
                assert "set aside" in said
                assert content in [path.read_bytes() for path in (results / "set_aside").rglob("*.json")]
            whole = record.read_bytes()
            damages["edited"] = whole.replace(str(value).encode(), b"0.0")
    assert (results / "records.jsonl.gz").read_bytes() != collected, "with the times of the new record"


def test_until_it_can_be_made_the_exit_status_says_so_and_the_set_stays(run, study, tiny):
    results = study / "results/tiny"
    (record,) = (results / "runs/feynman/mlp").glob("*.json")
    collected = (results / "records.jsonl.gz").read_bytes()
    record.write_bytes(b"")
    model = study / "baselines/mlp/model.py"
    original = model.read_text()
    model.write_text("import os\nos._exit(3)\n")
    command(run, study, status=1)
    assert (results / "records.jsonl.gz").read_bytes() == collected
    assert "1 of 2 runs done" in counts(run, study)
    model.write_text(original)
    command(run, study)
    assert "2 of 2 runs done" in counts(run, study)


def test_a_damaged_record_set_is_collected_again(run, study):
    results = study / "results/tiny"
    file = results / "records.jsonl.gz"
    whole = file.read_bytes()
    for damage in (b"", whole[:-20], b"no gzip"):
        stamps = file.stat().st_atime_ns, file.stat().st_mtime_ns
        file.write_bytes(damage)
        os.utime(file, ns=stamps)
        announced = command(run, study, "--dry-run")
        assert (planned(announced, "train"), planned(announced, "collect")) == (0, 1)
        command(run, study)
        assert file.read_bytes() == whole
        assert planned(command(run, study, "--dry-run"), "collect") == 0


def test_digests_decide_and_times_do_not(run, study):
    (study / "tiny.yaml").touch()
    model = study / "baselines/mlp/model.py"
    original = model.read_text()
    old = 10**9
    model.write_text(original + "\n# edited\n")
    os.utime(model, (old, old))
    assert planned(command(run, study, "--dry-run"), "train") == 1, "an edit with an old time stamp"
    assert "1 of 2 runs done" in counts(run, study)
    model.write_text(original)
    shutil.rmtree(study / ".snakemake")
    for path in [*(study / "baselines").rglob("*.py"), *(study / "workflow").rglob("*.py")]:
        os.utime(path)
    assert planned(command(run, study, "--dry-run"), "train") == 0, "new time stamps, and no notes of Snakemake"
    assert "2 of 2 runs done" in counts(run, study)
    seeds = study / "workflow/kanbench/base/seeds.py"
    seeds.write_text(seeds.read_text() + "\n# edited\n")
    assert planned(command(run, study, "--dry-run"), "train") == 2, "what all numbers depend on"


def test_a_record_of_another_protocol_is_made_again(run, study):
    (record,) = (study / "results/tiny/runs/feynman/mlp").glob("*.json")
    code = (
        "import sys; from pathlib import Path; from kanbench.records import record\n"
        "path = Path(sys.argv[1]); found = record.read(path); found['spec']['protocol'] = 99\n"
        "path.write_text(record.text(record.sealed(found)))"
    )
    assert run([sys.executable, "-c", code, str(record)], study).returncode == 0
    assert "1 of 2 runs done" in counts(run, study)
    command(run, study)
    assert json.loads(record.read_bytes())["spec"]["protocol"] != 99


def test_records_that_were_unpacked_are_kept_and_collected(run, study, tmp_path_factory):
    """As on a second machine: no notes of Snakemake, and no data sets."""
    packed = run([sys.executable, "-m", "kanbench", "pack", "results/tiny"], study)
    assert packed.returncode == 0, packed.stderr
    archive = tmp_path_factory.mktemp("archive") / "tiny.tar.gz"
    (study / "results/tiny.tar.gz").rename(archive)
    shutil.rmtree(study / "results")
    shutil.rmtree(study / ".snakemake")
    unpacked = run([sys.executable, "-m", "kanbench", "unpack", str(archive), "--into", "results/tiny"], study)
    assert "2 records added" in unpacked.stdout, unpacked.stderr
    announced = command(run, study, "--dry-run")
    assert (planned(announced, "train"), planned(announced, "collect")) == (0, 1)


def test_a_dry_run_leaves_no_results(run, suite, tiny):
    (suite / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    done = subprocess.run(["git", "status"], cwd=suite, capture_output=True, check=False)
    assert done.returncode != 0, "the copy is no repository"
    assert planned(command(run, suite, "--dry-run"), "train") == 2
    assert not (suite / "results").exists()
