"""The resolved description of one run: its canonical form, its identity and its name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

SLUG_AXES = {
    "grid_size": "grid",
    "hidden_width": "width",
    "depth": "depth",
    "hidden_dim": "hidden",
    "prompt_dim": "prompt",
    "num_clusters": "clusters",
}
SLUG_LIMIT = 72
NO_NAME = "(?!)"
"""A pattern that matches nothing."""


def canonical(spec: Mapping[str, Any]) -> str:
    """Return the one JSON text that stands for `spec`: sorted keys, no blanks, no NaN."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(text: str, length: int = 8) -> str:
    """Return the first `length` hex digits of the SHA-256 of `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def run_name(spec: Mapping[str, Any]) -> str:
    """Return `<task>/<method>/<slug>-<8 hex>`: readable, unique, and never parsed.

    The slug names what usually tells runs of one method apart; the hash covers everything.
    """
    settings = spec["method"]["settings"]
    parts = [value for _, value in sorted(spec["task"]["settings"].items()) if isinstance(value, str)]
    parts += [f"{short}{settings[axis]}" for axis, short in SLUG_AXES.items() if axis in settings]
    parts.append(f"seed{spec['seed']}")
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(parts))[-SLUG_LIMIT:].strip("-.")
    return f"{spec['task']['name']}/{spec['method']['name']}/{slug}-{digest(canonical(spec))}"


def pattern(names: Iterable[str]) -> str:
    """Return a regular expression of the names of runs, by folder and digest.

    It is short, since Snakemake goes through it for every file of every job.
    """
    digests: dict[str, list[str]] = {}
    for name in sorted(names):
        folder, _, last = name.rpartition("/")
        digests.setdefault(folder, []).append(last.rpartition("-")[2])
    parts = (f"{re.escape(folder)}/[^/]+-(?:{'|'.join(ends)})" for folder, ends in digests.items())
    return "|".join(parts) or NO_NAME
