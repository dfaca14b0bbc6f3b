"""The digits are read from scikit-learn's file without importing scikit-learn: they must be what it would return."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from kanbench.data import datasets


def test_the_file_holds_what_scikit_learn_returns():
    ours, theirs = datasets.read("digits"), load_digits()
    assert np.array_equal(ours.labels, theirs.target)
    assert np.array_equal(ours.images[:, 0], np.round(theirs.images * (255.0 / 16.0)).astype(np.uint8))
