"""Random damage to records and archives: refused in a sentence, or no difference. `MUTATIONS=1000` tries more."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile

import pytest

from kanbench.base.errors import InvalidInput
from kanbench.records import archive as archives
from kanbench.records import check, record

COUNT = int(os.environ.get("MUTATIONS", "150"))
ODD = (None, True, -1, 0, 1e308, "", "x" * 5000, "../../x", "\0", "\ud800", [], {}, [[]], {"a": {"b": []}}, 2**70)


def mutated(content: bytes, pick: random.Random) -> bytes:
    """Return text with bytes flipped, cut, doubled or replaced, or one value of the JSON in it changed."""
    kind, place = pick.randrange(6), pick.randrange(len(content))
    if kind == 0:
        return content[:place] + bytes([content[place] ^ (1 << pick.randrange(8))]) + content[place + 1 :]
    if kind == 1:
        return content[:place]
    if kind == 2:
        return content[:place] + content[place : place + pick.randrange(40)] * 2 + content[place:]
    if kind == 3:
        return content[:place] + content[place + pick.randrange(1, 40) :]
    value = json.loads(content)
    holder, key = pick.choice(list(_places(value)))
    if kind == 4 and isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = pick.choice(ODD)
    return json.dumps(value).encode()


def _places(value):
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


@pytest.mark.parametrize("resealed", [False, True])
def test_no_mutation_of_a_record_is_accepted_with_a_changed_number(tmp_path, result, resealed):
    whole, name, accepted = record.sealed(result), result["run"], 0
    path = tmp_path / "a.json"
    for seed in range(COUNT):
        pick = random.Random(seed)
        content = mutated(record.text(whole).encode(), pick)
        if resealed:  # as by someone who knows the seal: what is left must be a record all the same
            try:
                content = record.text(record.sealed(json.loads(content))).encode()
            except (ValueError, RecursionError, AttributeError):
                continue
        path.write_bytes(content)
        found, problems = check.read(path, name, result["spec"])
        assert (found is None) == bool(problems), seed
        if found is not None and not resealed:
            assert found == whole, seed
        accepted += found is not None
    assert accepted < COUNT / 2


def test_no_mutation_of_an_archive_is_accepted_with_a_changed_number(tmp_path, result):
    whole = record.sealed(result)
    for seed in range(COUNT):
        pick = random.Random(seed)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
            content = record.text(whole).encode()
            content = mutated(content, pick) if seed % 2 else content
            entry = tarfile.TarInfo(f"runs/{result['run']}.json")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        packed = bytearray(buffer.getvalue())
        if not seed % 2:
            packed[pick.randrange(len(packed))] ^= 1 << pick.randrange(8)
        (tmp_path / "a.tar.gz").write_bytes(packed)
        there = tmp_path / str(seed)
        try:
            archives.unpack(tmp_path / "a.tar.gz", there)
        except InvalidInput:
            assert not there.exists(), seed
        else:
            assert [record.read(path) for path in there.rglob("*.json")] == [whole], seed
