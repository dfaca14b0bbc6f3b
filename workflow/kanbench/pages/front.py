"""What a README says of results: blocks between marks, written from a published record set and never by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from kanbench.base.atomic import write_text
from kanbench.pages import findings, recipes, render
from kanbench.verdicts import declared as declarations
from kanbench.verdicts.outcome import Outcome

BLOCKS = ("verdicts", "headlines")
"""Names of the blocks: `<!-- verdicts -->` opens one, `<!-- /verdicts -->` closes it."""


def blocks(published: Path, where: str = "results/reference/") -> dict[str, str]:
    """Return the text of each block from a published record set and the verdicts that were published with it.

    Args:
        where: The folder of the record set as links name it.
    """
    record_set = render.RecordSet(published)
    content = json.loads((published / "claims.json").read_text(encoding="utf-8"))
    outcomes = {entry["id"]: Outcome.of(entry) for entry in content["claims"]}
    claims = {claim["id"]: claim for claim in declarations.load(recipes.claims_file())}
    tell = findings.Telling(claims, record_set.method_labels)
    named = [outcomes[name] for name in findings.declared()["headline"] if name in outcomes]
    tally = f"{findings.tally(outcomes.values())} ({content['citation']})"
    return {"verdicts": tally, "headlines": findings.headline_table(named, tell, where)}


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
