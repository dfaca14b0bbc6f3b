"""The site is built without a warning (dead links and anchors are warnings), is whole, and needs no network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import shown
import yaml

import metakan
from kanbench.cli import parser

pytest.importorskip("sphinx", reason="`make docs` installs it")
pytest.importorskip("furo", reason="`make docs` installs it")
pytestmark = pytest.mark.slow
ROOT = shown.ROOT
SCHEMAS = {"config": "config", "record": "record", "task": "task", "claims": "claims", "baseline": "contract"}


def build(source: Path, target: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-c", str(ROOT / "docs")]
    return subprocess.run([*command, str(source), str(target)], capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "docs", folder)
    assert done.returncode == 0, done.stderr
    return folder


def pages(site: Path) -> dict[str, str]:
    return {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_every_page_is_there_and_is_reached_from_the_first(site):
    made = pages(site)
    expected = {
        path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")
    }
    assert expected <= made.keys()
    assert len(expected) >= 30
    linked = set(re.findall(r'href="([\w/]+\.html)"', made["index.html"]))
    assert expected - {"index.html"} <= linked


def test_no_page_loads_anything_from_a_network(site):
    for name, text in pages(site).items():
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(https?:[^\"]*|//[^\"]*)\"", text)
        loaded += re.findall(r"<link\b[^>]*\bhref=\"(https?:[^\"]*|//[^\"]*)\"", text)
        assert loaded == [], name
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", path.read_text(encoding="utf-8")), path


def test_every_verb_and_option_of_the_program_is_in_the_reference(site):
    text = re.sub(r"<[^>]+>", "", (site / "reference/verbs.html").read_text(encoding="utf-8"))
    verbs = parser.parser()._subparsers._group_actions[0].choices
    assert len(verbs) > 20
    for name, verb in verbs.items():
        assert f"kanbench {name}" in text
        for action in verb._actions:
            assert all(option in text for option in action.option_strings), (name, action)


@pytest.mark.parametrize(("schema", "page"), SCHEMAS.items())
def test_every_key_of_a_schema_is_in_the_reference(site, schema, page):
    text = (site / f"reference/{page}.html").read_text(encoding="utf-8")
    content = yaml.safe_load((ROOT / f"workflow/schemas/{schema}.schema.yaml").read_text(encoding="utf-8"))
    keys = {f"{schema}-{key}" for key in content["properties"]}
    for name, node in content.get("$defs", {}).items():
        keys |= {f"{schema}-{name}-{key}" for key in node.get("properties", {})}
    anchors = set(re.findall(r'id="([^"]+)"', text))
    assert {key.replace("_", "-") for key in keys} <= {anchor.replace("_", "-") for anchor in anchors}


def test_every_public_name_of_the_layers_is_in_the_reference(site):
    text = (site / "reference/python.html").read_text(encoding="utf-8")
    anchors = {anchor.rpartition(".")[2] for anchor in re.findall(r'id="(metakan\.[\w.]+)"', text)}
    assert set(metakan.__all__) <= anchors


def test_texts_that_lie_elsewhere_are_shown_whole(site):
    text = (site / "explanation/memory.html").read_text(encoding="utf-8")
    assert "10^11 edges on many devices" in text
    assert 'id="accuracy-function-fitting"' in (site / "explanation/all_claims.html").read_text(encoding="utf-8")
    assert 'href="all_claims.html#accuracy-function-fitting"' in (site / "explanation/findings.html").read_text()


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("# A page\n\n[there](nowhere.md)\n", "nowhere.md"),
        ("# A page\n\n[there](#no-such-heading)\n", "no-such-heading"),
        ("# A page\n\n![a picture](none.png)\n", "none.png"),
    ],
)
def test_a_dead_link_ends_the_build(tmp_path, text, warning):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/index.md").write_text(text)
    done = build(tmp_path / "source", tmp_path / "site")
    assert done.returncode != 0
    assert warning in done.stderr
