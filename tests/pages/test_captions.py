"""Nothing that is typed says how something came out: captions, titles and READMEs say what is shown and how."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kanbench.pages import recipes

ROOT = Path(__file__).resolve().parents[2]
RESULTS = re.compile(
    r"\b(better|worse|best|worst|beat\w*|wins?|won|los[et]s?|losing|fail\w*|improv\w+|degrad\w+|contradict\w*|confirm\w*"
    r"|outperform\w*|superior\w*|inferior\w*|faster|slower|cheaper|explains?|remed\w+|shrinks?|decays|succeed\w*)\b",
    flags=re.IGNORECASE,
)
"""Words of results. A caption that needs one for a definition can say the same with lower, higher, ahead or least."""
TYPED = re.compile(r"\d[\d.,]* times (?:the|as|more|less|that)|an? (?:third|fifth|sixth|seventh|eighth|ninth|tenth) of")
"""A ratio in prose. What the paper says is put in the words of the paper, "1/3 to 1/9"."""


def results_in(text: str) -> list[str]:
    return [match.group(0) for match in RESULTS.finditer(text)]


@pytest.mark.parametrize("name", sorted(recipes.discover()))
def test_a_caption_says_nothing_about_outcomes(name):
    recipe = recipes.discover()[name]
    text = f"{recipe.title}. {recipe.caption}"
    assert not results_in(text)
    assert not TYPED.search(text)


@pytest.mark.parametrize("name", sorted(recipes.discover()))
def test_simulated_and_measured_peaks_have_names_of_their_own(name):
    recipe = recipes.discover()[name]
    text = f"{recipe.title}. {recipe.caption}"
    for sentence in re.split(r"(?<=[.:])\s", text):
        if re.search(r"\bpeak\b", sentence, flags=re.IGNORECASE):
            assert re.search(r"simulat|measur|predict", text, flags=re.IGNORECASE), sentence
    headings = re.findall(r'"([^"]*[Pp]eak \(MiB\)[^"]*)"', recipe.file.read_text(encoding="utf-8"))
    assert all(re.search(r"[Ss]imulated|[Mm]easured|[Pp]redicted", heading) for heading in headings), headings


def test_the_words_are_found():
    assert results_in("Where the rates are out of balance, training fails; darker is worse.") == ["fails", "worse"]
    assert results_in("Large marker: geometric mean; interval of the median.") == []
    assert TYPED.search("1.08 times the MLP's peak and a ninth of efficient-KAN's")
    assert not TYPED.search("a twentieth dimension, 3 seeds")


@pytest.mark.parametrize("document", ["README.md", "results/README.md"])
def test_what_a_readme_says_of_results_is_generated(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    typed = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", text, flags=re.DOTALL)
    typed = re.sub(r"```.*?```|`[^`]*`", "", typed, flags=re.DOTALL)
    known = (
        r"\*Improving Memory Efficiency.*?accuracy\.",  # the paper's title and what it says
        r"\*better,\s+worse,\s+equivalent\*",  # names of verdicts
        r"[Ff]ailed\s+runs(?:\s+count\s+as\s+failures)?|planned,\s+failed",  # of runs, not of methods
    )
    for words in known:
        typed = re.sub(words, "", typed, flags=re.DOTALL)
    assert not TYPED.search(typed)
    assert not results_in(typed)
