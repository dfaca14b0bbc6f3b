"""Which runs are due: by the digests in their records, not by times; and what Snakemake is given for it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kanbench.records import provenance, record
from kanbench.records.survey import Survey
from kanbench.study import config, plan


@pytest.fixture
def planned(suite, tiny, monkeypatch):
    """Plan a two-run study in a copy of the suite; call it again after a change."""
    monkeypatch.setenv("KANBENCH_ROOT", str(suite))
    monkeypatch.chdir(suite)
    return lambda: plan.expand(config.from_content(tiny, "tiny.yaml"))


def make(found: plan.Plan, name: str, **changes) -> dict:
    """Leave the record of a planned run, as making it now would."""
    run = found.runs[name]
    content = record.blank(run.spec, label=run.label, family="function_fitting", metric="rmse", goal="min")
    code = {"commit": None, "dirty": None, **found.due.code_of(name), **changes.pop("code", {})}
    record.write({**content, "code": code, **changes}, found.due.folder / "runs" / f"{name}.json")
    return content


def kinds(found: plan.Plan) -> dict[str, str]:
    """Return how the runs stand, by baseline."""
    return {found.runs[name].spec["method"]["baseline"]: each.kind for name, each in found.due.standings.items()}


def test_digests_decide_and_times_do_not(planned, suite):
    assert kinds(planned()) == {"mlp": "waiting", "affine": "waiting"}
    for name in planned().runs:
        make(planned(), name)
    assert kinds(planned()) == {"mlp": "done", "affine": "done"}
    model = suite / "baselines/mlp/model.py"
    original = model.read_text()
    model.write_text(original + "\n# edited\n")
    os.utime(model, (10**9, 10**9))
    assert kinds(planned()) == {"mlp": "outdated", "affine": "done"}, "an edit with an old time stamp"
    model.write_text(original)
    assert kinds(planned()) == {"mlp": "done", "affine": "done"}, "reverted, with a new time stamp"
    (model.parent / "knots.csv").write_text("1,2\n")
    assert kinds(planned()) == {"mlp": "outdated", "affine": "done"}, "data in the folder of a baseline"


def test_the_seeding_and_the_native_code_of_a_method_make_its_runs_due(planned, suite, monkeypatch, tiny):
    monkeypatch.setattr("kanbench.training.code.PACKAGE", suite / "workflow/kanbench")
    tiny["experiments"]["E1"]["methods"] = ["mlp", "metakan-relu"]
    tiny["experiments"]["E1"]["axes"] |= {"grid_size": 3, "hidden_dim": 4}
    for name in planned().runs:
        make(planned(), name)
    assert kinds(planned()) == {"mlp": "done", "metakan": "done"}
    native = sorted([*(suite / "metakan/native").glob("*.c"), *(suite / "metakan/native").glob("*.h")])
    assert {".c", ".h"} == {path.suffix for path in native}
    cases = [(path, {"mlp": "done", "metakan": "outdated"}) for path in native]
    cases.append((suite / "workflow/kanbench/base/seeds.py", {"mlp": "outdated", "metakan": "outdated"}))
    for path, expected in cases:
        original, stat = path.read_bytes(), path.stat()
        path.write_bytes(original + b"\n")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert kinds(planned()) == expected, path.name
        path.write_bytes(original)
    assert kinds(planned()) == {"mlp": "done", "metakan": "done"}


def test_what_is_due_is_asked_for_and_what_is_done_is_not(planned, suite):
    first = planned()
    mlp, affine = sorted(first.runs, key=lambda name: "affine" in name)
    make(first, affine)
    found = planned()
    request = found.due.request
    assert found.inputs(mlp) == [request]
    assert found.settled(mlp) == []
    assert found.inputs(affine) == []
    assert found.settled(affine) == [request]
    assert request.startswith(".snakemake/"), "among Snakemake's own notes"
    assert not (found.due.folder / "plan.json").exists()


def test_the_request_is_newer_than_what_stands_in_the_way(planned, suite):
    first = planned()
    mlp = next(name for name in first.runs if "mlp" in name)
    make(first, mlp)
    path = first.due.folder / "runs" / f"{mlp}.json"
    path.write_text("{")
    future = 2 * 10**9 + 10**9
    os.utime(path, (future, future))
    found = planned()
    assert os.stat(found.due.request).st_mtime > future
    assert mlp in Path(found.due.request).read_text()


def test_a_process_that_joins_looks_nothing_up(planned):
    found = planned()
    found.leading = False
    assert all(found.due.made(name) for name in found.runs)
    assert "standings" not in vars(found.due)


def test_what_was_found_is_kept_but_never_believed_after_a_change(planned, monkeypatch):
    first = planned()
    for name in first.runs:
        make(first, name)
    assert set(kinds(first).values()) == {"done"}
    first.due._survey.keep()
    cache = first.due.folder / ".checked.jsonl"
    with monkeypatch.context() as context:
        context.setattr("kanbench.records.survey._facts", lambda *_: pytest.fail("read again"))
        assert set(kinds(planned()).values()) == {"done"}
    path = first.due.folder / "runs" / f"{next(iter(first.runs))}.json"
    stamps = path.stat().st_atime_ns, path.stat().st_mtime_ns
    text = path.read_text()
    path.write_text(text.replace('"ok"', '"OK"'))
    os.utime(path, ns=stamps)
    assert sorted(kinds(planned()).values()) == ["done", "unreadable"], "of the same size and time"
    path.write_text(text)
    lines = cache.read_text().splitlines()
    for damaged in ("", "{", "\n".join(lines).replace("done", "x").replace('"ok"', '"no"'), "\udcff"):
        cache.write_text(damaged, errors="surrogateescape")
        assert set(kinds(planned()).values()) == {"done"}


def test_a_record_that_this_machine_could_only_skip_is_kept(planned, monkeypatch, tiny):
    tiny["device"] = "cuda"
    for name in planned().runs:
        make(planned(), name, code={"digest": "0" * 64})
    monkeypatch.setattr(provenance, "has_gpu", lambda: False)
    assert set(kinds(planned()).values()) == {"done"}
    monkeypatch.setattr(provenance, "has_gpu", lambda: True)
    assert set(kinds(planned()).values()) == {"outdated"}


def test_a_run_that_was_skipped_for_a_device_is_due_where_the_machine_has_changed(planned, monkeypatch, tiny):
    tiny["device"] = "cuda"
    monkeypatch.setattr(provenance, "accelerator", lambda: "torch 2, no NVIDIA device")
    for name in planned().runs:
        make(planned(), name, status="skipped", skipped_for={"device": "cuda", "found": provenance.accelerator()})
    assert set(kinds(planned()).values()) == {"done"}
    monkeypatch.setattr(provenance, "accelerator", lambda: "torch 2, an NVIDIA device")
    assert set(kinds(planned()).values()) == {"outdated"}


def test_damaged_weights_make_their_run_due_and_missing_ones_do_not(planned, tmp_path):
    first = planned()
    name = next(iter(first.runs))
    weights = first.due.folder / "runs" / f"{name}.safetensors"
    made = {"model": weights.name, "model_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
    make(first, name, artifacts=made)
    assert planned().due.standings[name].done, "they are made when another run needs them"
    weights.write_bytes(b"test")
    assert planned().due.standings[name].done
    weights.write_bytes(b"tset")
    assert "weights" in planned().due.standings[name].reason


def test_a_set_that_says_something_else_than_the_records_is_due(planned):
    from kanbench.records import collect

    first = planned()
    for name in first.runs:
        make(first, name)
    path = first.due.write_plan()
    assert first.due.collected, "a set that is not there is due by itself"
    found = collect.gather(collect.read_plan(path), path.parent / "runs")
    collect.write(found.records, path.parent)
    assert planned().due.collected
    assert Survey(path.parent).collected(planned().due.standings)
    name = next(iter(first.runs))
    make(first, name, reason="made again")
    assert not planned().due.collected
    collect.write([{**line, "status": "absent"} for line in found.records], path.parent)
    assert not planned().due.collected
    assert json.loads((path.parent / "plan.json").read_text())["runs"][name]["code"] == first.due.code_of(name)
