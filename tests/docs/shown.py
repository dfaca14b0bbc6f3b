"""What the documents show: commands, snippets and files, read from their fences."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md", "metakan/MEMORY.md")]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^```(\S+)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"[#%] (\S+\.\w+)(?:, (at its end|its head))?\n")
"""The first line of a snippet that is a file, or a part of one."""


class Snippet(NamedTuple):
    """A fenced block: `file` and `part` are empty where it is no part of a file."""

    document: Path
    language: str
    text: str
    file: str = ""
    part: str = ""


def snippets(documents: list[Path] = DOCUMENTS) -> list[Snippet]:
    """Return every fenced block of the documents."""
    found = []
    for document in documents:
        for language, text in FENCE.findall(document.read_text(encoding="utf-8")):
            named = NAMED.match(text)
            file, part, rest = (named[1], named[2] or "", text[named.end() :]) if named else ("", "", text)
            found.append(Snippet(document, language, rest, file, part))
    return found


def commands() -> list[str]:
    """Return every command of the shell that the documents show in blocks."""
    lines = [line for each in snippets() if each.language == "bash" for line in each.text.splitlines()]
    whole = (re.sub(r"\s+#.*", "", line).strip() for line in lines)
    return sorted({part.strip() for line in whole for part in line.split("&&") if part.strip()})


def inline_commands(start: str) -> list[str]:
    """Return the commands with this start that the documents name in their text."""
    text = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    return sorted(set(re.findall(rf"`({re.escape(start)} [^`\n]+)`", FENCE.sub("", text))))
