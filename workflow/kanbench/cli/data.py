"""The verb `data`: check or fetch a data set."""

from __future__ import annotations

from argparse import Namespace


def data(options: Namespace) -> None:
    """`data`: check or fetch a data set."""
    from kanbench.base import atomic
    from kanbench.data import datasets

    found = datasets.fetch(options.name, options.root, download=options.download)
    print(found)
    if options.stamp:
        atomic.write_text(options.stamp, f"{found}\n")
