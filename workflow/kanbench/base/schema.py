"""Reads YAML and checks it against a JSON Schema, turning every violation into a `Finding`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from kanbench.base import plain_yaml
from kanbench.base.errors import Finding, InvalidInput, nearest

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
MAX_BYTES = 4 * 2**20
"""Largest YAML file that is read."""


def read_yaml(path: Path, label: str) -> Any:
    """Return the content of a YAML file: plain data, as `kanbench.base.plain_yaml` bounds them.

    Raises:
        InvalidInput: the file is absent, cannot be read, is not UTF-8 or is not plain YAML; `label` names it in the
            message.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            found = f"more than {MAX_BYTES} bytes"
            raise InvalidInput([Finding(label, "", found, "a file that a person has written", "check the path")])
        return plain_yaml.load(content.decode("utf-8"))
    except FileNotFoundError:
        raise InvalidInput([Finding(label, "", "no such file", "a YAML file", "check the path")]) from None
    except OSError as error:
        found = f"cannot be read: {error.strerror or error}"
        raise InvalidInput([Finding(label, "", found, "a YAML file", "check the path and its rights")]) from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        found = f"the byte 0x{content[error.start]:02x}, which is not UTF-8"
        raise InvalidInput([Finding(label, f"line {line}", found, "text in UTF-8", "save the file as UTF-8")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise InvalidInput([Finding(label, where, problem, "plain YAML with unique keys", "mend that line")]) from None


@cache
def validator(name: str) -> Draft202012Validator:
    """Return the validator of `workflow/schemas/<name>.schema.yaml`."""
    return Draft202012Validator(read_yaml(SCHEMAS / f"{name}.schema.yaml", f"workflow/schemas/{name}.schema.yaml"))


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
