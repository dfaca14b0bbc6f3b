"""A table as LaTeX: booktabs, bold and marks, notes below; what is too wide for the page is broken into lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

LONG = 40
"""Rows from which a table may break across pages."""
WIDE = 7
"""Columns from which a table of one page is scaled to the width of the text."""
LETTERS = 118
"""Letters of small print that fit a line of an article, with little space between columns."""
WHOLE = 22
"""Letters of a cell that are kept in one line where there is room."""
GAP = 0.0117
"""Share of the line that the space beside a column takes."""
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "→": r"$\to$",
    "≈": r"$\approx$",
    "−": r"$-$",
    "λ": r"$\lambda$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "–": "--",
    "±": r"$\pm$",
    "²": r"$^2$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
}


def escape(text: str) -> str:
    """Return `text` as LaTeX prints it."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def written(table: Any) -> str:
    """Return a `table.Table` as LaTeX: a float, scaled where it is wide, or in small print across pages."""
    shown = [place for place, column in enumerate(table.columns) if not table.printed or column in table.printed]
    long = len(table.rows) >= LONG
    spec = _columns(table, shown, long)
    head = " & ".join(rf"\textbf{{{escape(table.columns[place])}}}" for place in shown) + r" \\"
    body = [" & ".join(_cell(row[place]) for place in shown) + r" \\" for row in table.rows]
    caption = rf"\caption{{{escape(f'{table.title}. {table.caption}'.strip())}}}"
    label, below = rf"\label{{tab:{table.name}}}", " ".join(part for part in (*table.below, table.citation) if part)
    notes = [rf"\par\smallskip{{\footnotesize\raggedright {escape(below)}\par}}"] if below else []
    source = f"% {table.citation}\n% needs the packages booktabs, graphicx and longtable"
    lines = _across_pages if long else _on_one_page
    return "\n".join([source, *lines(spec, f"{caption}{label}", head, body, notes, len(shown))]) + "\n"


def _across_pages(spec: str, caption: str, head: str, body: list[str], notes: list[str], columns: int) -> list[str]:
    rule = [r"\toprule", head, r"\midrule"]
    begin = [r"\begingroup\scriptsize\setlength{\tabcolsep}{2pt}", rf"\begin{{longtable}}{{{spec}}}", f"{caption} \\\\"]
    heads = [*rule, r"\endfirsthead", *rule, r"\endhead"]
    return [*begin, *heads, *body, r"\bottomrule", r"\end{longtable}", *notes, r"\endgroup"]


def _on_one_page(spec: str, caption: str, head: str, body: list[str], notes: list[str], columns: int) -> list[str]:
    fit, close = (r"\resizebox{\linewidth}{!}{%", "}") if columns >= WIDE else ("%", "%")
    begin = [
        r"\begin{table}",
        r"\centering",
        caption,
        fit,
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        head,
        r"\midrule",
    ]
    return [*begin, *body, r"\bottomrule", r"\end{tabular}" + close, *notes, r"\end{table}"]


def _columns(table: Any, shown: Sequence[int], long: bool) -> str:
    """Return how columns are set: numbers right, sentences and what does not fit broken into lines."""
    named = [table.columns[place] for place in shown]
    broken = dict(table.prose)
    texts = {table.columns[place]: [table.columns[place], *(row[place].text for row in table.rows)] for place in shown}
    if long and not broken and sum(max(map(len, each)) for each in texts.values()) > LETTERS:
        wanted = {name: _letters(each) for name, each in texts.items()}
        total = max(sum(wanted.values()), LETTERS)
        room = 1 - GAP * len(shown)
        broken = {name: room * letters / total for name, letters in wanted.items()}
    set_by_width = {name: rf"p{{{share:.3g}\linewidth}}" for name, share in broken.items()}
    return "".join(set_by_width.get(name, "r" if name in table.numeric else "l") for name in named)


def _letters(texts: Sequence[str]) -> int:
    """Return how many letters a column wants: its longest word, and short cells whole."""
    word = max((len(word) for text in texts for word in text.split()), default=1)
    return max(word, min(max(map(len, texts)), WHOLE)) + 1


def _cell(cell: Any) -> str:
    return rf"\textbf{{{escape(cell.text)}}}" if cell.strong else escape(cell.text)
