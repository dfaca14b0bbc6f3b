"""Every snippet of the documents runs or is checked, and every link and anchor leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import shown
import yaml

from kanbench.pages import findings, front
from kanbench.study import config, plan

ROOT = shown.ROOT
LANGUAGES = {"bash", "python", "yaml", "bibtex", "{toctree}", "{eval-rst}"}
"""Commands are run by `test_commands.py`, files by `test_tutorial.py`, directives by the build of the site."""
ANCHOR = re.compile(r"[^\w\- ]")


def test_no_snippet_is_in_a_language_that_no_test_knows():
    assert {each.language for each in shown.snippets()} <= LANGUAGES
    loose = [each for each in shown.snippets() if each.language in ("yaml", "bibtex") and not each.file]
    assert not loose, "a snippet that is not Python says which file it is"


@pytest.mark.parametrize("number", range(2))
def test_the_python_examples_run(number, tmp_path):
    scripts = [each for each in shown.snippets() if each.language == "python" and not each.file]
    assert len(scripts) == 2
    script = tmp_path / "script.py"
    script.write_text(scripts[number].text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, f"{scripts[number].document.name}:\n{scripts[number].text}\n{done.stderr}"


def test_the_studies_that_are_shown_are_valid():
    shown_studies = [each for each in shown.snippets() if each.file.startswith("workflow/config/my_sweep")]
    assert len(shown_studies) == 1
    runs = plan.expand(config.from_content(yaml.safe_load(shown_studies[0].text), "shown.yaml")).runs.values()
    # Two widths for the MLP, two widths and two grids for MetaKAN; three seeds.
    assert len(runs) == (2 + 4) * 3


def slugs(text: str) -> set[str]:
    """Return the anchors of the headings of a Markdown document, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", shown.FENCE.sub("", text), flags=re.MULTILINE)
    return {ANCHOR.sub("", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(document, text: str) -> list[str]:
    """Return the links of a document to files that are not there, or to headings that these do not have."""
    dead = []
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)#?([^)\s]*)\)", shown.FENCE.sub("", text)):
        file = (document.parent / target).resolve() if target else document
        if not file.is_file():
            dead.append(target)
        elif anchor and file.suffix == ".md" and anchor not in slugs(file.read_text(encoding="utf-8")):
            dead.append(f"{target}#{anchor}")
    return dead


@pytest.mark.parametrize("document", shown.DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_to_a_heading(document):
    assert dead_links(document, document.read_text(encoding="utf-8")) == []


def test_a_dead_link_is_found():
    text = "[a](docs/none.md) [b](CONTRIBUTING.md#none) [c](CONTRIBUTING.md#pull-requests) [d](https://example.org)"
    assert dead_links(ROOT / "README.md", text) == ["docs/none.md", "CONTRIBUTING.md#none"]


def test_what_the_readme_says_of_results_is_what_the_published_records_say():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in front.BLOCKS:
        assert text.count(f"<!-- {name} -->") == text.count(f"<!-- /{name} -->") == 1, name
    expected = front.filled(text, front.blocks(ROOT / "results/reference"))
    assert text == expected, "python -m kanbench front --records results/reference --output README.md"


def test_a_block_is_replaced_and_the_rest_stays():
    text = "a\n<!-- verdicts -->\nold 1.08\n<!-- /verdicts -->\nb\n"
    claims = [{"verdict": "undecided"}, {"verdict": "holds"}, {"verdict": "undecided"}, {"verdict": "new kind"}]
    sentence = findings.tally(claims)
    assert sentence == "Of 4 claims: holds 1, undecided 2, new kind 1."
    filled = front.filled(text, {"verdicts": sentence, "results": "not there"})
    assert filled == f"a\n<!-- verdicts -->\n{sentence}\n<!-- /verdicts -->\nb\n"
    assert front.filled(filled, {"verdicts": sentence}) == filled


def test_the_published_figures_belong_to_the_published_records():
    reference = ROOT / "results/reference"
    for name in ("records.jsonl.gz", "records.csv", "claims.md", "report.html", "figures/memory_against_edges.png"):
        assert (reference / name).is_file(), name


def test_the_cited_files_are_valid():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["references"][0]["url"].endswith("2506.07549")
    assert "MIT License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_links_lead_to_texts_and_not_to_the_marks_that_stand_for_them_on_the_site():
    marks = {path for path in shown.DOCUMENTS if path.read_text(encoding="utf-8").startswith("<!-- text:")}
    assert len(marks) >= 5
    for document in shown.DOCUMENTS:
        targets = re.findall(r"\]\((?!https?://)([^)#\s]+)", shown.FENCE.sub("", document.read_text(encoding="utf-8")))
        assert not marks & {(document.parent / target).resolve() for target in targets}, document


def cut(content: object) -> list[str]:
    """Return what stands in a schema as a key without a value: the rest of a description with a comma in it."""
    if isinstance(content, list):
        return [found for each in content for found in cut(each)]
    if not isinstance(content, dict):
        return []
    bare = [str(key) for key, value in content.items() if value is None and key != "default"]
    return bare + [found for value in content.values() for found in cut(value)]


def test_no_description_of_a_schema_is_cut_at_a_comma():
    assert cut(yaml.safe_load("a: {description: one, and two}")) == ["and two"]
    for file in (ROOT / "workflow/schemas").glob("*.yaml"):
        assert cut(yaml.safe_load(file.read_text(encoding="utf-8"))) == [], file
