"""Table 5: fully connected image classification

One row a data set and method: dense and generated forms of each basis, and an MLP. Test accuracy at the step chosen on
validation, median over seeds; the published values were chosen on the test split. The difference is in the error rate,
against the dense form of the same basis (a control: against MetaKAN; any other method: against the KAN), negative
where the method has the lower one; the margin is 0.01.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import cells, published
from kanbench.pages.table import Cell, Table

KIND = "table"
EXPERIMENTS = ["E5", "E5paper", "E5released", "E5tuned"]
CATEGORY = "Accuracy"
PARTNERS = {
    "metakan-relu": "efficient_kan",
    "metakan-linear": "metakan-relu",
    "metakan_released-relu": "efficient_kan",
    "metakan_released-affine": "metakan_released-relu",
    "metakan_released-shared": "metakan_released-relu",
    "meta_fast_kan": "fast_kan",
    "meta_wav_kan-described": "wav_kan",
    "meta_wav_kan-released": "wav_kan",
    **{f"meta_polynomial_kan-{basis}": f"polynomial_kan-{basis}" for basis in ("legendre", "gram", "chebyshev")},
    **dict.fromkeys(("mlp", "mlp_matched", "affine", "shared_kan", "low_rank_kan"), "metakan-relu"),
}
COLUMNS = (
    *("Data set", "Network", "Configuration", "Method", "Parameters", "Published", "Accuracy"),
    *("Difference of errors", "Verdict", "Runs ok"),
)
WIDTH, DEPTH = "spec.method.settings.hidden_width", "spec.method.settings.depth"


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a data set, width, depth and method."""
    chosen = records[(records["family"] == "classification") & (records["metric"] == "accuracy")]
    if chosen.empty:
        return pd.DataFrame()
    default = published.declared_references(chosen, "dense", EXPERIMENTS)
    options = {"dataset": "spec.task.name", "by": (WIDTH, DEPTH), "item": "Table 5", "margin": 0.01}
    return published.against_partners(chosen, PARTNERS, ratio=False, default=default, **options)


def rows(frame: pd.DataFrame) -> Table:
    """Return the table, methods in the order of their names."""
    made = Table(COLUMNS, tuple(_row(row) for _, row in frame.iterrows()), frame, notes=published.notes(frame))
    return cells.emphasised(made, "Accuracy", ["dataset", "hidden_width", "depth", "configuration"], "max")


def _row(row: pd.Series) -> tuple[Cell, ...]:
    return cells.of_data_set(row, Cell(f"{row['depth']:g} × {row['hidden_width']:g}"))
