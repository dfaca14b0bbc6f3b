"""The bibliography: whole entries, and one for every source that a docstring names."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [
    path
    for folder, kinds in {"metakan": ("*.py", "*.md"), "workflow": ("*.py", "*.yaml"), "baselines": ("*.py",)}.items()
    for kind in kinds
    for path in sorted((ROOT / folder).rglob(kind))
]
AUTHOR_YEAR = re.compile(r"\b([A-Z][^\W\d_]+)(?: et al\.|(?: and|,|-)\s?[A-Z][^\W\d_]+)?,? \(?((?:19|20)\d\d)\b")
KEY_OF = {"blealtan2024": "efficientkan2024"}


def entries() -> dict[str, dict[str, str]]:
    text = (ROOT / "paper_figures/references.bib").read_text(encoding="utf-8")
    blocks = re.findall(r"^@\w+\{([^,]+),\n(.*?)^\}$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == text.count("\n@") + 1, "an entry does not close, or its key stands on another line"
    assert len(blocks) == len(dict(blocks)), "a key occurs twice"
    return {key: dict(re.findall(r"^  (\w+) = \{(.*)\},?$", body, flags=re.MULTILINE)) for key, body in blocks}


def cited(text: str) -> set[str]:
    """Return the keys that the author-year citations of a text stand for."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return {f"{name.lower()}{year}" for name, year in AUTHOR_YEAR.findall(folded)}


def test_citations_are_recognised():
    assert cited("(Szekely and Rizzo, 2013), Müller (2021); Liu et al. 2024, Clopper-Pearson 1934") == {
        "szekely2013", "muller2021", "liu2024", "clopper1934"
    }  # fmt: skip
    assert not cited("the 2024 grid, PMLR 267, torch 2.11 and Python 3.12")


def test_entries_are_whole():
    for key, fields in entries().items():
        assert {"title", "author", "year"} <= set(fields), key
        assert fields["year"] == key[-4:] or "arXiv" in fields.get("note", ""), key
        if "doi.org/" in fields.get("url", ""):
            assert fields["url"] == f"https://doi.org/{fields['doi']}", key


def test_every_source_that_a_docstring_names_has_an_entry():
    known, found = entries(), {}
    for path in SOURCES:
        for key in cited(path.read_text(encoding="utf-8")):
            found.setdefault(KEY_OF.get(key, key), path.relative_to(ROOT).as_posix())
    assert len(found) > 25
    assert not {key: path for key, path in found.items() if key not in known}
