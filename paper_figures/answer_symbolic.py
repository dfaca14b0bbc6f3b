"""Answer on symbolic regression

Every network of the experiment is exported to pykan and read by the same extraction. The answer is computed from the
claims of the family 'symbolic' and from counts over the runs; none of its sentences is typed by hand. Scores are R² on
noise-free test points, 0 where no formula came out; recovery is equivalence to the target as sympy decides it.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import answers
from kanbench.pages.table import Table
from kanbench.records import symbolic_runs as runs

KIND = "table"
EXPERIMENTS = ["E12", "E12deep"]
CATEGORY = "Open questions"
QUESTION = "Does generating the weights break symbolic regression?"
METHOD, REFERENCE = "metakan-relu", "tiled_kan"
LEADS = {
    "holds": "No: the formulas read off MetaKAN are not worse than those read off the KAN.",
    "fails": "Yes: the formulas read off MetaKAN are worse than those read off the KAN.",
    "in part": "In part: some comparisons show worse formulas from MetaKAN, others do not.",
    "undecided": "Undecided: these runs neither show nor exclude worse formulas from MetaKAN.",
}


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return the one row of the answer; none without an analysed run."""
    if runs.analysed(records).empty:
        return pd.DataFrame()
    found = answers.outcomes(records, family="symbolic", ids=("symbolic-selection",))
    compared = [outcome for outcome in found if outcome.id != "symbolic-selection"]
    selection = next(outcome for outcome in found if outcome.id == "symbolic-selection")
    row = answers.row(QUESTION, compared, records, leads=LEADS, facts=[*_facts(records), answers.sentence(selection)])
    return pd.DataFrame([row])


def _facts(records: pd.DataFrame) -> list[str]:
    analysed, readings = runs.analysed(records), runs.readings(records)
    facts = []
    for way, words in runs.WAYS.items():
        recovered = f"{runs.PREFIX}{way}.exact"
        facts += [
            f"Exact recovery, symbols chosen {words}: {answers.shares(analysed, recovered)}; MetaKAN against the KAN: "
            f"{answers.discordant(analysed, recovered, METHOD, REFERENCE)}.",
            f"Median share of its network's variance that a formula leaves unexplained, {words}: "
            f"{answers.medians(readings[readings['way'] == way], 'unexplained_network')}.",
        ]
    return facts


def rows(frame: pd.DataFrame) -> Table:
    """Return the answer as a table."""
    return answers.table_of(frame)
