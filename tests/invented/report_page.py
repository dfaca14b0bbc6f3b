"""A report as its tests read it: tags and scripts, and what the page keeps packed."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from typing import Any

import pytest

from kanbench.pages import embedding

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
"""What a Chromium is called on the path; tests that look at a page in one are skipped where there is none."""


def runs_of(text: str) -> list[int]:
    """Return the numbers of runs that a cell leads to, as the page writes them: "3 7-9" is 3, 7, 8, 9."""
    ends = ([int(end) for end in part.split("-")] for part in text.split())
    return [number for first, *last in ends for number in range(first, (last or [first])[0] + 1)]


class Page(HTMLParser):
    """Collects tags with their attributes, and the text of scripts, those with an id by it."""

    def __init__(self, text: str):
        super().__init__()
        self.text = text
        self.tags, self.scripts, self.named, self.inside = [], [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.inside = dict(attrs).get("id", "")
            self.scripts.append("")

    def handle_endtag(self, tag):
        if tag == "script":
            self.named[self.inside], self.inside = self.scripts[-1], None

    def handle_data(self, data):
        if self.inside is not None:
            self.scripts[-1] += data

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records, unpacked, in their order."""
        names = [name for name in self.named if name.startswith("records-")]
        return [record for name in names for record in json.loads(embedding.unpacked(self.named[name]))]

    def rows(self, table: str) -> list[list[Any]]:
        """Return the rows of a long table: the HTML of each cell, in a list with its number where it sorts by one."""
        return json.loads(embedding.unpacked(self.named[f"rows-{table}"]))

    @property
    def whole(self) -> str:
        """The page with the cells of its long tables, as a reader who pages through them sees it."""
        packed = [name.removeprefix("rows-") for name in self.named if name.startswith("rows-")]
        cells = (cell for name in packed for row in self.rows(name) for cell in row)
        return self.text + "".join(cell[0] if isinstance(cell, list) else cell for cell in cells)


@pytest.fixture(scope="session")
def chromium():
    """A Chromium without a window; skips where there is none, or nothing that drives it."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    browser_file = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_file is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} on the path")
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=browser_file, args=["--no-sandbox"])
        yield browser
        browser.close()
