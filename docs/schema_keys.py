"""The keys of a JSON Schema as a nested list: what each is, which values it takes, what it is for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

RANGES = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "minProperties": "at least {} of them",
    "maxProperties": "at most {} of them",
    "pattern": "matches `{}`",
}
"""Keywords that bound a value, in words; others (`if`, `dependentRequired`) are told by descriptions."""
NULL = {"type": "null"}


def listing(schema: Mapping[str, Any], name: str) -> str:
    """Return a schema as Markdown: its keys, then its definitions under headings, which references lead to.

    Args:
        schema: A JSON Schema whose references are to its own `$defs`.
        name: Begins every anchor: `name-key-key`.
    """
    lines = list(_members(schema, name, 0))
    for key, node in schema.get("$defs", {}).items():
        lines += [
            "",
            f"({name}-defs-{key})=",
            "",
            f"### {key}",
            "",
            _described(node, name, False).removeprefix(" (object)").lstrip(": "),
            "",
        ]
        lines += _inside(node, f"{name}-{key}", 0, name)
    return "\n".join(lines) + "\n"


def _members(node: Mapping[str, Any], anchor: str, depth: int, name: str = "") -> Iterator[str]:
    """Yield the lines of the keys of an object."""
    name = name or anchor
    required = node.get("required", ())
    for key, child in node.get("properties", {}).items():
        here = f"{anchor}-{key}"
        yield f"{'  ' * depth}- [**`{key}`**]{{#{here}}}{_described(child, name, key in required)}"
        yield from _inside(child, here, depth + 1, name)
    for pattern, child in node.get("patternProperties", {}).items():
        yield f"{'  ' * depth}- *keys that match* `{pattern}`{_described(child, name, False)}"
    other = node.get("additionalProperties")
    if isinstance(other, Mapping):
        named = node.get("propertyNames", {})
        which = (
            f"`{named['pattern']}`" if "pattern" in named else ", ".join(f"`{each}`" for each in named.get("enum", ()))
        )
        yield f"{'  ' * depth}- *a name of one's own*{f' ({which})' if which else ''}{_described(other, name, False)}"
        yield from _inside(other, f"{anchor}-each", depth + 1, name)


def _inside(node: Mapping[str, Any], anchor: str, depth: int, name: str) -> Iterator[str]:
    """Yield the lines of what a value consists of: keys, items, alternatives."""
    yield from _members(node, anchor, depth, name)
    items = node.get("items")
    if isinstance(items, Mapping) and ({"properties", "oneOf"} & items.keys() or "description" in items):
        yield f"{'  ' * depth}- *each*{_described(items, name, False)}"
        yield from _inside(items, f"{anchor}-items", depth + 1, name)
    alternatives = [each for each in node.get("oneOf", ()) if {"type", "$ref"} & each.keys() and each != NULL]
    if len(alternatives) == 1:
        yield from _inside(alternatives[0], anchor, depth, name)
        return
    for number, each in enumerate(alternatives):
        yield f"{'  ' * depth}- *{'or' if number else 'either'}*{_described(each, name, False)}"
        yield from _inside(each, f"{anchor}-{number}", depth + 1, name)


def _described(node: Mapping[str, Any], name: str, required: bool) -> str:
    """Return what a value is, its bounds and what it is for, as the end of a line."""
    kind = [_kind(node, name)] if _kind(node, name) else []
    kind += ["required"] if required else []
    kind += [text.format(_plain(node[word])) for word, text in RANGES.items() if word in node]
    kind += [f"default `{_plain(node['default'])}`"] if "default" in node else []
    words = re.sub(r"<(?=[^`]*(?:`[^`]*`[^`]*)*$)", "&lt;", str(node.get("description", "")).strip())
    return f" ({', '.join(kind)})" * bool(kind) + f": {words}" * bool(words)


def _kind(node: Mapping[str, Any], name: str) -> str:
    if "$ref" in node:
        target = node["$ref"].rpartition("/")[2]
        return f"[{target}](#{name}-defs-{target})"
    if "enum" in node:
        return "one of " + ", ".join(f"`{_plain(value)}`" for value in node["enum"])
    if "const" in node:
        return f"`{_plain(node['const'])}`"
    if NULL in node.get("oneOf", ()):
        return " or ".join(_kind(each, name) for each in node["oneOf"] if each != NULL) + " or null"
    types = node.get("type", "")
    items = node.get("items")
    of = f" of {_kind(items, name)}" if isinstance(items, Mapping) and _kind(items, name) else ""
    text = " or ".join([types] if isinstance(types, str) else types)
    return text.replace("array", f"list{of}")


def _plain(value: Any) -> str:
    """Return a value as YAML writes it, on one line."""
    return value.replace("\n", "\\n") if isinstance(value, str) else json.dumps(value)
