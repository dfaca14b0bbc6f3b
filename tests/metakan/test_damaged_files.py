"""Files of meta-learners that are damaged, incomplete or hostile end in ValueError; none gives another number."""

from __future__ import annotations

import contextlib
import io
import json
import random
import zipfile

import pytest
import torch

from metakan import MetaKAN, MetaLearner, checkpoint, load_meta_learner, save_meta_learner

MUTATIONS = 1000


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("learners") / "learner.pt"
    model = MetaKAN([3, 4, 2], num_clusters=2, clustering=[0, 1], hidden_dim=5)
    save_meta_learner(model, path, provenance={"task": "digits", "seed": 3})
    return path, path.read_bytes(), [held(learner) for learner in load_meta_learner(path)]


def held(learner: MetaLearner) -> tuple:
    """Return all that a meta-learner is, in a form that compares."""
    tensors = {name: value.tolist() for name, value in learner.named_parameters()}
    return learner.describe(), learner.provenance, tensors


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes with one thing done to them."""
    at, size = rng.randrange(len(data)), rng.choice((1, 1, 2, 8, 64))
    noise = bytes(rng.randrange(256) for _ in range(size))
    kind = rng.randrange(7)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[at:]
    if kind == 2:
        return data[:at] + noise + data[at:]
    if kind == 3:
        return data[:at] + data[at + size :]
    if kind == 4:
        return data[:at] + bytes(size) + data[at + size :]
    if kind == 5:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    return data[:at] + noise + data[at + size :]


def test_mutated_bytes_are_refused_or_change_nothing(saved):
    path, data, expected = saved
    target, rng, reasons = path.with_name("mutated.pt"), random.Random(0), []
    for _ in range(MUTATIONS):
        target.write_bytes(mutated(data, rng))
        try:
            found = load_meta_learner(target)
        except ValueError as error:
            reasons.append(str(error))
        else:
            assert [held(learner) for learner in found] == expected
    assert len(reasons) > MUTATIONS / 2
    assert all(reason.startswith(str(target)) for reason in reasons)
    assert not any("weights_only" in reason for reason in reasons), "advice to run what the file holds"


VALUES = [
    None, True, -1, 0, 2**70, 1.5, float("nan"), float("inf"), "", "relu", "x" * 400, "\0", "\ud800", [], {}, [1],
    [None] * 9,
    {"name": "rbf"}, {"name": 3}, {"name": "bspline", "grid_range": [1, 0]}, {"name": "bspline", "grid_range": "ab"},
    torch.zeros(0), torch.zeros(5, 1).to_sparse(), torch.zeros(1).expand(5, 1), torch.zeros(5, 1, dtype=torch.int64),
    torch.zeros(5, 1, dtype=torch.complex64), torch.zeros(5, 1, device="meta"), torch.zeros(5, 1, dtype=torch.float64),
    b"bytes",
]  # fmt: skip


def entries(content: object, path: tuple = ()) -> list[tuple]:
    """Return the way to every entry of nested mappings and lists."""
    if isinstance(content, dict):
        inner = list(content.items())
    elif isinstance(content, list):
        inner = list(enumerate(content))
    else:
        return [path]
    return [path, *(way for key, value in inner for way in entries(value, (*path, key)))]


def replaced(content: object, way: tuple, value: object) -> object:
    if not way:
        return value
    if isinstance(content, dict):
        return {key: replaced(old, way[1:], value) if key == way[0] else old for key, old in content.items()}
    return [replaced(old, way[1:], value) if at == way[0] else old for at, old in enumerate(content)]


@pytest.mark.parametrize("version", [1, 2])
def test_entries_of_another_kind_are_refused_or_change_no_number(saved, version):
    """Every entry of the content becomes each of many odd values, with a digest that fits."""
    path, data, expected = saved
    content = torch.load(io.BytesIO(data), weights_only=True)
    if version == 1:
        content = {name: value for name, value in content.items() if name != "digest"} | {"version": 1}
    target, rng = path.with_name("odd.pt"), random.Random(version)
    ways = entries(content)
    assert len(ways) > 40
    for way in ways:
        for value in rng.sample(VALUES, 5):
            odd = replaced(content, way, value)
            if version == 2 and isinstance(odd, dict) and "digest" in odd and way != ("digest",):
                with contextlib.suppress(Exception):  # what has no digest keeps the old one
                    odd["digest"] = checkpoint._digest(odd["learners"], odd["provenance"])
            torch.save(odd, target)
            try:
                found = load_meta_learner(target, grid_range=(-1, 1))
            except ValueError:
                continue
            found = [held(learner) for learner in (found if isinstance(found, list) else [found])]
            assert all(settings["numbers"] == 9 for settings, _, _ in found)
            assert way[:1] in (("learners",), ("provenance",)), (way, value)
            assert [tensors for _, _, tensors in found] == [tensors for _, _, tensors in expected][: len(found)]


def test_bombs_and_giants_are_refused_before_they_are_unpacked(saved, monkeypatch):
    path, data, _ = saved
    target = path.with_name("bomb.pt")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 2**24)
    with pytest.raises(ValueError, match="compressed entries"):
        load_meta_learner(target)
    content = torch.load(io.BytesIO(data), weights_only=True)
    for name in ("hidden_dim", "prompt_dim", "numbers"):
        content["learners"][0]["settings"][name] = 10**15
        content["digest"] = checkpoint._digest(content["learners"], content["provenance"])
        torch.save(content, target)
        with pytest.raises(ValueError, match="expected floating-point numbers of shape"):
            load_meta_learner(target)
    monkeypatch.setattr(checkpoint, "MOST_BYTES", len(data) - 1)
    with pytest.raises(ValueError, match="found more than"):
        load_meta_learner(path)


def test_deep_provenance_is_refused(saved):
    path, data, _ = saved
    content = torch.load(io.BytesIO(data), weights_only=True)
    content["provenance"] = "[" * 100_000
    content["digest"] = checkpoint._digest(content["learners"], content["provenance"])
    torch.save(content, path.with_name("deep.pt"))
    with pytest.raises(ValueError, match=r"deep.pt"):
        load_meta_learner(path.with_name("deep.pt"))


def test_what_cannot_be_read_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_meta_learner(tmp_path / "nothing.pt")
    with pytest.raises(OSError, match="directory"):
        load_meta_learner(tmp_path)


def test_files_of_version_1_need_the_grid_range_that_they_do_not_name(saved):
    path, data, expected = saved
    content = torch.load(io.BytesIO(data), weights_only=True)
    del content["digest"]
    for entry in content["learners"]:
        del entry["settings"]["basis"]["grid_range"]
    old = path.with_name("old.pt")
    torch.save({**content, "version": 1}, old)
    with pytest.raises(ValueError, match=r"found version 1, .*grid_range=\(-1, 1\)"):
        load_meta_learner(old)
    assert [held(learner) for learner in load_meta_learner(old, grid_range=(-1, 1))] == expected
    assert load_meta_learner(old, grid_range=(0, 2))[0].basis["grid_range"] == [0.0, 2.0]
    with pytest.raises(ValueError, match=r"grid_range: found \[-1.0, 1.0\] in the file, expected \[0.0, 2.0\]"):
        load_meta_learner(path, grid_range=(0, 2))
    with pytest.raises(ValueError, match="expected finite numbers with low < high"):
        load_meta_learner(old, grid_range=(2, 0))


def test_families_without_a_grid_need_none(tmp_path):
    learner = MetaKAN([2, 1], basis="legendre").meta_learners[0]
    save_meta_learner(learner, tmp_path / "learner.pt", provenance=json.loads('{"a": [1, null]}'))
    assert held(load_meta_learner(tmp_path / "learner.pt")) == (
        learner.describe(), {"a": [1, None]}, held(learner)[2],
    )  # fmt: skip
