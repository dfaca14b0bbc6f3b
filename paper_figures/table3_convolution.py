"""Table 3: convolutional image classification

One row a data set, number of layers and method: each basis with dense weights and with generated ones, and plain
convolutions as controls. Test accuracy at the step chosen on validation, median over seeds. The difference is in the
error rate, against the dense network of the same basis (a plain convolution: against MetaConvKAN with B-splines; any
other method: against ConvKAN with B-splines), negative where the method has the lower one; the margin is 0.01.
"""

from __future__ import annotations

import pandas as pd

from kanbench.pages import cells, published
from kanbench.pages.table import Cell, Table

KIND = "table"
EXPERIMENTS = ["E4", "E6", "E6deep", "E6paper"]
CATEGORY = "Accuracy"
LAYERS = "spec.method.settings.layers"
BASES = ("bspline", "rbf", "legendre", "gram", "chebyshev")
PARTNERS = {
    **{f"meta_conv_kan-{basis}": f"conv_kan-{basis}" for basis in BASES},
    "meta_conv_kan-released": "meta_conv_kan-bspline",
    **{f"cnn-{size}": "meta_conv_kan-bspline" for size in ("plain", "matched", "wide")},
}
COLUMNS = (
    *("Data set", "Layers", "Configuration", "Method", "Parameters", "Published", "Accuracy"),
    *("Difference of errors", "Verdict", "Runs ok"),
)


def data(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row a data set, number of layers and method."""
    if LAYERS not in records:
        return pd.DataFrame()
    clusters = records["spec.method.settings.num_clusters"]
    chosen = records[records[LAYERS].notna() & (clusters.isna() | (clusters.astype(str).isin(["1", "1.0"])))]
    options = {"dataset": "spec.task.name", "by": (LAYERS,), "item": "Table 3", "margin": 0.01}
    default = published.declared_references(chosen, "dense_convolution", EXPERIMENTS)
    found = published.against_partners(chosen, PARTNERS, ratio=False, default=default, **options)
    return published.without_published(found, found["layers"] != 4) if len(found) else found


def rows(frame: pd.DataFrame) -> Table:
    """Return the table, methods in the order of their labels."""
    body = tuple(_row(row) for _, row in frame.iterrows())
    made = Table(COLUMNS, body, frame, frozenset({"Layers"}), notes=published.notes(frame))
    return cells.emphasised(made, "Accuracy", ["dataset", "layers", "configuration"], "max")


def _row(row: pd.Series) -> tuple[Cell, ...]:
    return cells.of_data_set(row, Cell(f"{row['layers']:g}", sort=row["layers"]))
