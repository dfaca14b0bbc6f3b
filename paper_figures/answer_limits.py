"""Answer: where are the limits of generated weights?

Whether prompts collapse, and what many different edge functions cost. The answer is computed from the claims of the
family 'limits'; none of its sentences is typed by hand.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import answers
from kanbench.pages.table import Table

KIND = "table"
EXPERIMENTS = ["E13", "E13diversity"]
CATEGORY = "Open questions"
QUESTION = "Where are the limits of generated weights?"
LEADS = {
    "holds": "No limit was met: prompts did not collapse, and many different edge functions cost nothing.",
    "fails": "Limits were met: prompts collapsed, and many different edge functions cost accuracy.",
    "in part": "Some limits were met, others were not.",
    "undecided": "Undecided: these runs neither show nor exclude a limit.",
}


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return the one row of the answer; none without a run of the experiments."""
    found = answers.outcomes(records, family="limits")
    diverse = records[records.get("spec.task.settings.distinct", pd.Series(index=records.index, dtype=float)).notna()]
    facts = []
    if len(diverse):
        by = "spec.task.settings.shape"
        ok = diverse.assign(group=diverse["label"] + " on " + diverse[by].astype(str))
        facts = [f"Median test error over the spread of the targets: {answers.medians(ok, 'error', by='group')}."]
    return pd.DataFrame([answers.row(QUESTION, found, records, leads=LEADS, facts=facts)])


def rows(frame: pd.DataFrame) -> Table:
    """Return the answer as a table."""
    return answers.table_of(frame)
