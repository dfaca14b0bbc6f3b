"""Size and loading time of the report of many runs:  python benchmarks/report.py [--runs 5000] [--output FOLDER]

The records are those of results/reference, again and again: with further seeds, then in wider networks, every measured
number moved a little, so that they compress as badly as real ones. A browser is `chromium` on the path, driven by
playwright without a window. What is in FOLDER is used again.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kanbench.base import paths
from kanbench.base.spec import run_name
from kanbench.pages import report
from kanbench.records import frame
from kanbench.records.record import sealed

LOADS = 5
FURTHER_SEEDS = 4
"""Copies that differ in their seeds from the first; later ones are networks of other widths."""
MEASURED = ("metrics", "curve", "time")
SPREAD = 0.05


def moved(value: Any, draw: np.random.Generator) -> Any:
    """Return measured values with every real number moved by about `SPREAD`; shares stay below one."""
    if isinstance(value, Mapping):
        return {key: moved(entry, draw) for key, entry in value.items()}
    if isinstance(value, list):
        return [moved(entry, draw) for entry in value]
    if not isinstance(value, float):
        return value
    other = value * float(np.exp(SPREAD * draw.standard_normal()))
    return min(other, 1.0) if value <= 1 else other


def copies(records: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Yield `count` records: the given ones, then copies of them that are runs of their own."""
    draw, known = np.random.default_rng(0), set()
    for number in range(count * 2):
        record, lap = copy.deepcopy(records[number % len(records)]), number // len(records)
        settings = record["spec"]["method"]["settings"]
        if lap > FURTHER_SEEDS and "hidden_width" in settings:
            settings["hidden_width"] += lap
        else:
            record["spec"]["seed"] += 20 * lap
        if lap:
            record |= {key: moved(record[key], draw) for key in MEASURED}
        record["run"] = run_name(record["spec"])
        if record["run"] not in known:
            known.add(record["run"])
            yield sealed(record)
        if len(known) == count:
            return


def write(folder: Path, count: int) -> Path:
    """Write a record set of `count` runs; return its file."""
    file = folder / frame.FILES[0]
    if not file.is_file():
        records = frame.read_records(paths.root() / "results/reference")
        lines = (json.dumps(record, sort_keys=True) for record in copies(records, count))
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress("\n".join(sorted(lines)).encode() + b"\n", mtime=0))
    return file


def loads(page: Path) -> dict[str, float]:
    """Return medians, in seconds from the start of loading: to the load event, to ready tables, to rows of all runs."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {"loaded": [], "tables ready": [], "rows of all runs": []}
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(LOADS):
            tab = browser.new_page(viewport={"width": 1400, "height": 1000})
            tab.goto(page.as_uri())
            event = "performance.getEntriesByType('navigation')[0].loadEventEnd"
            found["loaded"].append(tab.evaluate(event) / 1000)
            tab.wait_for_selector("html[data-ready]")
            found["tables ready"].append(tab.evaluate("performance.now()") / 1000)
            begun = tab.evaluate("(document.getElementById('runs').scrollIntoView(), performance.now())")
            tab.wait_for_selector("#table-runs_wrapper tbody tr")
            found["rows of all runs"].append((tab.evaluate("performance.now()") - begun) / 1000)
            tab.close()
        browser.close()
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    """Write records, render them, and print what their report takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--output", type=Path, help="folder that is kept; default a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        records = write(folder, options.runs)
        started = time.perf_counter()
        page = report.report(records, folder / "report.html")
        print(f"{options.runs} runs, {records.stat().st_size / 1e6:.1f} MB of records")
        print(f"rendered in {time.perf_counter() - started:.0f} s")
        print(f"report.html: {page.stat().st_size / 1e6:.2f} MB")
        for name, seconds in loads(page.resolve()).items():
            print(f"{name}: {seconds:.2f} s (median of {LOADS})")


if __name__ == "__main__":
    main()
