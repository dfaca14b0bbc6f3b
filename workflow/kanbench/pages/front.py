"""What a README says of results: blocks between marks, written from a published record set and never by hand."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kanbench.base.atomic import write_text
from kanbench.pages.render import VERDICT_ORDER

BLOCKS = ("verdicts", "results")
"""Names of the blocks: `<!-- verdicts -->` opens one, `<!-- /verdicts -->` closes it."""
TABLE = "tables/memory_ratios.md"


def verdict_sentence(claims: Sequence[Mapping[str, Any]]) -> str:
    """Return how many claims have each verdict: "Of 3 claims: holds 2, no records 1."."""
    found = Counter(claim["verdict"] for claim in claims)
    order = [*(verdict for verdict in VERDICT_ORDER if verdict in found), *sorted(set(found) - set(VERDICT_ORDER))]
    return f"Of {len(claims)} claims: {', '.join(f'{verdict} {found[verdict]}' for verdict in order)}."


def blocks(published: Path) -> dict[str, str]:
    """Return the text of each block from the rendered files of a record set."""
    content = json.loads((published / "claims.json").read_text(encoding="utf-8"))
    table = (published / TABLE).read_text(encoding="utf-8").strip()
    return {"verdicts": f"{verdict_sentence(content['claims'])} ({content['citation']})", "results": table}


def filled(text: str, texts: Mapping[str, str]) -> str:
    """Return a document with its blocks replaced; a block that it does not have is left out."""
    for name, block in texts.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text = re.sub(pattern, lambda match, block=block: f"{match[1]}{block}\n{match[2]}", text, flags=re.DOTALL)
    return text


def update(document: Path, published: Path) -> Path:
    """Rewrite the blocks of a document from a published record set; return the document."""
    write_text(document, filled(document.read_text(encoding="utf-8"), blocks(published)))
    return document
