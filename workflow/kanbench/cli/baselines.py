"""Verbs about plug-ins: `check-baseline`, `new-baseline`."""

from __future__ import annotations

from argparse import Namespace

from kanbench.base import paths
from kanbench.base.errors import Finding, InvalidInput, nearest
from kanbench.baselines import discovery, outcomes, supervised


def check_baseline(options: Namespace) -> int:
    """`check-baseline`: the contract tests; the exit status is 1 where a rule is broken."""
    known = discovery.names()
    unknown = [name for name in options.name if name not in known]
    if unknown:
        step = "create it with `python -m kanbench new-baseline NAME`"
        raise InvalidInput([Finding("baselines/", n, "no such baseline", nearest(n, known), step) for n in unknown])
    results = [result for name in options.name or known for result in supervised.check_baseline(name)]
    return outcomes.report(results)


def new_baseline(options: Namespace) -> None:
    """`new-baseline`: a folder from the template."""
    from kanbench.baselines import scaffold

    folder = scaffold.new_baseline(options.name)
    print(f"{paths.relative(folder)} is ready: edit model.py, then `make check-baseline NAME={options.name}`")
