"""Estimates what a study will take before it is run: hours, and with `kanbench.study.cost_memory` the peak memory.

The model of a run's seconds is rough on purpose, and is corrected by what records show:

    model      = layers passed · overhead + FLOP / throughput,  both constants fitted on records (`cost_fit`)
    prediction = start + model · correction,                    correction = median of (recorded / model) over records

FLOP of a forward pass: 2 an edge, number and row, `ELEMENTWISE` a basis value, and where weights are generated
2 · hidden_dim · (prompt_dim + numbers) an edge, whatever the batch. Backward counts twice. A residual of a differential
equation adds, for each dimension that it sums over, a second derivative and its backward pass. A step of L-BFGS is
`LBFGS_CALLS` such evaluations. The correction comes from the records that are most alike (`LEVELS`), of which the
`NEAREST` in size count, the less the further they are; the range is their spread, and no narrower than `FLOOR` of the
level. Where no record is of the device, the constants of `DEVICES` carry a correction from one device to another: a
guess.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from kanbench.base.spec import canonical, digest
from kanbench.study import together
from kanbench.tasks import taskinfo

ELEMENTWISE = 30
LBFGS_CALLS = 22
PROFILED_STEPS = 16
NEAREST = 5
DEVICES = {"cpu": (1e-4, 2e10, 1.5), "cuda": (1.5e-4, 5e12, 5.0)}
"""Seconds of overhead a layer and pass, FLOP a second, and seconds until a run begins to train."""
START_RANGE = 2.0
"""Factor by which those last seconds may be more or less: no record tells them."""
LEVELS = (
    *("this cell", "its method and task", "its method and family", "its method"),
    *("other methods", "its method on another device", "other methods on another device", "no record"),
)
FLOOR = (1.2, 1.5, 2.0, 3.0, 5.0, 5.0, 8.0, 10.0)
"""Least factor by which a run may take more or less than predicted, by level."""
REACH = math.log(8.0)
"""Distance at which half of a correction of fitted constants is believed."""
MEASURED, SCALED = (0,), (1, 2, 3)
CHANNELS = {4: (32, 64, 128, 256), 8: (16, 32, 64, 128, 256, 256, 512, 512)}
STRIDES = {4: (1, 2, 2, 1), 8: (1, 2, 2, 1, 1, 2, 1, 1)}
TAPS = 9
USUAL_VARIABLES, FAMILY_SHARE = 4, 0.2
"""Variables of a formula, and the part of the formulas that is of one kind, where only that much is known."""
GPU_GIB = (24, 80)
"""Memory of common devices, GiB."""


@dataclass(frozen=True)
class Size:
    """What decides the cost of a run.

    Attributes:
        layers: `(edges, rows a sample, input features)` of every layer.
        numbers: Numbers an edge function has; 1 for a linear layer.
        generated: Multiplications a generated edge takes; 0 where weights are parameters.
        prompt_dim: Trainable numbers an edge has where its weights are generated.
        samples: Samples of a step; `evaluated` of an evaluation.
        directions: Second derivatives of a step; `checked` of an evaluation.
        steps: Steps of the run; `calls` of the loss in each.
    """

    layers: tuple[tuple[int, int, int], ...]
    numbers: int
    generated: int
    prompt_dim: int
    samples: int
    evaluated: int
    directions: int
    checked: int
    steps: int
    calls: int

    @property
    def edges(self) -> int:
        return sum(edges for edges, _, _ in self.layers)

    @property
    def parameters(self) -> int:
        """The trainable numbers of the edges."""
        return self.edges * (self.prompt_dim if self.generated else self.numbers)

    def forward(self, samples: int) -> float:
        """Return the FLOP of one forward pass."""
        rows = sum(2.0 * edges * self.numbers * rows * samples for edges, rows, _ in self.layers)
        basis = sum(ELEMENTWISE * self.numbers * features * rows * samples for _, rows, features in self.layers)
        return rows + (basis if self.numbers > 1 else 0.0) + 2.0 * self.generated * self.edges


def size(spec: Mapping[str, Any]) -> Size:
    """Return the size of a run."""
    info, settings = taskinfo.discover()[spec["task"]["name"]], spec["method"]["settings"]
    task, training = spec["task"]["settings"], spec["training"]
    inputs, outputs, image = features(info, task)
    train, evaluated = _samples(info, task)
    batch = _batch(task, training, train)
    numbers = settings["grid_size"] + settings.get("spline_order", 0) + 1 if "grid_size" in settings else 1
    dimension = task.get("dimension", 0)
    sampled = task.get("laplacian") == "sampled"
    prompt, hidden = settings.get("prompt_dim", 0), settings.get("hidden_dim", 0)
    return Size(
        layers=tuple(_layers(inputs, outputs, image, settings)) * _networks(task),
        numbers=numbers,
        generated=hidden * (prompt + numbers),
        prompt_dim=prompt,
        samples=batch,
        evaluated=evaluated,
        directions=task["sampled_dimensions"] if sampled else dimension,
        checked=dimension,
        steps=PROFILED_STEPS if info.profile else steps(info, task, training),
        calls=LBFGS_CALLS if training["optimiser"] == "lbfgs" else 1,
    )


def steps(info: taskinfo.TaskInfo, task: Mapping[str, Any], training: Mapping[str, Any]) -> int:
    """Return the training steps of a run, whether its budget counts steps or epochs."""
    if "steps" in training:
        return training["steps"]
    train, _ = _samples(info, task)
    return training["epochs"] * (math.ceil(train / _batch(task, training, train)) if train else 1)


def _batch(task: Mapping[str, Any], training: Mapping[str, Any], train: int) -> int:
    """Return the samples of a step, given those of the training split (0 where they are drawn afresh)."""
    batch = task.get("batch_size", training["batch_size"]) or train
    return min(batch, train) if train else batch or 100


def features(info: taskinfo.TaskInfo, task: Mapping[str, Any]) -> tuple[int, int, tuple[int, int]]:
    """Return inputs, outputs, and channels and side length of an image (0, 0 where the input is none)."""
    if "formula" in task:
        return len(taskinfo.formulas()[task["formula"]]["variables"]), 1, (0, 0)
    if "dimension" in task:
        return task["dimension"], 1, (0, 0)
    if "inputs" in task:
        return task["inputs"], task.get("outputs", 1), (0, 0)
    if "channels" in info.constants:
        channels, side = info.constants["channels"], info.constants["size"]
        return channels * side * side, info.constants["classes"], (channels, side)
    return USUAL_VARIABLES, 1, (0, 0)


def _networks(task: Mapping[str, Any]) -> int:
    """Return how many networks train side by side: one a formula where a task is a family of formulas, else one."""
    if "members" not in task:
        return 1
    count = len(taskinfo.formula_ids("runnable")) * (FAMILY_SHARE if task["members"] == "kind" else 1 - FAMILY_SHARE)
    return min(task["max_formulas"] or math.ceil(count), math.ceil(count))


def _samples(info: taskinfo.TaskInfo, task: Mapping[str, Any]) -> tuple[int, int]:
    """Return the training samples (0 where they are drawn afresh) and those of an evaluation."""
    if info.profile:
        return 0, 0
    if "test_points" in task:
        return 0, task["validation_points"] + task["test_points"]
    if "validation_samples" in task:
        return task["train_samples"], task["validation_samples"] + task["test_samples"]

    def everything(setting: str) -> int:
        known = info.settings.get(setting, {"schema": {}})
        return task.get(setting) or known["schema"].get("maximum", 10_000)

    total = everything("train_samples")
    test = total * task["test_fraction"] if "test_fraction" in task else everything("test_samples")
    train = total * (1.0 - task.get("test_fraction", 0.0))
    held = train * task.get("validation_fraction", 0.0)
    return max(1, round(train - held)), round(held + test)


def _layers(inputs: int, outputs: int, image: tuple[int, int], settings: Mapping[str, Any]) -> Iterable[tuple]:
    """Yield edges, rows a sample and input features of every layer: fully connected, or 3x3 convolutions and a head."""
    if "layers" in settings and image[0]:
        depth = settings["layers"] if settings["layers"] in CHANNELS else max(CHANNELS)
        channels, side = image
        for width, stride in zip(CHANNELS[depth], STRIDES[depth], strict=True):
            side, wide = math.ceil(side / stride), max(1, round(width * settings.get("width_factor", 1.0)))
            yield TAPS * channels * wide, side * side, channels
            channels = wide
        yield channels * outputs, 1, channels
        return
    widths = [inputs, *[settings.get("hidden_width", 0)] * settings.get("depth", 0), outputs]
    for before, after in pairwise(widths):
        yield before * after, 1, before


def model_terms(spec: Mapping[str, Any]) -> tuple[float, float]:
    """Return what a run does: layers passed, each with an overhead, and FLOP."""
    found = size(spec)
    evaluations = 0 if found.evaluated == 0 else spec["training"]["evaluations"]
    trained, checked = found.steps * found.calls * (3 + 6 * found.directions), evaluations * (1 + 2 * found.checked)
    flop = trained * found.forward(found.samples) + checked * found.forward(found.evaluated)
    return (trained + checked) * len(found.layers), flop


def model_seconds(spec: Mapping[str, Any]) -> float:
    """Return the seconds of a run by the constants of its device, uncorrected."""
    (layers, flop), (overhead, throughput, _) = model_terms(spec), DEVICES[spec["device"].partition(":")[0]]
    return layers * overhead + flop / throughput


@dataclass(frozen=True)
class Estimate:
    """A prediction with the range that it is honest to give, and the level of `LEVELS` that it rests on."""

    value: float
    low: float
    high: float
    level: int


class Calibration:
    """Corrects a model by records.

    Args:
        records: Any records; those without the recorded number are passed over.
        model: Prediction from a spec, before the correction.
        recorded: What the model should have given, from a record; None where it says nothing.
        reach: Distance in size, on the scale of logarithms, at which half of a correction is believed.
    """

    def __init__(
        self, records: Iterable[Mapping[str, Any]], model=model_seconds, recorded=None, reach: float = math.inf
    ):
        self.model, self.reach, self.ratios = model, reach, defaultdict(list)
        for record in records:
            value = (recorded or train_seconds)(record)
            if value is None or not known(record["spec"]):
                continue
            expected = model(record["spec"])
            for level, key in enumerate(_keys(record["spec"])):
                self.ratios[level, key].append((expected, value / expected))

    def estimate(self, spec: Mapping[str, Any]) -> Estimate:
        """Return the corrected prediction for a spec."""
        expected = self.model(spec)
        for level, key in enumerate(_keys(spec)):
            alike = self.ratios.get((level, key))
            if alike:
                near = sorted(alike, key=lambda pair: abs(math.log(pair[0] / expected)))[:NEAREST]
                logs = [math.log(ratio) for _, ratio in near]
                apart = statistics.median(abs(math.log(each / expected)) for each, _ in near)
                middle = statistics.median(logs) / (1 + (apart / self.reach) ** 2)
                spread = max(FLOOR[level], math.exp(max(abs(log - middle) for log in logs)))
                value = expected * math.exp(middle)
                return Estimate(value, value / spread, value * spread, level)
        level = len(LEVELS) - 1
        return Estimate(expected, expected / FLOOR[level], expected * FLOOR[level], level)


def train_seconds(record: Mapping[str, Any]) -> float | None:
    """Return the seconds that a finished run trained and evaluated for."""
    seconds = (record.get("time") or {}).get("train_seconds")
    return seconds if record["status"] == "ok" and seconds else None


def known(spec: Mapping[str, Any]) -> bool:
    """Tell whether the task of a spec is one of today."""
    return spec["task"]["name"] in taskinfo.discover()


def _kind(spec: Mapping[str, Any]) -> str:
    """Identify a spec without its seed, protocol and configuration, which change no cost."""
    kept = {key: value for key, value in spec.items() if key not in ("seed", "protocol", "configuration")}
    return digest(canonical(kept), 16)


def _keys(spec: Mapping[str, Any]) -> list[tuple]:
    """Return what records have to share with a spec, level by level."""
    device, method, task = spec["device"].partition(":")[0], spec["method"]["name"], spec["task"]["name"]
    line_search, info = spec["training"]["optimiser"] == "lbfgs", taskinfo.discover()[task]
    return [
        (_kind(spec),),
        (device, method, line_search, task),
        (device, method, line_search, info.family, info.profile),
        (device, method),
        (device,),
        ("any", method),
        ("any",),
    ]


@dataclass
class Row:
    """Runs of an experiment, or all: their number, their seconds, and the seconds by level."""

    name: str
    runs: int
    seconds: Estimate
    by_level: dict[int, float]
    memory: list[tuple[float, str]]

    def share(self, levels: Iterable[int]) -> float:
        """Return which part of the seconds rests on these levels."""
        total = sum(self.by_level.values())
        return sum(self.by_level.get(level, 0.0) for level in levels) / total if total else 0.0


def rows(runs: Mapping[str, Any], calibration: Calibration, memory=lambda spec: None) -> list[Row]:
    """Return a row an experiment and their total. A run that several experiments use counts in the first of them.

    Args:
        runs: `kanbench.study.plan.Run` by name.
        memory: Peak bytes and their source from a spec, or None.
    """
    grouped: dict[str, list[tuple[Estimate, Any]]] = defaultdict(list)
    priced: dict[tuple[str, int], tuple[Estimate, Any]] = {}
    cells = together.cells(runs, lambda name: False).values()
    company = {name: len(names) for names in cells for name in names}
    for name, run in runs.items():
        key = _kind(run.spec), company.get(name, 1)
        if key not in priced:
            priced[key] = (_whole(run.spec, calibration, key[1]), memory(run.spec))
        grouped[run.experiments[0]].append(priced[key])
    found = [_row(name, entries) for name, entries in grouped.items()]
    return [*found, _row("total", [entry for entries in grouped.values() for entry in entries])]


def _whole(spec: Mapping[str, Any], calibration: Calibration, company: int = 1) -> Estimate:
    """Return the seconds of a run, within its time limit, with its share of the start that `company` runs have."""
    found, start = calibration.estimate(spec), DEVICES[spec["device"].partition(":")[0]][2] / company
    limit = spec["training"].get("timeout_seconds") or math.inf
    parts = ((found.value, start), (found.low, start / START_RANGE), (found.high, start * START_RANGE))
    return Estimate(*(min(value, limit) + begin for value, begin in parts), found.level)


def _row(name: str, entries: list[tuple[Estimate, Any]]) -> Row:
    by_level: dict[int, float] = defaultdict(float)
    for each, _ in entries:
        by_level[each.level] += each.value
    total = Estimate(*(sum(getattr(each, part) for each, _ in entries) for part in ("value", "low", "high")), -1)
    return Row(name, len(entries), total, dict(by_level), [found for _, found in entries if found is not None])


def text(found: list[Row], device: str) -> str:
    """Return the table that `plan --cost` prints; its last row is the total."""
    head = ("experiment", "runs", f"{device} hours", "(range)", "median", "90 %", "largest", "hours rest on")
    lines = [head, *(_line(row) for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    table = ["  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*table, *_notes(found[-1])])


def _line(row: Row) -> tuple[str, ...]:
    hours = [getattr(row.seconds, part) / 3600 for part in ("value", "low", "high")]
    peaks = sorted(value for value, _ in row.memory)
    sizes = [size_text(peaks[int(share * (len(peaks) - 1))]) for share in (0.5, 0.9, 1.0)] if peaks else ["-"] * 3
    measured, scaled = row.share(MEASURED), row.share(SCALED)
    sources = f"records {measured:.0%}, scaled {scaled:.0%}, guess {max(0.0, 1 - measured - scaled):.0%}"
    return (row.name, f"{row.runs:,}", f"{hours[0]:.2g}", f"({hours[1]:.2g} to {hours[2]:.2g})", *sizes, sources)


def size_text(size: float) -> str:
    """Return bytes in the unit that suits them."""
    power = max(0, min(4, int(math.log2(max(size, 1)) // 10)))
    return f"{size / 2 ** (10 * power):.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def _notes(total: Row) -> list[str]:
    """Return what the table means, and what its numbers of memory rest on."""
    sources, beyond = Counter(source for _, source in total.memory), Counter()
    for limit in GPU_GIB:
        beyond[limit] = sum(value > limit * 2**30 for value, _ in total.memory)
    return [
        "hours: of one run after another; runs that share a device finish sooner",
        "  records: this cell was measured; scaled: its method was, elsewhere; guess: constants of study/cost.py",
        "median, 90 %, largest: peak memory of a training step, the data set apart; "
        + ", ".join(f"{count:,} runs from {source}" for source, count in sorted(sources.items())),
        "  "
        + ", ".join(f"{beyond[limit]:,} runs beyond {limit} GiB" for limit in GPU_GIB)
        + ": an outcome, not an error",
    ]
