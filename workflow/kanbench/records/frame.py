"""Reads a record set and lays it out as one table: a row a run, dotted columns of the record, a few readable ones."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kanbench.base import paths, spreadsheet
from kanbench.base.errors import Finding, InvalidInput, MissingData
from kanbench.base.spec import canonical, digest
from kanbench.records import archive, check, collect
from kanbench.records.record import SEAL

FILES = ("records.jsonl.gz", "records.jsonl")
FAILED = ("diverged", "out_of_memory", "timed_out", "failed")
"""Statuses that count as a failure of the method; `skipped` and `absent` say nothing about it."""
STATUSES = ("ok", *FAILED, "skipped", "absent")
AXES = ("grid_size", "spline_order", "hidden_width", "depth", "prompt_dim", "hidden_dim", "num_clusters")
IDENTITY = ("formula", "dataset", "dimension")
"""Task settings that always belong to a task's name; others are named only where they vary."""
NAMED_METRICS = {
    "rmse": "test RMSE",
    "accuracy": "test accuracy",
    "relative_l2": "relative L2 error",
    "relative_l1": "relative L1 error",
}
_LISTS = ("experiments", "curve")
_REQUIRED = (
    *("run", "status", "reason", "family", "metric", "goal", "label", "method", "task", "seed", "value", "error"),
    *("legacy_error", "cell", "settings", "experiments", "curve", "spec.configuration", "spec.training.batch_size"),
    *("spec.training.steps", "spec.training.epochs", "spec.dtype", "spec.device", "spec.protocol"),
    *(f"spec.method.settings.{axis}" for axis in AXES),
    *("parameters.trainable", "parameters.total", "parameters.buffers"),
    *("memory.simulated_peak_bytes", "memory.peak_allocated_bytes", "memory.saved_for_backward_bytes"),
    *("time.step_seconds.median", "time.step_seconds.q25", "time.step_seconds.q75", "time.exclusive"),
    *("data.canonical", "metrics.legacy_best_on_test.value"),
)


def find(path: str | Path) -> Path:
    """Return the file of a record set, given it or the folder that holds it.

    Raises:
        MissingData: there is no such file; the message names the places looked at and the command that makes it.
    """
    path = Path(path)
    candidates = [path / name for name in FILES] if path.is_dir() or not path.suffix else [path]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        sought = ", ".join(paths.relative(candidate) for candidate in candidates)
        raise MissingData(
            f"no record set at {paths.relative(path)}\n  looked for: {sought}\n"
            f"  next: python -m kanbench collect, or name another folder with --records"
        )
    return file


def read_records(path: str | Path, *, checked: bool = False) -> list[dict[str, Any]]:
    """Return the records of a `.jsonl` or `.jsonl.gz` file, or of a results folder that holds one.

    A `plan.json` in the same folder adds what is planned and absent, as records with the status `absent`.

    Args:
        checked: The same bytes have been read before, so that the lines need not be checked again.

    Raises:
        MissingData: as `find`.
        InvalidInput: lines that are no records (`check`), all of them at once; a damaged or an empty file.
    """
    file = find(path)
    records = [json.loads(line) for _, line in archive.lines(file)] if checked else read_lines(file)
    return records + list(_planned_only(file.parent / "plan.json", {record["run"] for record in records}))


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a record set, each of them checked (`check.line`). Raises InvalidInput, MissingData."""
    records, problems, known = [], [], set()
    label = paths.relative(file)
    step = "collect the records again from results/<study>/runs, or copy the file again"
    if not file.is_file():
        raise MissingData(f"no record set at {label}")
    try:
        for where, content in archive.lines(file):
            try:
                record = check.parse(content)
            except ValueError as error:
                problems.append(Finding(label, where, str(error), "one record a line, as JSON", step))
                continue
            found = check.line(record, f"{label}: {where}")
            if not found and record["run"] in known:
                found = [Finding(f"{label}: {where}", "run", record["run"], "one line a run", step)]
            problems += found
            if not found:
                known.add(record["run"])
                records.append(record)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        found = str(error) or type(error).__name__
        raise InvalidInput([Finding(label, "", found, "a whole record set", step)]) from None
    if problems:
        raise InvalidInput(problems)
    return records


def _planned_only(plan: Path, known: set[str]) -> Iterable[dict[str, Any]]:
    if not plan.is_file():
        return
    for name, run in collect.read_plan(plan)["runs"].items():
        if name not in known:
            yield {
                "run": name,
                "spec": run["spec"],
                "label": run["label"],
                "status": "absent",
                "reason": "planned, no record yet",
                "experiments": run["experiments"],
            }


def fingerprint(records: Iterable[Mapping[str, Any]]) -> str:
    """Return the SHA-256 of a record set: independent of the order of its records, of seals and of compression."""
    plain = ({key: value for key, value in record.items() if key != SEAL} for record in records)
    lines = sorted(json.dumps(record, sort_keys=True, separators=(",", ":")) for record in plain)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def to_frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row a record with the nested keys as dotted columns, and these columns beside them.

    `method`, `label` (unique per method), `task` (readable cell such as "feynman I.6.20a"), `seed`, `value` (test
    metric at the step chosen on validation), `error` (`value`, or 1 - `value` where higher is better),
    `legacy_error` (the same of the best test evaluation), `cell` (digest of the spec without its seed: the
    replicates of one cell differ in their seed only) and `settings` (what tells cells of a task and method apart).
    Results that different packages made, or a package and the code that stands in for it, are of different methods, and
    so are those that were taken from others (`origin`).
    Columns that a record lacks are null. Absent runs take family, metric and goal from other runs of their task.
    """
    records = [_from_others(record) for record in _apart([dict(record) for record in records])]
    _complete(records)
    tasks, settings = _task_labels(records), _settings_labels(records)
    labels = _unique_labels(records)
    rows = []
    for record in records:
        spec = record["spec"]
        row = dict(_flat(record))
        row.update(
            method=spec["method"]["name"],
            label=labels[spec["method"]["name"]],
            task=tasks[canonical(spec["task"])],
            seed=spec["seed"],
            cell=_cell(spec),
            settings=settings[_cell(spec)],
            experiments=list(record.get("experiments") or []),
            curve=list(record.get("curve") or []),
            **_outcome(record),
        )
        rows.append(row)
    frame = pd.DataFrame(rows)
    absent = [column for column in _REQUIRED if column not in frame.columns]
    frame = pd.concat([frame, pd.DataFrame(np.nan, index=frame.index, columns=absent)], axis=1)
    return _numeric(frame).sort_values("run", kind="stable").reset_index(drop=True)


def of_experiments(frame: pd.DataFrame, experiments: Iterable[str]) -> pd.DataFrame:
    """Return the runs that any of `experiments` uses; all runs where `experiments` is empty."""
    wanted = set(experiments)
    if not wanted:
        return frame
    chosen = np.array([bool(wanted & set(used)) for used in frame["experiments"]], dtype=bool)
    return frame[chosen].reset_index(drop=True)


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` as it goes into records.csv: the readable columns first, no curves, lists as text."""
    first = ["run", "status", "reason", "task", "method", "label", "settings", "seed", "metric", "value", "error"]
    rest = sorted(column for column in frame.columns if column not in first and column != "curve")
    table = frame[first + rest].copy()
    for column in table.columns:
        if table[column].map(lambda entry: isinstance(entry, (list, tuple, dict))).any():
            table[column] = table[column].map(_as_text)
    return table.dropna(axis="columns", how="all") if len(table) else table


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write `tidy(frame)` to `path`, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(csv_text(frame), encoding="utf-8")


def csv_text(frame: pd.DataFrame) -> str:
    """Return `tidy(frame)` as CSV that no spreadsheet runs."""
    return spreadsheet.to_csv(tidy(frame))


def metric_text(metric: str) -> str:
    """Return how a metric is called on an axis or in a column."""
    return NAMED_METRICS.get(metric, f"test {metric}".replace("_", " "))


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, entry in value.items():
        name = f"{prefix}{key}"
        if isinstance(entry, Mapping):
            yield from _flat(entry, f"{name}.")
        elif name not in _LISTS:
            yield name, _as_text(entry)


def _as_text(entry: Any) -> Any:
    if isinstance(entry, (list, tuple)) and all(isinstance(part, str) for part in entry):
        return " ".join(entry)
    return json.dumps(entry) if isinstance(entry, (list, tuple, dict)) else entry


def _apart(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Name the package in method and label where a method's results were made by more than one implementation."""
    made: dict[str, set[tuple]] = defaultdict(set)
    for record in records:
        if record["status"] not in ("skipped", "absent"):
            made[record["spec"]["method"]["name"]].add(_packages(record))
    return [_named(record) if len(made[record["spec"]["method"]["name"]]) > 1 else record for record in records]


def _packages(record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the packages outside the suite that made a record, each with its version and the start of its digest."""
    found = (record.get("code") or {}).get("packages") or {}
    return tuple((name, f"{each['version']}-{each['digest'][:6]}") for name, each in sorted(found.items()) if each)


def _from_others(record: dict[str, Any]) -> dict[str, Any]:
    """Name in method and label the bundle that a record was taken from: it shares no cell with records of one's own."""
    origin = record.get("origin")
    if not origin:
        return record
    method = record["spec"]["method"]
    spec = {**record["spec"], "method": {**method, "name": f"{method['name']}@{origin}"}}
    return {**record, "spec": spec, "label": f"{record.get('label') or method['name']} (from {origin})"}


def _named(record: dict[str, Any]) -> dict[str, Any]:
    packages = ", ".join(" ".join(each) for each in _packages(record))
    if not packages:
        return record
    method = record["spec"]["method"]
    spec = {**record["spec"], "method": {**method, "name": f"{method['name']}@{packages}"}}
    return {**record, "spec": spec, "label": f"{record.get('label') or method['name']} ({packages})"}


def _cell(spec: Mapping[str, Any]) -> str:
    return digest(canonical({key: value for key, value in spec.items() if key != "seed"}), 12)


def _outcome(record: Mapping[str, Any]) -> dict[str, float]:
    metrics, metric = record.get("metrics") or {}, record.get("metric")
    value = _number(((metrics.get("selected") or {}).get("test") or {}).get(metric))
    legacy = _number((metrics.get("legacy_best_on_test") or {}).get("value"))
    if record["status"] != "ok":
        value = legacy = math.nan
    higher = record.get("goal") == "max"
    return {
        "value": value,
        "error": 1 - value if higher else value,
        "legacy_error": 1 - legacy if higher else legacy,
    }


def _number(entry: Any) -> float:
    return float(entry) if isinstance(entry, (int, float)) and math.isfinite(entry) else math.nan


def _complete(records: list[dict[str, Any]]) -> None:
    known: dict[str, dict[str, Any]] = {}
    for record in records:
        if record.get("family"):
            facts = {key: record.get(key) for key in ("family", "metric", "goal")}
            known.setdefault(record["spec"]["task"]["name"], facts)
    for record in records:
        if not record.get("family"):
            name = record["spec"]["task"]["name"]
            record.update(known.get(name, {"family": name, "metric": None, "goal": None}))


def _task_labels(records: list[dict[str, Any]]) -> dict[str, str]:
    """Name every task by what it is, and by the settings in which it differs from others that are the same thing."""
    alike: dict[tuple, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for record in records:
        task = record["spec"]["task"]
        identity = tuple((key, task["settings"][key]) for key in IDENTITY if key in task["settings"])
        alike[task["name"], identity][canonical(task)] = task["settings"]
    labels = {}
    for (name, identity), variants in alike.items():
        varying = _varying(variants.values())
        known = [value if isinstance(value, str) else f"{key}={value}" for key, value in identity]
        for key, settings in variants.items():
            shown = [f"{setting}={_value_text(settings.get(setting))}" for setting in sorted(varying)]
            labels[key] = " ".join([name, *known, *shown])
    return labels


def _settings_labels(records: list[dict[str, Any]]) -> dict[str, str]:
    groups: dict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for record in records:
        spec = record["spec"]
        choices = {
            **spec["method"]["settings"],
            **_training_choices(spec["training"]),
            **{key: spec.get(key) for key in ("configuration", "dtype", "device", "protocol")},
        }
        groups[spec["task"]["name"], spec["method"]["name"]][_cell(spec)] = choices
    labels = {}
    for cells in groups.values():
        varying = _varying(cells.values())
        for cell, choices in cells.items():
            labels[cell] = ", ".join(f"{k}={_value_text(choices[k])}" for k in varying if k in choices)
    return labels


def _training_choices(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training with those of its parameter groups as `<group>.<setting>`."""
    groups = dict(_flat(training.get("groups", {})))
    return {**{key: value for key, value in training.items() if key != "groups"}, **groups}


def _varying(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the keys whose values differ between `mappings`: standard axes first, the others by name."""
    mappings = list(mappings)
    keys = sorted({key for mapping in mappings for key in mapping})
    differing = [key for key in keys if len({_as_text_key(mapping.get(key)) for mapping in mappings}) > 1]
    return sorted(differing, key=lambda key: (AXES.index(key) if key in AXES else len(AXES), key))


def _as_text_key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _value_text(value: Any) -> str:
    return "none" if value is None else str(value)


def _unique_labels(records: list[dict[str, Any]]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for record in sorted(records, key=lambda record: record["run"]):
        name = record["spec"]["method"]["name"]
        labels.setdefault(name, record.get("label") or name)
    shared = {label for label in labels.values() if list(labels.values()).count(label) > 1}
    return {name: f"{label} [{name}]" if label in shared else label for name, label in labels.items()}


def _numeric(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn columns of numbers and nulls into floats, which pandas leaves as objects when nulls come first."""
    for column in frame.columns:
        if frame[column].dtype == object and column not in _LISTS:
            entries = frame[column].dropna()
            if (
                len(entries) == 0
                or entries.map(lambda e: isinstance(e, (int, float)) and not isinstance(e, bool)).all()
            ):
                frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame
