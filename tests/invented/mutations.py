"""Random damage to files that people write: of their bytes, and of their values."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import yaml

ODD = (
    None, True, False, 0, -1, 1, 7, 0.5, -0.0, 1e300, 2**62, 2**70, float("nan"), float("inf"), "", " ", "x", "all",
    "É", "a" * 300, "../..", "/", "\x07", "1e400", [], {}, [[]], [None], [{}], {"a": 1}, {"": ""}, [1, "a"], ["a", "a"],
    {"default": 1}, {"default": [], "schema": {}}, {"low": 1, "high": 0}, {1: 2}, {None: 1}, "2020-01-01",
)  # fmt: skip
SPLICES = (
    b"\x00", b"\xff", b"\xed\xa0\x80", b"[", b"]", b"{", b"}", b": ", b"\n", b"\t", b"- ", b"&a ", b"*a", b"!!binary ",
    b"!!python/object:os.system ", b"2001-99-99", b"1" * 5000, b"[" * 2000, b"<<: ", b"? ", b"'", b'"', b"#", b"%",
    b"---\n", b"!!int x", b"!!set ", b".nan", b"0x", b"1:99", b"~: 1\n", b"\xc3", b"@", b"|\n", b"\\x00",
    b'"\\ud800"',
)  # fmt: skip


def damaged(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield `count` texts made of a YAML file: in turn its bytes are changed and its values are."""
    random_ = random.Random(seed)
    parsed = yaml.safe_load(content)
    for number in range(count):
        if number % 2:
            yield _spliced(content, random_)
        else:
            changed = copy.deepcopy(parsed)
            for _ in range(random_.choice((1, 1, 2, 3))):
                _change(changed, random_)
            yield yaml.safe_dump(changed, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")


def _spliced(content: bytes, random_: random.Random) -> bytes:
    text = bytearray(content)
    for _ in range(random_.choice((1, 1, 2, 4))):
        start = random_.randrange(len(text) + 1)
        stop = min(len(text), start + random_.choice((0, 0, 1, 2, 10, 60)))
        text[start:stop] = random_.choice((*SPLICES, bytes([random_.randrange(256)]), text[start : start + 40]))
    return bytes(text)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(part, (dict, list)):
            yield from _places(part)


def _change(content: dict, random_: random.Random) -> None:
    places = list(_places(content))
    if not places:
        return
    holder, key = random_.choice(places)
    kind = random_.randrange(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict) and isinstance(key, str):
        holder[key[:-1] + random_.choice(("", "x", "é"))] = holder.pop(key)
    elif kind == 2:
        other, name = random_.choice(places)
        holder[key] = copy.deepcopy(other[name]) if other is not holder else None
    elif kind == 3 and isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
        value = holder[key]
        holder[key] = random_.choice((-value, value * 2, str(value), value + 0.5, value - 1))
    else:
        holder[key] = copy.deepcopy(random_.choice(ODD))
