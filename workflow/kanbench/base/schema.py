"""Reads YAML and checks it against a JSON Schema, turning every violation into a `Finding`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from kanbench.base.errors import Finding, InvalidInput, nearest

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeys(_Loader):
    """A safe loader that refuses a key written twice, which plain YAML silently lets the last one win."""

    def construct_mapping(self, node, deep=False):
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' is written twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, label: str) -> Any:
    """Return the content of a YAML file.

    Raises:
        InvalidInput: the file is absent or is not YAML; `label` names it in the message.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except FileNotFoundError:
        raise InvalidInput([Finding(label, "", "no such file", "a YAML file", "check the path")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise InvalidInput([Finding(label, where, problem, "valid YAML with unique keys", "mend that line")]) from None


@cache
def validator(name: str) -> Draft202012Validator:
    """Return the validator of `workflow/schemas/<name>.schema.yaml`."""
    content = yaml.load((SCHEMAS / f"{name}.schema.yaml").read_text(encoding="utf-8"), Loader=_Loader)
    return Draft202012Validator(content)


def findings(instance: Any, schema: str, label: str) -> list[Finding]:
    """Return every violation of `schema` in `instance`, in the order of the document."""
    errors = sorted(validator(schema).iter_errors(instance), key=lambda error: [str(p) for p in error.absolute_path])
    return [finding for error in errors for finding in explain(error, label)]


def explain(error: ValidationError, label: str) -> Iterator[Finding]:
    """Yield the findings of one violation."""
    if error.validator in ("oneOf", "anyOf"):
        closest = best_match(error.context) if error.context else None
        if closest is not None and closest.validator != "type":
            yield from explain(closest, label)
            return
    path = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = list(error.schema.get("properties", {}))
        for key in error.instance:
            if key not in known:
                where = f"{path}.{key}" if path else str(key)
                yield Finding(label, where, f"unknown key '{key}'", nearest(key, known), "rename or remove the key")
        return
    if error.validator == "required":
        absent = [key for key in error.validator_value if key not in error.instance]
        for key in absent:
            yield Finding(label, path, f"no key '{key}'", f"the key '{key}'", f"add '{key}'")
        return
    expected, remedy = _expectation(error), "correct the value"
    if error.validator == "enum":
        expected = nearest(str(error.instance), [str(value) for value in error.validator_value])
    yield Finding(label, path, repr(error.instance)[:120], expected, remedy)


def _expectation(error: ValidationError) -> str:
    value = error.validator_value
    if error.validator == "type":
        return f"a value of type {' or '.join(value) if isinstance(value, list) else value}"
    texts = {
        "minimum": "at least {}",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
        "minItems": "at least {} item(s)",
        "minProperties": "at least {} key(s)",
        "uniqueItems": "each item once",
        "pattern": "text that matches {}",
    }
    return texts[error.validator].format(value) if error.validator in texts else error.message
