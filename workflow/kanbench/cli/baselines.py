"""Verbs about plug-ins: `check-baseline`, `new-baseline`, `environment`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

from kanbench.base import atomic, paths
from kanbench.base.errors import Finding, InvalidInput, nearest
from kanbench.baselines import discovery, environments, outcomes, supervised


def check_baseline(options: Namespace) -> int:
    """`check-baseline`: the contract tests; the exit status is 1 where a rule is broken."""
    known = discovery.names()
    unknown = [name for name in options.name if name not in known]
    if unknown:
        step = "create it with `python -m kanbench new-baseline NAME`"
        raise InvalidInput([Finding("baselines/", n, "no such baseline", nearest(n, known), step) for n in unknown])
    results = [result for name in options.name or known for result in supervised.check_baseline(name)]
    return outcomes.report(results)


def new_baseline(options: Namespace) -> int:
    """`new-baseline`: a folder from a template, or around a class of a package."""
    from kanbench.baselines import scaffold

    if options.origin is None:
        template = scaffold.ESTIMATOR if options.estimator else scaffold.TEMPLATE
        folder = scaffold.new_baseline(options.name, template=template)
        print(f"{paths.relative(folder)} is ready: edit model.py, then `make check-baseline NAME={options.name}`")
        return 0
    requirements = "".join(f"{line}\n" for line in options.requirement)
    if requirements:
        _enter(environments.build(requirements, label="--requirement"))
    from kanbench.baselines import wrapping

    folder = wrapping.new_baseline(options.name, options.origin, requirements=requirements)
    print(f"{paths.relative(folder)} is written around {options.origin}; correct its label and citation")
    return outcomes.report(supervised.check_baseline(options.name))


def _enter(environment: Path) -> None:
    """Go on with this command in an environment, unless this is it."""
    if Path(sys.prefix).resolve() != environment.resolve():
        interpreter = str(environments.python(environment))
        os.execv(interpreter, [interpreter, "-m", "kanbench", *sys.argv[1:]])


def environment(options: Namespace) -> None:
    """`environment`: build the environment that a baseline asks for."""
    baseline = discovery.find(options.name)
    if baseline is None or not baseline.environment:
        own = sorted(name for name, each in discovery.survey()[0].items() if each.environment)
        step = "name a requirements file as `environment` in its baseline.yaml"
        expected = nearest(options.name, own) if own else "a baseline with an environment; there is none"
        raise InvalidInput([Finding("baselines/", options.name, "no environment of its own", expected, step)])
    text = environments.requirements(baseline)
    found = environments.build(text, label=paths.relative(baseline.path / baseline.environment))
    has = ", ".join(f"{name} {version}" for name, version in environments.installed(found).items())
    said = f"{paths.relative(found)}: {has or 'nothing beside the suite'}"
    print(said)
    if options.stamp:
        atomic.write_text(options.stamp, f"{said}\n")
