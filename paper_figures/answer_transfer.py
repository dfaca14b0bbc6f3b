"""Answer: does a learned weight-prediction rule help on new tasks?

The control that decides is a meta-learner frozen at its random initialisation: prompts alone can fit much. The answer
is computed from the claims of the family 'transfer'; none of its sentences is typed by hand.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import answers
from kanbench.pages.table import Table

KIND = "table"
EXPERIMENTS = ["E10"]
CATEGORY = "Open questions"
QUESTION = "Does a learned weight-prediction rule help on new tasks?"
ADAPT = "spec.source.adapt"
LEADS = {
    "holds": "Yes: a pretrained meta-learner beats its controls on formulas that it has not seen.",
    "fails": "No: a pretrained meta-learner is no better than its controls on formulas that it has not seen.",
    "in part": "In part: pretraining helps against one control and not against another.",
    "undecided": "Undecided: these runs neither show nor exclude a use of pretraining.",
}


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return the one row of the answer; none without an adapted run."""
    if ADAPT not in records or not records[ADAPT].notna().any():
        return pd.DataFrame()
    found = answers.outcomes(records, family="transfer")
    meta = records[records["method"].isin(records[records[ADAPT].notna()]["method"])]
    named = meta.assign(start=meta[ADAPT].fillna("from scratch").str.replace("_", " "))
    fact = f"Trainable parameters: {answers.medians(named, 'parameters.trainable', by='start')}."
    return pd.DataFrame([answers.row(QUESTION, found, records, leads=LEADS, facts=[fact])])


def rows(frame: pd.DataFrame) -> Table:
    """Return the answer as a table."""
    return answers.table_of(frame)
