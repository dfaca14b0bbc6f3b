"""The simulations of `benchmarks/statistics.py`: they use the rule, and a broken rule is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kanbench.statistics import hypotheses, looks

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def rules(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import verdict_rules

    return verdict_rules


@pytest.mark.parametrize("size", [4, 10, 31])
def test_p_values_that_are_looked_up_are_those_of_the_rule(rules, size):
    rows = np.random.default_rng(size).normal(0.3, 1.0, (60, size))
    expected = [hypotheses.statement_p_values(row, 0.0, lower_is_better=True) for row in rows]
    found = rules.p_values(rows)
    np.testing.assert_allclose(found, [[each["not_worse"], each["worse"]] for each in expected], rtol=1e-12)


def test_the_table_decides_as_verdicts_do(rules, monkeypatch):
    rules.check_against_verdicts(families=3)
    monkeypatch.setattr(rules, "over_looks", lambda values, sizes: rules.p_values(values[:, : sizes[0]]))
    with pytest.raises(SystemExit, match="differ in family 0"):
        rules.check_against_verdicts(families=1)


def test_error_rates_are_nominal_with_the_rule_and_not_without_its_parts(rules, monkeypatch):
    monkeypatch.setattr(rules, "SHAPES", {"log-normal": rules.SHAPES["log-normal"]})
    assert all(row.nominal for row in rules.family_errors(600, [9]))
    with monkeypatch.context() as without:
        without.setattr(hypotheses, "adjusted", lambda p_values, smallest: p_values)
        assert not all(row.nominal for row in rules.family_errors(600, [9])), "members that do not share an error rate"
    with monkeypatch.context() as without:
        without.setattr(looks, "over_looks", lambda p_values, number: min([1.0, *p_values]))
        without.setattr(looks, "SIZES", tuple(range(6, 25, 2)))
        late = [row for row in rules.family_errors(2000, [1]) if row.what.endswith("all looks")]
        assert not all(row.nominal for row in late), "looks that do not share an error rate"


def test_intervals_that_are_too_short_are_found(rules, monkeypatch):
    assert all(row.nominal for row in rules.coverage(1000))
    short = rules.stats.outer_values
    monkeypatch.setattr(rules.stats, "outer_values", lambda size, level=0.95: short(size, level) + 1)
    assert not any(row.nominal for row in rules.coverage(1000) if row.size in ("6", "10"))


def test_the_script_does_not_stand_in_the_way_of_the_standard_library():
    code = "import statistics, sys; print(statistics.median([1, 2, 9]), sys.modules['statistics'].__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True)
    assert done.stdout.split()[0] == "2", done.stderr
    assert str(BENCHMARKS) not in done.stdout
