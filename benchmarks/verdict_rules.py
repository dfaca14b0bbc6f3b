"""Whether the rules of verdicts keep what they promise, simulated:  python benchmarks/statistics.py [--draws 100000]

One table: how often the intervals cover, how often a claim whose median lies on its margin is decided all the same,
how often the printed number of runs decides, and how many runs looks save. The functions are those of the verdicts;
p-values are looked up, for each number of values, by the count and rank sum on which they depend. A row is nominal or
better where it misses its level by no more than three Monte-Carlo errors. Ends with status 1 where one is not.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats as distributions

from kanbench.statistics import hypotheses, looks, power, stats
from kanbench.verdicts import paired
from kanbench.verdicts.evidence import THESE, Evidence
from kanbench.verdicts.outcome import Outcome
from kanbench.verdicts.references import Choice

SIZES = (6, 8, 10, 20, 30, 31, 50)
SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "t2": lambda rng, shape: rng.standard_t(2, shape),
    "exponential": lambda rng, shape: rng.standard_exponential(shape) - math.log(2),
    "log-normal": lambda rng, shape: np.exp(rng.standard_normal(shape)) - 1,
}
"""Values whose median is 0, the margin."""
STATEMENTS = {"holds": "not_worse", "fails": "worse"}
ERRORS = 3.0
"""Monte-Carlo errors by which a row may miss its level."""
FEW = 4
"""Values of a member that cannot reject: below the smallest number that could."""
ROW = "{:34} {:12} {:>8} {:>10} {:>9} {:>9} {:>10}  {}"


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured beside its level.

    Attributes:
        error: Standard error of what was measured; `planned` that of the simulation by which a number was planned.
        sense: 1 where more than the level is better, -1 where less is.
    """

    what: str
    values: str
    size: str
    members: str
    measured: float
    error: float
    level: float
    sense: int
    planned: float = 0.0

    @property
    def nominal(self) -> bool:
        """Whether the row is at its level or better, but for the Monte-Carlo error."""
        return self.sense * (self.measured - self.level) >= -ERRORS * math.hypot(self.error, self.planned) - 1e-9

    def text(self) -> str:
        numbers = [f"{self.measured:.4g}", f"{self.error:.2g}", f"{'>=' if self.sense > 0 else '<='} {self.level:.4g}"]
        return ROW.format(self.what, self.values, self.size, self.members, *numbers, "yes" if self.nominal else "NO")


def binomial_error(share: float, draws: int) -> float:
    """Return the standard error of a share of `draws`; of a share near 0 or 1 that of one draw in a hundred."""
    share = min(max(share, 0.01), 0.99)
    return math.sqrt(share * (1 - share) / draws)


def coverage(draws: int) -> Iterator[Row]:
    """Yield how often the interval of the median covers it."""
    for name, draw in SHAPES.items():
        for size in SIZES:
            rows = np.sort(draw(stats.generator("coverage", name, size), (draws, size)), axis=1)
            outside = stats.outer_values(size)
            low, high = rows[:, outside], rows[:, size - 1 - outside]
            for row in range(5):  # the ends are those that a verdict shows
                assert stats.median_interval(rows[row]) == (low[row], high[row])
            covered = float(np.mean((low <= 0) & (high >= 0)))
            error = binomial_error(covered, draws)
            yield Row("coverage, median", name, str(size), "", covered, error, stats.LEVEL, 1)


def share_coverage() -> Iterator[Row]:
    """Yield the least coverage of the interval of a share over shares of 0.02 to 0.98: summed, not simulated."""
    shares = np.linspace(0.02, 0.98, 97)
    for size in SIZES:
        ends = np.array([stats.proportion_interval(count, size) for count in range(size + 1)])
        inside = (ends[:, :1] <= shares) & (shares <= ends[:, 1:])
        weights = distributions.binom.pmf(np.arange(size + 1)[:, None], size, shares)
        least = float((inside * weights).sum(axis=0).min())
        yield Row("coverage, share of tasks", "worst share", str(size), "", least, 0.0, stats.LEVEL, 1)


@cache
def looked_up(size: int, count: int, total: int) -> tuple[float, float]:
    """Return the p-values of both statements for `size` untied values, by their signed ranks.

    Args:
        count: How many are positive.
        total: Sum of the ranks of those.
    """
    ranks = np.arange(1.0, size + 1)
    positive, left = np.zeros(size, dtype=bool), total
    for needed in range(count, 0, -1):  # any set of `count` ranks with this sum has the same two p-values
        rank = min(left - needed * (needed - 1) // 2, size - (count - needed))
        positive[rank - 1], left = True, left - rank
    found = hypotheses.statement_p_values(np.where(positive, ranks, -ranks), 0.0, lower_is_better=True)
    return found[STATEMENTS["holds"]], found[STATEMENTS["fails"]]


def p_values(values: np.ndarray) -> np.ndarray:
    """Return the p-values of both statements, (..., 2), about the last axis of untied values against 0."""
    size = values.shape[-1]
    order = np.argsort(np.abs(values), axis=-1)
    positive = np.take_along_axis(values > 0, order, axis=-1)
    keys = positive.sum(axis=-1) * (size * size) + positive @ np.arange(1, size + 1)
    distinct, where = np.unique(keys, return_inverse=True)
    table = np.array([looked_up(size, int(key) // (size * size), int(key) % (size * size)) for key in distinct])
    return table[where.reshape(keys.shape)]


def over_looks(values: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return the p-values of both statements over looks at the first `sizes` values, (..., 2)."""
    each = np.stack([p_values(values[..., :size]) for size in sizes], axis=-1)
    flat = [looks.over_looks(found, len(sizes)) for found in each.reshape(-1, len(sizes)).tolist()]
    return np.reshape(flat, each.shape[:-1])


def family_errors(draws: int, families: Sequence[int] = (1, 4, 9)) -> Iterator[Row]:
    """Yield how often any member of a family is decided on either side although every median lies on the margin."""
    for sizes, when in (((looks.SIZES[0],), "one look"), (looks.SIZES, "all looks")):
        for name, draw in SHAPES.items():
            for members in families:
                rng = stats.generator("family", when, name, members)
                found = over_looks(draw(rng, (draws, members, sizes[-1])), sizes)
                unable = p_values(draw(rng, (draws, members, FEW)))
                least = looks.smallest_over_looks(sizes, len(sizes))
                for beside in (False, True):
                    every = np.concatenate([found, unable], axis=1) if beside else found
                    smallest = [least] * members + [hypotheses.smallest_p(FEW)] * (members * beside)
                    label = f"{members} + {members}" if beside else str(members)
                    for side, position in zip(STATEMENTS, (0, 1), strict=True):
                        false = any_decided(every[..., position], smallest)
                        level = hypotheses.ALPHA / 2
                        error = binomial_error(level, draws)
                        size = ",".join(map(str, sizes))
                        yield Row(f"any false {side}, {when}", name, size, label, false, error, level, -1)


def any_decided(rows: np.ndarray, smallest: Sequence[float]) -> float:
    """Return the share of families, (draws, members), of which a member is decided."""
    bound = hypotheses.ALPHA + hypotheses.ROUNDING
    promising = rows[rows.min(axis=1) <= bound]  # an adjusted p-value is never below the one that it is made of
    return sum(min(hypotheses.adjusted(row, smallest)) <= bound for row in promising.tolist()) / len(rows)


def pilot(size: int, shift: float) -> np.ndarray:
    """Return values of a normal shape at a distance from 0, in standard deviations."""
    values = distributions.norm.ppf((np.arange(size) + 0.5) / size)
    return values / values.std(ddof=1) - shift


def case(values: np.ndarray, name: str = "simulated") -> tuple[paired.Case, Outcome]:
    """Return a claim on given tasks with these differences, one a seed, and its outcome without a verdict."""
    criterion = {"kind": "paired_difference", "metric": "error", "expect": STATEMENTS["holds"], "margin": 0.0}
    claim = {"id": name, "direction": "lower", "scope": THESE, "looks": list(looks.SIZES), "criterion": criterion}
    seeds = tuple(range(len(values)))
    units = pd.DataFrame({"seed": seeds, "seen": values, "low": values, "high": values})
    found = Evidence(units=units, seeds=seeds, unit="seeds", tasks=("task",))
    outcome = Outcome(name, "", "", "", ("E0",), "", criterion["kind"], scope=THESE)
    return paired.Case(claim, Choice(("reference",), "declared"), {"reference": found}), outcome


def check_against_verdicts(families: int = 20) -> None:
    """Compare the decisions of the table with those of the verdicts, family by family; stops where one differs."""
    rng = stats.generator("verdicts")
    for family in range(families):
        values = rng.standard_normal((4, looks.SIZES[-1])) + rng.uniform(-0.8, 0.8, (4, 1))
        judged = paired.judge(*zip(*(case(row, str(i)) for i, row in enumerate(values)), strict=True))
        least = [looks.smallest_over_looks(looks.SIZES, len(looks.SIZES))] * 4
        adjusted = np.array([hypotheses.adjusted(p.tolist(), least) for p in over_looks(values, looks.SIZES).T])
        found = np.array([[each.p_holm, each.p_against_holm] for each in judged]).T
        if not np.allclose(found, adjusted, rtol=1e-9):
            sys.exit(f"the table and the verdicts differ in family {family}: {adjusted} and {found}")


def printed_power(draws: int) -> Iterator[Row]:
    """Yield how often the number of runs that is printed decides: fresh values with the distance of the pilot."""
    planned = binomial_error(power.POWER, power.SIMULATIONS)
    for members in (1, 4, 9):
        alpha = hypotheses.ALPHA / members
        for shift in (0.5, 0.8, 1.2):
            size = int(power.needed(pilot(20, shift), 0.0, alpha=alpha))
            values = stats.generator("needed", members, shift).standard_normal((draws, size)) - shift
            shown = float(power.rejects(values, alpha / 2).mean())
            error = binomial_error(shown, draws)
            yield Row(
                f"power at {size} tasks, as printed",
                f"normal {shift:g}",
                str(size),
                str(members),
                shown,
                error,
                power.POWER,
                1,
                planned,
            )
        for shift in (0.7, 1.0, 1.5):
            size = paired.needed_units(case(pilot(20, shift))[0], members)
            if math.isinf(size):
                continue
            sizes = [each for each in looks.SIZES if each <= size]
            shown = looked_power(draws, shift, members, sizes)
            error = binomial_error(shown, draws)
            what = f"power at the look at {size:.0f}"
            listed = ",".join(map(str, sizes))
            yield Row(what, f"normal {shift:g}", listed, str(members), shown, error, power.POWER, 1, planned)


def looked_power(draws: int, shift: float, members: int, sizes: Sequence[int]) -> float:
    """Return how often a claim that is a member of a family is decided at one of the looks."""
    values = stats.generator("looked", members, shift).standard_normal((draws, sizes[-1])) - shift
    p = np.stack([p_values(values[:, :size])[:, 0] for size in sizes], axis=-1)
    alpha, number = hypotheses.ALPHA / members, len(looks.SIZES)
    return sum(looks.deciding(row, number, alpha) is not None for row in p.tolist()) / draws


def expected_runs(draws: int) -> Iterator[Row]:
    """Yield how many seeds a claim takes with looks; without, it takes those of the last one."""
    number, last = len(looks.SIZES), looks.SIZES[-1]
    for members in (1, 9):
        alpha = hypotheses.ALPHA / members
        for shift in (0.0, 0.5, 0.8, 1.2, 2.0):
            values = stats.generator("expected", members, shift).standard_normal((draws, last)) - shift
            each = np.stack([p_values(values[:, :size]) for size in looks.SIZES], axis=-1)
            first = [
                min((at for side in sides if (at := looks.deciding(side, number, alpha)) is not None), default=-1)
                for sides in each.tolist()
            ]
            taken = np.array([looks.SIZES[at] for at in first], float)  # -1: undecided, after the last look
            error = float(taken.std() / math.sqrt(draws))
            listed = ",".join(map(str, looks.SIZES))
            yield Row(
                "expected seeds with looks", f"normal {shift:g}", listed, str(members), taken.mean(), error, last, -1
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100_000, help="simulated studies of a row")
    draws = parser.parse_args().draws
    if draws < 100:
        parser.error("--draws: at least 100, or no error can be told")
    check_against_verdicts()
    print(ROW.format("what", "values", "size", "members", "measured", "MC error", "level", "nominal"))
    missed = rows = 0
    for table in (coverage(draws), share_coverage(), family_errors(draws), printed_power(draws), expected_runs(draws)):
        for row in table:
            print(row.text(), flush=True)
            rows, missed = rows + 1, missed + (not row.nominal)
    print(f"{rows} rows, {draws} draws each, 'n + n': n members beside n that cannot reject")
    print("all nominal or better" if not missed else f"NOT nominal: {missed} of {rows} rows")
    sys.exit(int(missed > 0))
