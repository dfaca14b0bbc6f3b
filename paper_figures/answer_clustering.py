"""Answer: is channel width the right grouping of layers for sharing meta-learners?

The controls that decide are groups of the same sizes dealt to layers at random, and one meta-learner with as many
parameters. The answer is computed from the claims of the family 'clustering'; none of its sentences is typed by hand.
"""

from __future__ import annotations

import pandas as pd

from kanbench import answers, partitions
from kanbench.table import Table

KIND = "table"
EXPERIMENTS = ["E11"]
CATEGORY = "Open questions"
QUESTION = "Is KMeans on channel widths the right grouping of layers?"
LEADS = {
    "holds": "Yes: KMeans on channel widths beats every control.",
    "fails": "No: KMeans on channel widths is no better than its controls.",
    "in part": "In part: KMeans on channel widths beats some of its controls and not others.",
    "undecided": "Undecided: these runs neither show nor exclude an advantage of KMeans on channel widths.",
}


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return the one row of the answer; none without a run whose layers are grouped."""
    runs = partitions.described(records)
    if runs.empty or not (runs["count"] > 1).any():
        return pd.DataFrame()
    found = answers.outcomes(records, family="clustering")
    named = runs.assign(group=runs["strategy"] + ", C = " + runs["count"].astype(str))
    fact = f"Median test error: {answers.medians(named, 'error', by='group')}."
    return pd.DataFrame([answers.row(QUESTION, found, records, leads=LEADS, facts=[fact])])


def rows(frame: pd.DataFrame) -> Table:
    """Return the answer as a table."""
    return answers.table_of(frame)
