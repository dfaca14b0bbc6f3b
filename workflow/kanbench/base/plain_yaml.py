"""Reads YAML as plain data: mappings with text keys, lists, text, finite numbers, booleans and null.

A document is composed here from the events of libyaml, one by one, since PyYAML's own composer calls itself for every
level of nesting (100,000 brackets end the process) and lets a few lines of aliases stand for billions of values. What a
JSON document could not hold is refused, and nothing that a document says is ever run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_DEPTH = 40
"""Levels of nesting, those that an alias brings included."""
MAX_VALUES = 200_000
"""Values of a document with every alias written out; the largest study of the suite has some thousands."""
MAX_KEY, MAX_TEXT = 200, 20_000
"""Characters of a key and of any other text."""
MAX_INTEGER = 2**63 - 1
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_REMEDY = {
    "timestamp": "a date: write it in quotes",
    "merge": "the merge key '<<': write the keys out",
    "value": "a lone '=': write it in quotes",
}


class NotPlain(yaml.MarkedYAMLError):
    """A document holds what plain data cannot; `problem` says what and `problem_mark` where."""


def load(text: str) -> Any:
    """Return the content of one YAML document; None where it is empty.

    Raises:
        yaml.YAMLError: it is not YAML, or NotPlain: a key is written twice or is no text, a value is no plain data, or
            the document passes one of the bounds of this module.
    """
    loader = _Loader(text)
    try:
        return _Document(loader).content()
    finally:
        loader.dispose()


@dataclass
class _Level:
    """A collection that is being read. `before` is the number of values before it, `height` the levels inside it."""

    collection: Any
    anchor: str | None
    before: int
    height: int = 1
    key: Any = None
    keys: set[str] | None = field(default=None)


class _Document:
    def __init__(self, loader):
        self.loader = loader
        self.levels: list[_Level] = []
        self.anchors: dict[str, tuple[Any, int, int]] = {}
        self.count = 0
        self.result: Any = None

    def content(self) -> Any:
        """Read all events; return the value of the document."""
        documents = 0
        while (event := self.loader.get_event()) is not None and not isinstance(event, yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _refusal(event, "a second document begins here")
            elif isinstance(event, yaml.ScalarEvent):
                self._add(event, self._scalar(event), 1, 0, event.anchor)
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in self.anchors:
                    raise _refusal(event, f"the alias '{event.anchor}' stands for nothing, or for what holds it")
                self._add(event, *self.anchors[event.anchor])
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                self._open(event)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                level = self.levels.pop()
                self._add(event, level.collection, 1 + self.count - level.before, level.height, level.anchor, False)
        return self.result

    def _open(self, event) -> None:
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", _TAG + ("map" if mapping else "seq")):
            raise _refusal(event, f"the tag {event.tag}, where plain data are expected")
        collection, keys = ({}, set()) if mapping else ([], None)
        self.levels.append(_Level(collection, event.anchor, self.count, keys=keys))
        self._bound_depth(event, 0)

    def _bound_depth(self, event, height: int) -> None:
        if len(self.levels) + height > MAX_DEPTH:
            raise _refusal(event, f"more than {MAX_DEPTH} levels of nesting")

    def _add(self, event, value: Any, size: int, height: int, anchor: str | None = None, counts: bool = True) -> None:
        """Put a finished value where it belongs. `counts` is false where its parts have been counted already."""
        self.count += size if counts else 1
        if self.count > MAX_VALUES:
            raise _refusal(event, f"more than {MAX_VALUES} values, aliases written out")
        if anchor is not None:
            self.anchors[anchor] = (value, size, height)
        if not self.levels:
            self.result = value
            return
        self._bound_depth(event, height)
        level = self.levels[-1]
        level.height = max(level.height, height + 1)
        if level.keys is None:
            level.collection.append(value)
        elif level.key is None:
            level.key = self._key(event, value, level.keys)
        else:
            level.collection[level.key] = value
            level.key = None

    def _key(self, event, value: Any, seen: set[str]) -> str:
        if not isinstance(value, str):
            raise _refusal(event, f"the key {str(value)[:MAX_KEY]} is no text: write it in quotes")
        if len(value) > MAX_KEY:
            raise _refusal(event, f"a key of {len(value)} characters; {MAX_KEY} are allowed")
        if value in seen:
            raise _refusal(event, f"the key '{value}' is written twice")
        seen.add(value)
        return value

    def _scalar(self, event) -> Any:
        text, tag = event.value, event.tag
        if len(text) > MAX_TEXT:
            raise _refusal(event, f"a text of {len(text)} characters; {MAX_TEXT} are allowed")
        if tag in (None, "!"):
            tag = self.loader.resolve(yaml.ScalarNode, text, event.implicit)
        kind = tag.removeprefix(_TAG)
        if kind == "str":
            return text
        try:
            return self._converted(kind, text, yaml.ScalarNode(tag, text), event)
        except (ValueError, KeyError, OverflowError):
            raise _refusal(event, f"'{text[:MAX_KEY]}' is no {kind}") from None

    def _converted(self, kind: str, text: str, node: yaml.ScalarNode, event) -> Any:
        if kind == "null":
            return None
        if kind == "bool":
            return self.loader.bool_values[text.lower()]
        if kind == "int":
            value = self.loader.construct_yaml_int(node)
            if abs(value) > MAX_INTEGER:
                raise _refusal(event, f"an integer of {len(text)} characters; 64 bits are allowed")
            return value
        if kind == "float":
            value = self.loader.construct_yaml_float(node)
            if not math.isfinite(value):
                raise _refusal(event, f"'{text[:MAX_KEY]}', where a finite number is expected")
            return value
        raise _refusal(event, _REMEDY.get(kind, f"the tag {node.tag}, where plain data are expected"))


def _refusal(event, problem: str) -> NotPlain:
    return NotPlain(problem=problem, problem_mark=event.start_mark)
