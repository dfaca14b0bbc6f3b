"""What the workflow does about records that are damaged or lost: the same command makes them again."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys

import pytest
import yaml

pytestmark = pytest.mark.slow


def command(run, folder, *arguments, status=0) -> str:
    """Run the study's command up to its record set; return what it says."""
    words = ["--cores", "2", "--configfile", "tiny.yaml", "--until", "collect", *arguments]
    done = run([sys.executable, "-m", "snakemake", *words], folder)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def planned(output: str) -> tuple[int, int]:
    """Return how many jobs of `train` and of `collect` a dry run announces."""
    counts = [re.search(rf"^{rule}\s+(\d+)$", output, flags=re.MULTILINE) for rule in ("train", "collect")]
    return tuple(int(found.group(1)) if found else 0 for found in counts)


def count(run, folder) -> str:
    done = run([sys.executable, "-m", "kanbench", "status", "--configfile", "tiny.yaml"], folder)
    assert done.returncode == 0, done.stderr
    return re.search(r"\d+ of \d+ runs done", done.stdout).group()


def tree(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damage(file, content: bytes | None) -> None:
    """Change or delete a file behind the back of its time stamps."""
    stamps = file.stat().st_atime_ns, file.stat().st_mtime_ns
    if content is None:
        file.unlink()
        return
    file.write_bytes(content)
    os.utime(file, ns=stamps)


def test_damaged_and_lost_records_are_made_again_by_the_same_command(run, suite, tiny):
    tiny["seeds"] = [0, 1]
    (suite / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    command(run, suite)
    results = suite / "results/tiny"
    records = sorted((results / "runs").rglob("*.json"))
    values = [json.loads(path.read_bytes())["metrics"] for path in records]

    whole = [path.read_bytes() for path in records]
    number = str(values[2]["selected"]["test"]["rmse"]).encode()
    assert number in whole[2]
    odd = [whole[0][: len(whole[0]) // 2], b"", whole[2].replace(number, b"0.0"), None]
    for path, content in zip(records, odd, strict=True):
        damage(path, content)
    before = tree(results)
    assert planned(command(run, suite, "--dry-run")) == (4, 1)
    assert tree(results) == before, "a dry run changes nothing"
    assert "set aside" in command(run, suite)
    assert [json.loads(path.read_bytes())["metrics"] for path in records] == values
    aside = [path.read_bytes() for path in (results / "set_aside").rglob("*.json")]
    assert sorted(aside) == sorted(odd[:3]), "nothing is lost"

    shutil.rmtree(suite / ".snakemake")
    damage(records[0], b"{}")
    damage(records[1], None)
    assert planned(command(run, suite, "--dry-run")) == (2, 1), "without Snakemake's own notes"
    assert count(run, suite) == "2 of 4 runs done"


def test_until_a_record_can_be_made_the_exit_status_says_so_and_the_set_stays(run, suite, tiny):
    (suite / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    command(run, suite)
    results = suite / "results/tiny"
    collected = (results / "records.jsonl.gz").read_bytes()
    (record,) = (results / "runs/feynman/mlp").glob("*.json")
    damage(record, b"")
    loop = suite / "workflow/kanbench/training/train.py"
    original = loop.read_text()
    loop.write_text(original.replace("import", "imported", 1))
    command(run, suite, status=1)
    assert (results / "records.jsonl.gz").read_bytes() == collected
    loop.write_text(original)
    command(run, suite)
    assert planned(command(run, suite, "--dry-run")) == (0, 0)

    file = results / "records.jsonl.gz"
    damage(file, b"")
    assert planned(command(run, suite, "--dry-run")) == (0, 1), "an empty record set is collected again"


def test_damaged_weights_are_made_again_by_the_same_command_with_what_starts_from_them(run, suite, tiny):
    source = tiny["experiments"].pop("E1")
    source |= {"methods": ["metakan-relu"], "keep": "model"}
    source["axes"] |= {"grid_size": 3, "hidden_dim": 4}
    target = {key: value for key, value in source.items() if key != "keep"}
    tiny["experiments"] = {
        "E10source": source,
        "E10": {**target, "source": {"experiment": "E10source", "adapt": "warm"}},
    }
    (suite / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    command(run, suite)
    runs = suite / "results/tiny/runs"
    (weights,) = runs.rglob("*.safetensors")
    records = sorted(runs.rglob("[!.]*.json"))
    whole, metrics = weights.read_bytes(), [json.loads(path.read_bytes())["metrics"] for path in records]
    assert len(records) == 2

    damage(weights, whole[: len(whole) // 2])
    assert count(run, suite) == "1 of 2 runs done"
    assert "Traceback" not in command(run, suite)
    assert weights.read_bytes() == whole, "equal weights are equal files"
    assert [json.loads(path.read_bytes())["metrics"] for path in records] == metrics
    assert {json.loads(path.read_bytes())["status"] for path in records} == {"ok"}
