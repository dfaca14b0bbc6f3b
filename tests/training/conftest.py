"""What the tests of training share."""

from __future__ import annotations

import pytest

from kanbench.training import ensemble


@pytest.fixture
def pairs_are_stacked(monkeypatch):
    """Two runs suffice for a stacked step, which costs time and spares the tests runs."""
    monkeypatch.setattr(ensemble, "LEAST_STACKED", 2)
