"""Files appear whole or not at all, and where there can be none a sentence says so."""

from __future__ import annotations

import tempfile

import pytest

from kanbench.base import atomic
from kanbench.base.errors import KanbenchError, Unwritable


def test_a_file_where_a_folder_should_be_is_a_sentence(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(Unwritable, match="cannot write .*results/x/a.json") as caught:
        atomic.write_text(tmp_path / "results" / "x" / "a.json", "{}")
    assert isinstance(caught.value, KanbenchError)
    assert isinstance(caught.value, OSError)
    assert "next: make the folder writable" in str(caught.value)


def test_a_folder_without_permission_is_a_sentence(tmp_path, monkeypatch):
    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(Unwritable, match="Permission denied"):
        atomic.write_bytes(tmp_path / "a", b"")
    assert not list(tmp_path.iterdir())
