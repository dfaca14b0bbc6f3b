"""Verbs that show records: `render`, `claims`, `report`, `findings`, `front`."""

from __future__ import annotations

from argparse import Namespace


def render(options: Namespace) -> None:
    """`render`: one recipe."""
    from kanbench.pages import render as rendering

    for path in rendering.render(options.recipe, options.records, options.output):
        print(path)


def claims(options: Namespace) -> None:
    """`claims`: verdicts."""
    from kanbench.pages import render as rendering

    for path in rendering.render_claims(options.records, options.output):
        print(path)


def report(options: Namespace) -> None:
    """`report`: the HTML page."""
    from kanbench.pages import report as reporting

    print(reporting.report(options.records, options.output, published=options.published))


def findings(options: Namespace) -> None:
    """`findings`: the page of what holds and what does not."""
    from kanbench.pages import findings as finding

    print(finding.write(options.records, options.output))


def front(options: Namespace) -> None:
    """`front`: the generated blocks of a README."""
    from kanbench.pages import front as fronting

    print(fronting.update(options.output, options.records))
