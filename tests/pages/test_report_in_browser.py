"""The report as a reader meets it: in Chromium, wide and narrow, light and dark, by mouse and by keyboard, on paper."""

from __future__ import annotations

import html
import re

import pytest
from record_fixtures import RECORDS
from report_page import Page, runs_of

from kanbench.pages import render, report

WIDE, NARROW = {"width": 1400, "height": 1000}, {"width": 380, "height": 800}
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
PLACEHOLDER = {"wide": False, "size": (400, 200), "csv": "x,y\n1,2\n", "image": PIXEL}


@pytest.fixture(scope="module")
def file(tmp_path_factory, chromium):
    """The report of the invented records, with one drawing for all figures."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "_figure", lambda recipe, *arguments: {**PLACEHOLDER, **vars(recipe)})
        return report.report(RECORDS, folder / "report.html")


@pytest.fixture(scope="module")
def page(file):
    return Page(file.read_text(encoding="utf-8"))


@pytest.fixture
def look(chromium, file):
    """Open the report in a tab of its own; return the tab when its tables are ready. Errors of the page are raised."""
    opened, problems = [], []

    def _look(view=WIDE, scheme="light", **options):
        context = chromium.new_context(viewport=view, color_scheme=scheme, **options)
        context.set_default_timeout(120_000)  # milliseconds; a busy machine is no fault of the page
        opened.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(file.as_uri())
        if options.get("java_script_enabled", True):
            tab.wait_for_selector("html[data-ready]")
        return tab

    asked = _look.asked = []
    yield _look
    for context in opened:
        context.close()
    assert problems == []


def table(tab, name):
    """Scroll to a table and wait until the library has it."""
    tab.evaluate(f"document.getElementById('table-{name}').scrollIntoView()")
    tab.wait_for_selector(f"#table-{name}_wrapper")
    return tab.locator(f"#table-{name}_wrapper")


def shown(box, column):
    return box.locator(f"tbody tr td:nth-child({column})").all_inner_texts()


def column_of(page, name, column):
    """Return the texts of a column of a long table, and its numbers, as they are packed."""
    cells = [row[column - 1] for row in page.rows(name)]
    texts = [html.unescape(re.sub(r"<[^>]*>", "", cell[0] if isinstance(cell, list) else cell)) for cell in cells]
    return texts, [cell[1] if isinstance(cell, list) else None for cell in cells]


def test_it_opens_alone(look, file):
    look()
    assert [address for address in look.asked if not address.startswith(("data:", "blob:"))] == [file.as_uri()]


def test_runs_are_sorted_by_their_numbers_and_words_come_last(look, page):
    from playwright.sync_api import expect

    texts, numbers = column_of(page, "runs", 9)
    known = sorted(number for number in numbers if number is not None)
    assert len(known) < len(numbers), "some runs have no parameters"
    box = table(look(), "runs")
    head = box.locator("thead th", has_text="Parameters")
    for direction, expected in (("ascending", known), ("descending", known[::-1])):
        head.click()
        expect(head).to_have_attribute("aria-sort", direction)  # set when the rows are
        assert [float(text.replace(",", "")) for text in shown(box, 9)] == expected[:25]
        box.get_by_role("link", name="Last").or_(box.get_by_role("button", name="Last")).click()
        assert shown(box, 9)[-1] in {text for text, number in zip(texts, numbers, strict=True) if number is None}


def test_a_filter_keeps_rows_with_every_word_and_pages_go_on(look, page):
    box = table(look(), "runs")
    total = len(page.rows("runs"))
    assert box.locator(".dt-info").inner_text() == f"Rows 1 to 25 of {total}"
    first = shown(box, 1)
    box.get_by_role("link", name="Next").or_(box.get_by_role("button", name="Next")).click()
    assert box.locator(".dt-info").inner_text() == f"Rows 26 to 50 of {total}"
    names = column_of(page, "runs", 1)[0]
    assert (first, shown(box, 1)) == (names[:25], names[25:50])
    rows = [
        " ".join(re.sub(r"<[^>]*>", "", c[0] if isinstance(c, list) else c) for c in row) for row in page.rows("runs")
    ]
    both = [row for row in rows if "mlp" in row.lower() and "digits" in row.lower()]
    assert 0 < len(both) < total
    box.get_by_role("searchbox").fill("digits MLP")
    assert box.locator(".dt-info").inner_text().endswith(f"of {len(both)} (of {total} in all)")
    box.get_by_role("searchbox").fill("title")
    assert box.locator(".dt-info").inner_text().startswith("No rows"), "words of the markup are none of the table"


def test_the_values_of_a_column_of_few_words_are_chosen_from_a_list(look, page):
    tab = look()
    box = table(tab, "runs")
    statuses = column_of(page, "runs", 2)[0]
    tab.get_by_role("button", name="Choose values: Status").click()
    tab.locator(".dtcc-dropdown").get_by_role("button", name="diverged").click()
    count = statuses.count("diverged")
    assert 0 < count <= 25
    assert shown(box, 2) == ["diverged"] * count
    assert box.locator(".dt-info").inner_text() == f"Rows 1 to {count} of {count} (of {len(statuses)} in all)"
    assert tab.get_by_role("button", name="Choose values: Run").count() == 0, "every run has another name"


def test_a_number_opens_its_runs_and_a_run_its_record(look, page):
    tab = look()
    box = table(tab, "claims")
    cell = box.locator("tbody [data-runs*='-']").first
    runs = runs_of(cell.get_attribute("data-runs"))
    cell.click()
    dialog = tab.locator("dialog")
    dialog.locator("table.dataTable").wait_for()
    assert dialog.locator("h2").inner_text().startswith(f"{len(runs)} runs behind “{cell.inner_text()}”")
    records = page.records
    assert shown(dialog, 1) == [records[number]["run"] for number in runs][:100]
    dialog.locator("tbody [data-runs]").nth(1).click()
    record = records[runs[1]]
    dialog.locator("pre").wait_for()
    assert dialog.locator("h2").inner_text() == record["run"]
    assert dialog.locator("pre").inner_text() == record["command"]
    terms = dict(zip(dialog.locator("dt").all_inner_texts(), dialog.locator("dd").all_inner_texts(), strict=True))
    assert terms["seed"] == str(record["spec"]["seed"])
    dialog.get_by_role("button", name="back to the list").click()
    dialog.locator("table.dataTable").wait_for()
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()


def test_everything_is_reached_by_the_keyboard(look):
    tab = look()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.getAttribute('href')") == "#main"
    box = table(tab, "runs")
    box.get_by_role("searchbox").focus()
    reached = []
    for _ in range(40):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.outerHTML.slice(0, 400)"))
        if "data-runs" in reached[-1]:
            break
    assert any('role="region"' in each for each in reached), "what scrolls"
    assert any("Activate to sort" in each for each in reached), "the headings"
    cell = tab.evaluate("document.activeElement.textContent")
    tab.keyboard.press("Enter")
    tab.locator("dialog pre").wait_for()
    assert tab.locator("dialog h2").inner_text() == cell
    tab.keyboard.press("Escape")
    assert not tab.locator("dialog").is_visible()
    assert tab.evaluate("document.activeElement.textContent") == cell


@pytest.mark.parametrize("view", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_is_as_wide_as_its_window(look, view):
    tab = look(view)
    for name in ("claims", "runs"):
        table(tab, name)
    assert tab.evaluate("document.documentElement.scrollWidth") == view["width"]
    small = tab.evaluate(
        "[...document.querySelectorAll('main p, main td, main dd, figcaption')]"
        ".filter((each) => parseFloat(getComputedStyle(each).fontSize) < 12).length"
    )
    assert small == 0


def test_dark_is_dark_and_light_is_light(look):
    def ground(tab):
        colour = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3

    assert ground(look(scheme="light")) > 240
    tab = look(scheme="dark")
    assert ground(tab) < 40
    tab.emulate_media(color_scheme="light")
    assert ground(tab) > 240
    assert not tab.evaluate("document.documentElement.classList.contains('dark')")


@pytest.mark.parametrize(("view", "scheme"), [(WIDE, "light"), (WIDE, "dark"), (NARROW, "light")])
def test_axe_finds_nothing(look, view, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    tab = look(view, scheme, bypass_csp=True)  # axe is a script of its own
    for name in ("claims", "summary", "runs"):
        table(tab, name)
    tab.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")

    def broken(**options):
        return {each["id"] for each in axe.run(tab, **options).response["violations"]}

    assert broken() == set()
    tab.get_by_role("button", name="Choose values: Method").last.click()
    assert broken(context=".dtcc-dropdown") == set()
    tab.keyboard.press("Escape")
    tab.locator("#table-claims [data-runs*='-']").first.click()
    tab.locator("dialog table.dataTable").wait_for()
    assert broken(context="dialog") == set()
    tab.locator("dialog tbody [data-runs]").first.click()
    tab.locator("dialog pre").wait_for()
    assert broken(context="dialog") == set()
    tab.evaluate("document.getElementById('record-close').removeAttribute('aria-label')")
    tab.evaluate("document.getElementById('record-close').textContent = ''")
    assert broken(context="dialog") == {"button-name"}, "axe looks"


def test_on_paper_every_claim_has_its_sentence_and_nothing_is_for_the_mouse(look, page):
    tab = look()
    table(tab, "runs")
    assert tab.locator("details.question[open]").count() == 0
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    claims = [each["id"] for tag, each in page.tags if tag == "li" and "id" in each]
    assert len(claims) == len(render.evaluated(render.RecordSet(RECORDS)))
    assert all(tab.locator(f"#{name} p").nth(1).is_visible() for name in claims)
    for unneeded in ("nav", ".tools", ".dt-search", ".dt-paging"):
        assert not any(each.is_visible() for each in tab.locator(unneeded).all()), unneeded
    assert tab.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("details.question[open]").count() == 0


def test_a_link_to_a_claim_opens_the_question_it_stands_under(look):
    tab = look()
    tab.evaluate("location.hash = '#accuracy-pde'")
    tab.locator("#accuracy-pde").wait_for(state="visible")
    assert tab.locator("details.question[open]").count() == 1


def test_what_is_packed_is_saved_and_copied(look, tmp_path):
    tab = look()
    box = table(tab, "summary")
    made = report._table(report.recipes.discover()["summary"], render.RecordSet(RECORDS), False)
    with tab.expect_download() as download:
        box.get_by_text("CSV").click()
    assert download.value.suggested_filename == "summary.csv"
    assert download.value.path().read_text(encoding="utf-8") == made.to_csv()
    with tab.expect_download() as download:
        tab.locator("figure a.picture").first.click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    tab.evaluate("document.execCommand = () => { globalThis.copied = document.activeElement.value; return true; }")
    box.get_by_role("button", name="Copy LaTeX").click()
    box.get_by_text("Copied").wait_for()
    assert tab.evaluate("globalThis.copied").replace("\r\n", "\n") == made.to_latex()


def test_without_scripts_claims_and_first_rows_are_there(look, page):
    tab = look(java_script_enabled=False)
    assert tab.locator("#table-claims tbody tr").count() == len(render.evaluated(render.RecordSet(RECORDS)))
    assert shown(tab.locator("#table-runs"), 1) == column_of(page, "runs", 1)[0][: report.PAGE]
    assert tab.get_by_text(f"The first {report.PAGE} of {len(page.rows('runs'))} rows").is_visible()
