"""Names of runs and the patterns that Snakemake knows them by."""

from __future__ import annotations

import re

from kanbench.base import paths, spec
from kanbench.study import config, plan


def test_a_pattern_matches_the_names_that_it_is_made_of_and_no_other():
    runs = plan.expand(config.load(paths.root() / "workflow/config/laptop.yaml")).runs
    kept = {name for name, run in runs.items() if "keep" in run.spec}
    assert 0 < len(kept) < len(runs)
    found = re.compile(spec.pattern(kept))
    assert {name for name in runs if found.fullmatch(name)} == kept
    assert sum(map(len, kept)) > len(found.pattern), "folders that names share are written once"


def test_a_pattern_takes_the_signs_in_a_name_as_they_are():
    found = re.compile(spec.pattern(["a.b/c+d/I.6-seed0-00000001", "a.b/c+d/I.6-seed1-00000002"]))
    assert found.fullmatch("a.b/c+d/I.6-seed0-00000001")
    assert not found.fullmatch("a.b/c+d/I.6-seed0-00000003")
    assert not found.fullmatch("aXb/c+d/I.6-seed0-00000001")
    assert not found.fullmatch("a.b/ccd/I.6-seed0-00000001")


def test_the_pattern_of_no_name_matches_nothing():
    assert not re.compile(spec.pattern([])).match("")
    assert not re.compile(spec.pattern([])).match("a/b/c-00000001")
