"""One page, offline, from which every number leads to its runs."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil

import pytest
from record_fixtures import RECORDS, write_set
from report_page import Page, runs_of

from kanbench.pages import plain, recipes, render, report
from kanbench.records.frame import read_records
from kanbench.verdicts import declared as declarations


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with every figure but one, copied from a single drawing: what is there is taken, the rest is drawn."""
    folder = tmp_path_factory.mktemp("study")
    drawn = render.render("step_time", RECORDS, folder)
    for recipe in recipes.discover().values():
        if recipe.kind == "figure" and recipe.name not in ("step_time", "grid_and_depth"):
            for source, name in zip(drawn, recipe.outputs(), strict=True):
                shutil.copy(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def text(study):
    path = study / "report.html"
    assert report.report(RECORDS, path) == path
    assert (study / "figures/grid_and_depth.pdf").is_file()
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def embedded(page):
    return page.records


def test_every_run_is_in_the_page_with_its_whole_record(embedded, committed, page):
    assert len(page.rows("runs")) == len(committed) > report.SHORT
    whole = page.whole
    assert len(embedded) == len(committed)
    for shown, record in zip(embedded, committed, strict=True):
        assert {key: shown[key] for key in record} == record
        assert f">{record['run']}</button>" in whole


def test_a_run_carries_the_command_that_repeats_it(embedded):
    for record in embedded[:20]:
        words = shlex.split(record["command"])
        assert words[:5] == ["python", "-m", "kanbench", "train", "--spec"]
        assert json.loads(words[5]) == record["spec"]


def test_nothing_is_loaded_from_elsewhere(page, text):
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed"), tag
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            value = attributes.get(name) or ""
            assert not re.match(r"(?i)\s*(https?:)?//", value), (tag, value)
            assert not value or value.startswith(("#", "data:")), (tag, value)
    (policy,) = [each["content"] for _, each in page.tags if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert set(re.findall(r"[a-z]+:", policy)) == {"blob:", "data:"}
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, re.S))
    assert re.findall(r"url\((?!data:)", styles) == []
    assert "@import" not in styles
    script = "".join(page.scripts[-2:])
    assert "DecompressionStream" in script
    assert not re.search(r"fetch\(|XMLHttpRequest|import\((?!address\))|https?://(?!www\.w3\.org)", script)


def test_cells_lead_to_the_runs_they_were_computed_from(page, embedded):
    linked = re.findall(r'data-runs="([^"]*)"', page.whole)
    assert len(linked) > 500
    assert {number for entry in linked for number in runs_of(entry)} == set(range(len(embedded)))


def test_a_ratio_leads_to_the_runs_of_both_sides(text, embedded):
    cell = re.search(r"<td>feynman \(9 tasks\)</td><td>MLP</td>.*?</tr>", text, re.S).group()
    runs = re.findall(r'data-runs="([-\d ]+)"', cell)[2]
    methods = {embedded[number]["spec"]["method"]["name"] for number in runs_of(runs)}
    assert methods == {"mlp", "efficient_kan"}


def test_sections_claims_figures_and_tables_are_there(page, text):
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {"overview", "claims", "figures", "tables", "runs", "cite", "record"} <= ids
    known = recipes.discover().values()
    images = [a for tag, a in page.tags if tag == "img"]
    assert len(images) == sum(recipe.kind == "figure" for recipe in known)
    assert all(re.match(r"data:image/(webp|png);base64,", a["src"]) and a["alt"] for a in images)
    for recipe in known:
        assert html.escape(recipe.caption, quote=False)[:60] in html.unescape(text).replace(
            "&", "&amp;"
        ) or recipe.caption[:40] in html.unescape(text)
    plain = html.unescape(text)
    for claim in declarations.load(recipes.claims_file()):
        assert claim["statement"].rstrip(".") in plain
        assert claim["source"] in plain
    counts = render.RecordSet(RECORDS).counts
    facts = [
        f"{sum(counts.values())}</b> planned",
        *(f"{n}</b> {name.replace('_', ' ')}" for name, n in counts.items()),
    ]
    for fact in (*facts, "commit 0123456789ab", "Example CPU"):
        assert fact in plain


def test_claims_come_first_each_with_a_sentence_before_the_table(page, text):
    outcomes = render.evaluated(render.RecordSet(RECORDS))
    plainly = html.unescape(re.sub(r"<[^>]*>", "", text[: text.index('id="table-claims"')]))
    claims = {claim["id"]: claim for claim in declarations.load(recipes.claims_file())}
    labels = render.RecordSet(RECORDS).method_labels
    assert len(outcomes) == len(claims)
    for outcome in outcomes:
        assert plain.sentence(outcome, claims[outcome.id], labels) in plainly
    order = [each["id"] for tag, each in page.tags if tag in ("section", "table") and "id" in each]
    assert order[:2] == ["claims", "table-claims"]
    targets = {each["href"] for tag, each in page.tags if tag == "a" and "href" in each}
    places = [each["id"] for _, each in page.tags if "id" in each]
    assert len(places) == len(set(places))
    assert {f"#{outcome.id}" for outcome in outcomes} <= targets <= {f"#{place}" for place in places}


def test_the_way_to_cite_names_the_record_set(text):
    record_set = render.RecordSet(RECORDS)
    assert record_set.digest in text
    assert html.escape(record_set.citation) in text
    assert "@software{" in text


def test_the_page_follows_light_and_dark(text):
    assert "prefers-color-scheme: dark" in text
    assert 'name="color-scheme" content="light dark"' in text


def test_a_record_cannot_break_out_of_the_page(tmp_path, committed, study, text):
    bad = {**committed[0], "reason": "</script><script>alert(1)</script>", "label": "<b>&"}
    file = write_set([bad], tmp_path / "records.jsonl")
    path = report.report(file, tmp_path / "report.html", figures=study / "figures")
    text = path.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<b>&</td>" not in Page(text).whole
    assert Page(text).records[0]["reason"] == bad["reason"]


def test_claims_are_written_in_four_formats(tmp_path):
    paths = render.render_claims(RECORDS, tmp_path)
    assert [path.name for path in paths] == ["claims.csv", "claims.md", "claims.tex", "claims.json"]
    content = json.loads(paths[3].read_text())
    assert len(content["claims"]) == len(declarations.load(recipes.claims_file()))
    known = {record["run"] for record in read_records(RECORDS)}
    first = content["claims"][0]
    assert set(first["runs"]) <= known
    assert first["verdict"] in paths[1].read_text()
    assert paths[0].read_text().splitlines()[0].startswith("id,statement,source,claimed,experiments")
