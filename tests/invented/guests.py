"""A small baseline, `guest`, whose model.py a test writes."""

from __future__ import annotations

import textwrap
from pathlib import Path

import yaml

DESCRIPTION = {
    "label": "Guest",
    "cite": {"key": "someone2020", "url": "https://example.org"},
    "axes": [],
    "settings": {"scale": 1.0, "sizes": {"default": [1, 2], "schema": {"type": "array"}}},
    "example": {
        "problem": {"family": "function_fitting", "inputs": 2, "outputs": 1},
        "settings": {},
        "trainable_parameters": 3,
    },
}
HEAD = """
import random, torch, numpy as np
from torch import nn

class Line(nn.Module):
    def __init__(self, problem):
        super().__init__()
        self.linear = nn.Linear(problem.inputs, problem.outputs)
    def forward(self, x):
        return self.linear(x)
"""


def guest(folder: Path, body: str, **changes) -> Path:
    """Write the baseline `guest` whose model.py is HEAD and `body`."""
    target = folder / "guest"
    target.mkdir()
    (target / "baseline.yaml").write_text(yaml.safe_dump({**DESCRIPTION, **changes}))
    (target / "model.py").write_text(HEAD + textwrap.dedent(body))
    return folder


GOOD = "def build(problem, settings): return Line(problem)"
BUILD = f"\n{GOOD}\n"
