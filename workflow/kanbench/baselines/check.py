"""The contract of a baseline, rule by rule, tried in this process.

`python -m kanbench check-baseline` has a child process try it (`supervised`); the test suite tries it here.
"""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kanbench.base import paths
from kanbench.base.errors import Unavailable
from kanbench.baselines import build, conduct, discovery, estimator_rules, rules
from kanbench.baselines.discovery import Baseline, Method
from kanbench.baselines.outcomes import SCHEMA, RuleResult
from kanbench.baselines.subject import Broken, NotTried, Subject

RULES: dict[str, Callable[[Subject], None]] = {
    rule.__name__: rule
    for rule in (
        rules.builds, conduct.imports, conduct.names, rules.shapes, rules.small_problems, rules.dtype_and_device,
        rules.gradients, rules.second_derivatives, rules.count, rules.groups, rules.axes, conduct.penalty,
        conduct.hooks, conduct.files, rules.settings_read_only, conduct.generators, rules.seed_decides,
        rules.state_dict, rules.evaluation, rules.learning,
    )
}  # fmt: skip
ESTIMATOR_RULES: dict[str, Callable[[estimator_rules.EstimatorSubject], None]] = {
    rule.__name__: rule
    for rule in (
        estimator_rules.builds, conduct.imports, estimator_rules.names, estimator_rules.shapes,
        estimator_rules.small_problems, estimator_rules.count, estimator_rules.files,
        estimator_rules.settings_read_only, estimator_rules.generators, estimator_rules.seed_decides,
        estimator_rules.evaluation, estimator_rules.learning,
    )
}  # fmt: skip


def rules_of(baseline: Baseline) -> dict[str, Callable[[Any], None]]:
    """Return the rules that the methods of a baseline have to keep, by name."""
    return ESTIMATOR_RULES if baseline.fits_itself else RULES


def subject_of(method: Method) -> Subject:
    """Return what the rules are tried on."""
    return estimator_rules.EstimatorSubject(method) if method.baseline.fits_itself else Subject(method)


def check_rule(subject: Subject, name: str) -> RuleResult:
    """Return the outcome of one rule; whatever a baseline raises or prints ends up in the result."""
    ok: bool | None = False
    rule = rules_of(subject.method.baseline)[name]
    switches = build.switches()
    with warnings.catch_warnings(), contextlib.redirect_stdout(None):
        warnings.simplefilter("ignore")
        try:
            rule(subject)
            ok, message = True, ""
        except (Unavailable, NotTried) as reason:
            ok, message = None, f"skipped: {reason}"
        except (Broken, build.BrokenContract) as broken:
            message = str(broken).removeprefix(f"{name}: ")
        except (Exception, SystemExit) as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            message = f"{type(error).__name__}: {error} ({paths.relative(Path(place.filename))}:{place.lineno})"
        finally:
            build.restore(switches)
    waived = subject.method.baseline.waivers.get(name)
    if ok is False and waived:
        ok, message = None, f"waived: {waived} ({message})"
    return RuleResult(subject.method.name, name, ok, message, text=rule.__doc__.partition("\n")[0])


def check_method(method: Method) -> Iterator[RuleResult]:
    """Yield the outcome of every rule for a method; only `builds` where it does not build or a package is absent."""
    subject = subject_of(method)
    first = check_rule(subject, "builds")
    yield first
    if first.ok:
        yield from (check_rule(subject, name) for name in rules_of(method.baseline) if name != "builds")


def check_baseline(name: str, folder: Path | None = None) -> list[RuleResult]:
    """Return the outcome of every rule for every method of a baseline.

    Args:
        name: Name of its folder.
        folder: Where that folder is; default `baselines/` of the suite.
    """
    found, problems = discovery.read((folder or paths.root() / "baselines") / name)
    if found is None:
        return [RuleResult(name, SCHEMA, False, str(problem)) for problem in problems]
    results = [RuleResult(name, SCHEMA, True, "")]
    return results + [result for method in found.methods.values() for result in check_method(method)]


def main(folder: str, channel: int) -> None:
    """Try the contract of a baseline that is well described; write one line of JSON an outcome to a file descriptor."""
    with open(channel, "w", encoding="utf-8") as results:
        found, _ = discovery.read(Path(folder))
        print(json.dumps(list(rules_of(found))), file=results, flush=True)
        for method in found.methods.values():
            for result in check_method(method):
                print(json.dumps(result.as_dict()), file=results, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
