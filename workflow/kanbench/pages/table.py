"""A table as data, its three text formats, and the aggregation of runs into its cells."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import pandas as pd

from kanbench.base import spreadsheet
from kanbench.pages import latex, style
from kanbench.records.frame import metric_text
from kanbench.statistics import stats

WIDE = 7
"""Columns from which a table does not fit a narrow screen as it is."""
NARROW = 4
"""Columns that a table keeps below the texts of its leading ones."""
MOST_LEADING, BLOCK = 4, 2
INTERVAL = "95 %"
_NUMBER = r"-?[0-9][0-9.,e+-]*"
SPANS = (
    (re.compile(rf"\[{_NUMBER}, {_NUMBER}\]"), "[a, b]: 95 % interval of the median"),
    (re.compile(rf"\({_NUMBER} to {_NUMBER}\)"), "(a to b): range, of fewer than six values"),
)
"""How spans look, and what a note below the table says of them."""


@dataclass(frozen=True)
class Cell:
    """What one cell shows, the runs it was computed from, and the key it sorts by (default: the text).

    Attributes:
        badge: A word that names a colour in the report: a verdict or a status.
        strong: Whether it is printed bold: the best value of a group.
        anchor: A name by which Markdown and the report can be linked to it.
    """

    text: str
    runs: tuple[str, ...] = ()
    sort: float | None = None
    badge: str = ""
    strong: bool = False
    anchor: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows of cells with all that a reader needs to use and cite them.

    Attributes:
        columns: Headings; a column whose name is in `numeric` is aligned right.
        data: The numbers behind the cells, written as CSV.
        prose: Columns of sentences, which LaTeX breaks into lines, with their shares of the line width.
        printed: The columns that LaTeX prints; all where none is named.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    data: pd.DataFrame
    numeric: frozenset[str] = frozenset()
    name: str = ""
    title: str = ""
    caption: str = ""
    citation: str = ""
    notes: tuple[str, ...] = field(default=())
    prose: Mapping[str, float] = field(default_factory=dict)
    printed: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells under {len(self.columns)} columns")

    def to_csv(self) -> str:
        """Return the data in full precision of six digits, one line a row."""
        return spreadsheet.to_csv(self.data, float_format="%.6g")

    def to_markdown(self) -> str:
        """Return title, table, notes and citation in GitHub's Markdown.

        So that wide tables fit a narrow screen, a column with one text in all rows is said once below the table, and
        where leading columns repeat themselves in runs of rows, each run is a table of its own under their texts.
        """
        same = self._said_once()
        kept = [place for place in range(len(self.columns)) if place not in same]
        heads = self._leading(kept)
        kept = [place for place in kept if place not in heads]
        parts: list[str] = []
        for texts, rows in groupby(self.rows, key=lambda row: [row[place].text for place in heads]):
            if heads:
                named = zip(heads, texts, strict=True)
                parts.append("**" + ", ".join(f"{self.columns[place]}: {text}" for place, text in named) + "**")
            parts.append(self._grid(kept, rows))
        head = f"**{self.title}.** {self.caption}".strip()
        once = "; ".join(f"{self.columns[place]}: {text}" for place, text in same.items())
        notes = [*([f"In all rows: {once}."] if once else []), *self.below]
        tail = [*(f"*{note}*" for note in notes), f"Cite as: {self.citation}" if self.citation else ""]
        return "\n\n".join(part for part in (head, *parts, *tail) if part) + "\n"

    def _grid(self, kept: Sequence[int], rows: Iterable[tuple[Cell, ...]]) -> str:
        marks = ["---:" if self.columns[place] in self.numeric else ":---" for place in kept]
        lines = [[self.columns[place] for place in kept], marks]
        lines += [[_bold(row[place], "**{}**") for place in kept] for row in rows]
        return "\n".join(
            "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in line) + " |" for line in lines
        )

    def _leading(self, kept: Sequence[int]) -> list[int]:
        """Return the leading columns of a wide table whose texts stand over runs of rows, of `BLOCK` on average."""
        if len(kept) < WIDE:
            return []
        for count in range(min(MOST_LEADING, len(kept) - NARROW), 0, -1):
            texts = [tuple(row[place].text for place in kept[:count]) for row in self.rows]
            runs = sum(1 for _ in groupby(texts))
            if runs == len(set(texts)) and len(texts) >= BLOCK * runs:
                return list(kept[:count])
        return []

    @property
    def below(self) -> tuple[str, ...]:
        """The notes, and what the brackets of intervals mean where there are any."""
        texts = [cell.text for row in self.rows for cell in row]
        seen = [note for pattern, note in SPANS if any(pattern.search(text) for text in texts)]
        return (*self.notes, *([f"{'; '.join(seen)}."] if seen else []))

    def _said_once(self) -> dict[int, str]:
        """Return the places and texts of the columns that a wide table does not need, the first two apart."""
        if len(self.rows) < 2 or len(self.columns) < WIDE:
            return {}
        texts = {place: {row[place].text for row in self.rows} for place in range(2, len(self.columns))}
        return {place: next(iter(found)) for place, found in texts.items() if len(found) == 1}

    def to_latex(self) -> str:
        """Return a booktabs table with caption and label; `longtable` in small print from `latex.LONG` rows on."""
        return latex.written(self)


def _bold(cell: Cell, form: str) -> str:
    return form.format(cell.text) if cell.strong else cell.text


def empty(text: str) -> Table:
    """Return a table of one row that says why there are no others."""
    return Table(("Status",), ((Cell(text, badge="absent"),),), pd.DataFrame({"status": [text]}))


def run_names(text: object) -> tuple[str, ...]:
    """Return the runs of a `runs` column: names separated by blanks."""
    return tuple(text.split()) if isinstance(text, str) else ()


def status_text(statuses: Iterable[str]) -> str:
    """Return what became of the runs of a cell: "2 / 3 (1 diverged)", never a dash."""
    counts = Counter(statuses)
    planned, ok = sum(counts.values()), counts.pop("ok", 0)
    others = ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in sorted(counts.items()))
    return f"{ok} / {planned}" + (f" ({others})" if others else "")


def spread_text(median: float, low: float, high: float, interval: str) -> str:
    """Return "median [low, high]" for a 95 % interval and "median (low to high)" for the range over seeds."""
    if interval == "single run":
        return style.number(median)
    low_text, high_text = style.number(low), style.number(high)
    span = f"[{low_text}, {high_text}]" if interval == INTERVAL else f"({low_text} to {high_text})"
    return f"{style.number(median)} {span}"


def spread(values: Sequence[float] | pd.Series, purpose: str) -> tuple[float, float, float, str]:
    """Return median, low, high and the kind of interval of values over seeds.

    From `stats.MINIMUM_UNITS` values on a 95 % interval of the median; below, where none exists at that level,
    the range. `purpose` names the quantity.
    """
    values = pd.Series(values, dtype=float).dropna().to_numpy()
    if values.size == 0:
        return math.nan, math.nan, math.nan, "no run"
    middle = stats.median(values)
    if values.size == 1:
        return middle, middle, middle, "single run"
    if values.size < stats.MINIMUM_UNITS:
        return middle, float(values.min()), float(values.max()), "range"
    low, high = stats.median_interval(values)
    return middle, low, high, INTERVAL


def by_seed(runs: pd.DataFrame, column: str = "value") -> str:
    """Return the median value of each seed as one text, "0=0.12 1=0.13", by which rows of a table are paired."""
    values = runs.groupby("seed")[column].median().dropna()
    return " ".join(f"{seed:g}={value:.9g}" for seed, value in values.items())


def paired_ratio(
    method: pd.DataFrame, reference: pd.DataFrame, column: str, purpose: str
) -> tuple[dict[str, object], str]:
    """Return `ratio`, `low`, `high`, `interval` and `n_pairs` of a paired ratio of runs, and the names of these runs.

    The spread is over the pairs that no failure decided; `n_pairs` counts those too.
    """
    compared = stats.pairs(method, reference, column)
    ratios = stats.log_ratios(compared)
    middle, low, high, interval = spread(ratios[[math.isfinite(ratio) for ratio in ratios]], purpose)
    usable = compared[compared["usable"]]
    found = {"ratio": math.exp(middle), "low": math.exp(low), "high": math.exp(high), "interval": interval}
    return {**found, "n_pairs": len(usable)}, " ".join(sorted({*usable["run"], *usable["reference_run"]}))


def cells(frame: pd.DataFrame, column: str = "value") -> pd.DataFrame:
    """Return one row a cell (a task, a method and its settings; seeds are its replicates).

    Columns: family, task, method, label, settings, metric, metric_label, goal, then `median`, `low`, `high` and
    `interval` of `column` (`by_seed` its values as text); parameters and simulated_peak_bytes (medians over seeds),
    step_seconds (of runs that were `timed_alone`); `n_ok`, `n_planned`, `seeds` (as text), `status` (the commonest that
    is not ok, or ok), `canonical` and `runs`.
    """
    rows = []
    keys = ["family", "task", "method", "settings", "cell"]
    for (family, task, method, settings, cell), runs in frame.groupby(keys, sort=True, dropna=False):
        first = runs.iloc[0]
        middle, low, high, interval = spread(runs[column], f"{column} {cell}")
        outcomes = Counter(runs["status"])
        ok = outcomes.pop("ok", 0)
        rows.append(
            {
                "family": family,
                "task": task,
                "method": method,
                "label": first["label"],
                "settings": settings,
                "metric": first["metric"],
                "metric_label": metric_text(str(first["metric"])),
                "goal": first["goal"],
                "median": middle,
                "low": low,
                "high": high,
                "interval": interval,
                "parameters": runs["parameters.trainable"].median(),
                "simulated_peak_bytes": runs["memory.simulated_peak_bytes"].median(),
                "step_seconds": runs.loc[timed_alone(runs), "time.step_seconds.median"].median(),
                "n_ok": ok,
                "n_planned": len(runs),
                "seeds": status_text(runs["status"]),
                "status": "ok" if ok else outcomes.most_common(1)[0][0],
                "canonical": not (runs["data.canonical"] == False).any(),  # noqa: E712 - null is not false
                "by_seed": by_seed(runs, column),
                "runs": " ".join(runs["run"]),
            }
        )
    return pd.DataFrame(rows)


def timed_alone(frame: pd.DataFrame) -> pd.Series:
    """Tell which runs had their device, and their steps, to themselves: times of the others cannot be compared."""
    company = frame["time.together"] if "time.together" in frame else pd.Series(np.nan, frame.index)
    return (frame["time.exclusive"] == True) & ~(company > 1)  # noqa: E712 - null is not true


def comparisons(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with a column `comparison` that names the network and task they share with other methods.

    Comparable are runs of one task with the same hidden width, depth, batch size, grid size and spline order. A method
    without a grid belongs to the comparisons of every grid size, so its runs may stand in several.
    """
    axes = [f"spec.method.settings.{axis}" for axis in ("hidden_width", "depth")] + ["spec.training.batch_size"]
    grids = [f"spec.method.settings.{axis}" for axis in ("grid_size", "spline_order")]
    found = []
    for _, network in frame.groupby(["family", "task", *axes], dropna=False, sort=True):
        gridless = network[grids[0]].isna()
        for _, same in network[~gridless].groupby(grids, dropna=False, sort=True):
            found.append((same, pd.concat([same, network[gridless]])))
        if gridless.all():
            found.append((network, network))
    parts = []
    for position, (leading, members) in enumerate(found):
        first = leading.iloc[0]
        title = {column.rpartition(".")[2]: first[column] for column in (*axes, *grids) if pd.notna(first[column])}
        parts.append(members.assign(comparison=position, **{f"shared.{key}": value for key, value in title.items()}))
    if not parts:
        return frame.assign(comparison=pd.Series(dtype=str))
    return _named(pd.concat(parts, ignore_index=True))


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Replace the numbers in `comparison` by the task and the shared settings in which its comparisons differ."""
    shared = [column for column in rows.columns if column.startswith("shared.")]
    names = {}
    for task, group in rows.groupby("task"):
        varying = [column for column in shared if group[column].nunique(dropna=False) > 1]
        for number, members in group.groupby("comparison"):
            first = members.iloc[0]
            known = [c for c in varying if pd.notna(first[c])]
            names[number] = ", ".join([task, *(f"{c.removeprefix('shared.')}={first[c]:g}" for c in known)])
    return rows.assign(comparison=rows["comparison"].map(names)).drop(columns=shared)


def representative(rows: pd.DataFrame, by: str = "family") -> pd.DataFrame:
    """Return, for each family (or task), the runs of the comparison with the most methods, the larger one at a tie."""
    chosen = []
    for _, group in rows.groupby(by, sort=True):
        ranked = group.groupby("comparison").agg(
            methods=("method", "nunique"), peak=("memory.simulated_peak_bytes", "max"), name=("comparison", "first")
        )
        best = ranked.sort_values(["methods", "peak", "name"], ascending=[False, False, True]).index[0]
        chosen.append(group[group["comparison"] == best])
    return pd.concat(chosen, ignore_index=True) if chosen else rows
