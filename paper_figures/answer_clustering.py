"""Answer: is channel width the right grouping of layers for sharing meta-learners?

The controls that decide are groups of the same sizes dealt to layers at random, and one meta-learner with as many
parameters. The answer is computed from the claims of the families 'clustering' and
'clustering_deep' that have records; none of its sentences is typed by hand.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import answers
from kanbench.pages.table import Table
from kanbench.statistics import partitions

KIND = "table"
EXPERIMENTS = ["E11", "E11deep", "E11fc"]
CATEGORY = "Open questions"
QUESTION = "Is KMeans on channel widths the right grouping of layers?"
FAMILIES = ("clustering", "clustering_deep")
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
    found = [outcome for family in FAMILIES for outcome in answers.outcomes(records, family=family)]
    tested = [outcome for outcome in found if outcome.verdict != "no records"] or found
    named = runs.assign(group=runs["strategy"] + ", C = " + runs["count"].astype(str))
    facts = [
        f"Median test error, {network}: {answers.medians(inside, 'error', by='group')}."
        for network, inside in named.groupby("network", sort=True)
    ]
    return pd.DataFrame([answers.row(QUESTION, tested, records, leads=LEADS, facts=facts)])


def rows(frame: pd.DataFrame) -> Table:
    """Return the answer as a table."""
    return answers.table_of(frame)
