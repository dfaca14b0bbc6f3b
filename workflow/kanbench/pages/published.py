"""Published values beside ours: the rows and cells that the tables of the paper have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import pandas as pd

from kanbench.pages import recipes, style, table
from kanbench.pages.table import Cell
from kanbench.verdicts import comparison, declared, references

FILE = "published.csv"
NOTE = "Published: {sources}. Row verdicts are not adjusted for the number of rows; the claims are."
ABSENT = "not published"
SAME = 0.02
"""Relative difference of two parameter counts up to which they are of one network: published counts are rounded."""
ANOTHER = "another network"
"""What stands beside a published value whose network has another number of parameters than ours."""
REFERENCE = "is the reference"
CONFIGURATION = "spec.configuration"


def read(item: str, metric: str) -> pd.DataFrame:
    """Return the published values of a table by `dataset` and `method`: `value`, `trainable_parameters`, `source`."""
    values = pd.read_csv(recipes.folder() / FILE)
    chosen = values[(values["item"] == item) & (values["metric"] == metric)]
    return chosen.set_index(["dataset", "method"])


def against_partners(
    records: pd.DataFrame,
    partners: Mapping[str, str],
    *,
    dataset: str,
    by: Sequence[str] = (),
    item: str,
    margin: float,
    ratio: bool,
    default: Sequence[str] = (),
    metric: str | None = None,
) -> pd.DataFrame:
    """Return one row a data set, group and method: the published value, ours, and the comparison with the partner.

    Args:
        partners: Method names and the method that each is compared with, in the same group.
        default: What every other method is compared with: the first of these that has runs in the group.
        dataset: Column that names the data set as the published table does.
        by: Further columns within which methods are compared (grid size, layers), besides the configuration. Where a
            method does not have the setting it takes part in every group.
        margin, ratio: Of the comparison of errors: a factor minus one, or a difference.
        metric: Published metric; default the metric of the runs.
    """
    rows = []
    missing = {column.rpartition(".")[2]: math.nan for column in by if column not in records}
    by = [column for column in (*by, CONFIGURATION) if column in records]
    for name, of_set in records.groupby(dataset, sort=True):
        listed = read(item, metric or str(of_set["metric"].iloc[0]))
        for group, runs in _groups(of_set, by):
            cells = runs.groupby("method")["cell"].nunique()
            shared = {**missing, **dict(zip((column.rpartition(".")[2] for column in by), group, strict=True))}
            for (method, cell), mine in runs.groupby(["method", "cell"], sort=True):
                others = runs[runs["method"] == partner(method, partners, default, cells.index)]
                purpose = f"{item} {name} {group} {cell}"
                found = comparison.Comparison()
                if len(others):
                    found = comparison.compare(mine, others, "error", margin=margin, ratio=ratio)
                row = {"dataset": name, **shared, "method": method, "label": _label(mine.iloc[0], cells[method] > 1)}
                ours = _ours(mine, others, purpose, found)
                if not ours["partner"] and method == partner("", {}, default, cells.index):
                    ours["partner"] = REFERENCE
                rows.append(row | _published(listed, (name, method), ours["parameters"]) | ours)
    return pd.DataFrame(rows)


def partner(method: str, partners: Mapping[str, str], default: Sequence[str], present: Collection[str]) -> str | None:
    """Return what a method is compared with, of the methods `present`: its partner, else a declared reference."""
    if method in partners:
        return partners[method]
    found = next((name for name in default if name in present), None)
    return None if found == method else found


def declared_references(records: pd.DataFrame, name: str, experiments: Sequence[str]) -> list[str]:
    """Return the declared references of a list of `claims.yaml`, the one that was chosen on validation first."""
    forms = declared.read(recipes.claims_file()).get("references", {}).get(name, {})
    methods = [*forms.get("methods", ()), *forms.get("where_they_run", ())]
    if not methods:
        return []
    claim = {"criterion": {"references": methods}, "experiment": list(experiments), "required": forms.get("methods")}
    choice = references.of_claim(claim, records, references.load(recipes.references_file()))
    return list(dict.fromkeys([*choice.methods, *methods] if choice.made else methods))


def _published(listed: pd.DataFrame, key: tuple[str, str], ours: float) -> dict[str, object]:
    """Return the published value, and its count where that is ours: else the network is another one."""
    if key not in listed.index:
        return {"published": math.nan, "published_parameters": math.nan, "published_for": "", "source": ""}
    value, count, source = listed.loc[key, ["value", "trainable_parameters", "source"]]
    same = not abs(count - ours) > SAME * count
    network = {"published_parameters": count if same else math.nan, "published_for": "" if same else ANOTHER}
    return {"published": value, **network, "source": source}


def without_published(rows: pd.DataFrame, where: pd.Series) -> pd.DataFrame:
    """Return rows of which those chosen have no published value: it was published for other settings."""
    rows = rows.copy()
    rows.loc[where, ["published", "published_parameters"]] = math.nan
    rows.loc[where, "published_for"] = ""
    return rows


def _ours(mine: pd.DataFrame, others: pd.DataFrame, purpose: str, found: comparison.Comparison) -> dict[str, object]:
    middle, low, high, interval = table.spread(mine.groupby("seed")["value"].median(), purpose)
    return {
        "parameters": mine["parameters.trainable"].median(),
        "median": middle,
        "low": low,
        "high": high,
        "interval": interval,
        "by_seed": table.by_seed(mine),
        "partner": others["label"].iloc[0] if len(others) else "",
        **comparison_columns(found),
        "seeds": table.status_text(mine["status"]),
        "canonical": not (mine["data.canonical"] == False).any(),  # noqa: E712 - null is not false
        "runs": " ".join(mine["run"]),
    }


def _label(run: pd.Series, several: bool) -> str:
    return f"{run['label']} ({run['settings']})" if several and run["settings"] else run["label"]


def comparison_columns(found: comparison.Comparison) -> dict[str, object]:
    """Return the columns in which a comparison stands in a frame."""
    return {
        "against": found.estimate,
        "against_low": found.low,
        "against_high": found.high,
        "against_interval": found.interval,
        "verdict": found.state,
        "needed": found.needed,
        "unit": found.unit,
        "n_values": found.values.size,
        "compared_runs": " ".join(found.runs),
    }


def _groups(runs: pd.DataFrame, by: Sequence[str]) -> list[tuple[tuple, pd.DataFrame]]:
    """Return the values of `by` with the runs that have them, or lack the setting altogether."""
    found = []
    present = runs.dropna(subset=by)
    for group, _ in present.groupby(by, sort=True):
        mask = pd.Series(True, index=runs.index)
        for column, value in zip(by, group, strict=True):
            mask &= (runs[column] == value) | runs[column].isna()
        found.append((group, runs[mask]))
    return found or [(tuple(math.nan for _ in by), runs)]


def published_cell(row: pd.Series, show: Callable[[float], str] = style.number) -> Cell:
    """Return the cell of the published value."""
    value, other = row["published"], row.get("published_for")
    if math.isnan(value):
        return Cell(ABSENT, badge="absent")
    return Cell(f"{show(value)} ({other})" if other else show(value), sort=value)


def parameters_cell(row: pd.Series) -> Cell:
    """Return our count, with the published one in brackets where that is of the same network."""
    published = row["published_parameters"]
    more = "" if math.isnan(published) else f" (published {style.count(published)})"
    return Cell(f"{style.exact(row['parameters'])}{more}", table.run_names(row["runs"]), row["parameters"])


def ours_cell(row: pd.Series) -> Cell:
    """Return our median with its interval or range."""
    runs = table.run_names(row["runs"])
    if math.isnan(row["median"]):
        return Cell("no ok run", runs, badge="absent")
    return Cell(table.spread_text(row["median"], row["low"], row["high"], row["interval"]), runs, row["median"])


def against_cell(row: pd.Series) -> Cell:
    """Return the comparison with the partner: estimate, interval, partner."""
    if row["partner"] in ("", REFERENCE):
        return Cell(row["partner"] or "no partner")
    runs = table.run_names(row["compared_runs"])
    if math.isnan(row["against"]):
        return Cell("no pairs", runs, badge="absent")
    low, high = style.number(row["against_low"]), style.number(row["against_high"])
    span = f"[{low}, {high}]" if row["n_values"] >= 6 else f"({low} to {high})"
    return Cell(f"{style.number(row['against'])} {span} of {row['partner']}", runs, row["against"])


def configuration_cell(row: pd.Series) -> Cell:
    """Return where the settings of a row come from: controlled, paper, upstream default or tuned."""
    name = row.get("configuration")
    return Cell(name.replace("_", " ") if isinstance(name, str) else "any")


def verdict_cell(row: pd.Series) -> Cell:
    """Return the four-state verdict, with the runs that an undecided one needs."""
    if row["partner"] in ("", REFERENCE):
        return Cell("not compared")
    runs, text = table.run_names(row["compared_runs"]), row["verdict"]
    if text == "undecided" and math.isfinite(row["needed"]):
        text = f"undecided (needs about {row['needed']:.0f} {row['unit']})"
    return Cell(text, runs, badge=row["verdict"].replace("no pairs", "absent"))


def notes(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the notes below a table: where the published values are from, and which data are not canonical."""
    sources = "; ".join(sorted(set(frame["source"]) - {""})) or "no value for these rows"
    marks = () if frame["canonical"].all() else ("† not the canonical archive of the data set, see the record.",)
    others = frame["published_for"].eq(ANOTHER).any() if "published_for" in frame else False
    text = f"{ANOTHER.capitalize()}: the published count of parameters is not ours, within {SAME:.0%}."
    return (NOTE.format(sources=sources), *((text,) if others else ()), *marks)
