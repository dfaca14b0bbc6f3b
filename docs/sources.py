"""What the pages take from elsewhere: texts that lie beside what they are about, keys of schemas, docstrings.

A page that says `<!-- text: FILE -->` is that file, so that there is one copy of it; `<!-- schema: FILE -->` stands
for a list of the keys of a JSON Schema. Links to files of the repository lead to the page that shows them, or to a
copy.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import schema_keys
import yaml
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"<!-- (text|schema): (\S+) -->")
LINK = re.compile(r"(?<=\]\()(?!https?://|mailto:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
CODE = re.compile(r"(^```.*?^```|`[^`\n]*`)", flags=re.DOTALL | re.MULTILINE)


def pages() -> dict[str, str]:
    """Return the page, without suffix, of every file of the repository that is one or is shown by one."""
    found = {}
    for path in sorted((ROOT / "docs").rglob("*.md")):
        name = path.relative_to(ROOT / "docs").with_suffix("").as_posix()
        found[f"docs/{name}.md"] = name
        found |= {file: name for kind, file in MARK.findall(path.read_text(encoding="utf-8")) if kind == "text"}
    return found


def relinked(text: str, source: str, page: str) -> str:
    """Return a text of the repository as it stands on a page: its links are relative to that page.

    Args:
        text: Markdown.
        source: The file that it is from, relative to the repository.
        page: The page, relative to `docs/`, without suffix.
    """
    shown = pages()
    place = (ROOT / "docs" / page).parent

    def link(match: re.Match) -> str:
        target = os.path.normpath(ROOT / Path(source).parent / match[1])
        name = shown.get(Path(target).relative_to(ROOT).as_posix())
        return os.path.relpath(ROOT / "docs" / f"{name}.md" if name else target, place) + (match[2] or "")

    parts = CODE.split(text)
    return "".join(part if place_ % 2 else LINK.sub(link, part) for place_, part in enumerate(parts))


def keys(file: str) -> str:
    """Return a Markdown list of the keys of a JSON Schema, with an anchor each."""
    content = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    return schema_keys.listing(content, Path(file).name.partition(".")[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", as_literals)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def as_literals(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Turn `this` of a docstring into a literal of reStructuredText, whatever character follows."""

    def literal(match: re.Match) -> str:
        return f"``{match[2]}``" + ("\\ " + match[3] if match[3] else "")

    lines[:] = re.sub(r"(`{1,2})([^`]+)\1(?!`)([\w^])?", literal, "\n".join(lines)).split("\n")


def read(app: Sphinx, page: str, content: list[str]) -> None:
    """Fill the marks of a page in."""
    text = relinked(content[0], f"docs/{page}.md", page)

    def fill(match: re.Match) -> str:
        kind, file = match.groups()
        app.env.note_dependency(str(ROOT / file))
        return relinked((ROOT / file).read_text(encoding="utf-8"), file, page) if kind == "text" else keys(file)

    content[0] = MARK.sub(fill, text)
