"""The table of claims as Markdown that a narrow screen can show: three columns, and below them a paragraph a claim.

The heading of each paragraph is the claim's id, by which other pages link to it (`claims.md#accuracy-pde`).
"""

from __future__ import annotations

from collections.abc import Sequence

from kanbench.pages.table import Cell, Table

SHORT = ("Measured", "Verdict")
STATEMENT = "Claim"


def markdown(made: Table) -> str:
    """Return a table of claims, whose first cells bear the ids as anchors, as a page."""
    places = [made.columns.index(name) for name in SHORT]
    grid = [[STATEMENT, *SHORT], [":---", "---:", ":---"]]
    grid += [[f"[{row[0].text}](#{row[0].anchor})", *(row[place].text for place in places)] for row in made.rows]
    lines = ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in grid]
    parts = [f"**{made.title}.** {made.caption}".strip(), "\n".join(lines)]
    parts += [part for row in made.rows for part in _paragraph(made.columns, row)]
    parts += [*(f"*{note}*" for note in made.below), f"Cite as: {made.citation}"]
    return "\n\n".join(parts) + "\n"


def _paragraph(columns: Sequence[str], row: Sequence[Cell]) -> list[str]:
    entries = [f"* {name}: {cell.text}" for name, cell in zip(columns[1:], row[1:], strict=True)]
    return [f"### {row[0].anchor}", row[0].text, "\n".join(entries)]
