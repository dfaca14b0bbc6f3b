"""Every rule of the contract for every method that is discovered: a new folder is tested without an edit here."""

from __future__ import annotations

import re
from functools import cache

import pytest

from kanbench.base import paths
from kanbench.baselines import check, discovery

METHODS = {method.name: method for found in discovery.discover().values() for method in found.methods.values()}


@cache
def subject(name: str) -> check.Subject:
    return check.subject_of(METHODS[name])


@pytest.mark.parametrize(
    ("name", "rule"), [(name, rule) for name, method in METHODS.items() for rule in check.rules_of(method.baseline)]
)
def test_rule(name, rule):
    result = check.check_rule(subject(name), rule)
    if result.ok is None:
        pytest.skip(result.message)
    assert result.ok, f"{name}: {rule} is broken: {result.message}"


@pytest.mark.parametrize("name", METHODS)
def test_references_hold_what_is_cited(name):
    entries = re.findall(r"^@\w+\{([^,]+),", (paths.root() / "paper_figures/references.bib").read_text(), re.MULTILINE)
    assert len(entries) == len(set(entries))
    assert METHODS[name].cite["key"] in entries
