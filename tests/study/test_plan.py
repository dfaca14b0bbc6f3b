"""Expansion: which runs a study has, and what they are called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kanbench.base import paths
from kanbench.base.errors import InvalidInput
from kanbench.base.spec import canonical, run_name
from kanbench.records import record
from kanbench.study import config, plan, together


def done(planned: plan.Plan, name: str, **changes) -> None:
    """Leave the record of a planned run, as training it now would."""
    run = planned.runs[name]
    content = record.blank(run.spec, label=run.label, family="function_fitting", metric="rmse", goal="min")
    content["code"] = {"commit": None, "dirty": None, **planned.due.code_of(name)}
    record.write({**content, **changes}, Path(planned.record(name)))


def expand(content) -> plan.Plan:
    return plan.expand(config.from_content(content, "tiny.yaml"))


def test_a_method_that_ignores_an_axis_is_not_run_twice(tiny):
    tiny["experiments"]["E1"].update(
        methods=["mlp", "affine", "efficient_kan"],
        axes={"grid_size": [3, 5, 10], "depth": [1, 2], "hidden_width": 2},
    )
    runs = expand(tiny).runs.values()
    counts = {}
    for run in runs:
        counts[run.spec["method"]["name"]] = counts.get(run.spec["method"]["name"], 0) + 1
    assert counts == {"mlp": 2, "affine": 1, "efficient_kan": 6}


def test_a_method_can_be_left_out_of_all(tiny):
    tiny["experiments"]["E1"]["methods"] = ["all"]
    everyone = {run.spec["method"]["name"] for run in expand(tiny).runs.values()}
    tiny["experiments"]["E1"]["methods"] = [{"name": "all", "except": ["pykan", "metakan-linear"]}]
    chosen = {run.spec["method"]["name"] for run in expand(tiny).runs.values()}
    assert everyone - chosen == {"pykan-default", "pykan-fast", "metakan-linear"}
    tiny["experiments"]["E1"]["methods"][0]["except"] = ["pikan"]
    with pytest.raises(InvalidInput, match="did you mean 'pykan'"):
        expand(tiny)


def test_equal_runs_of_two_experiments_are_one_run(tiny):
    tiny["experiments"]["E2"] = dict(tiny["experiments"]["E1"], title="the same again", exclusive=True)
    runs = expand(tiny).runs
    assert len(runs) == 2
    assert all(run.experiments == ["E1", "E2"] and run.exclusive for run in runs.values())


def test_names_follow_the_spec_and_come_back_with_it(tiny):
    before = set(expand(tiny).runs)
    tiny["experiments"]["E1"]["training"]["steps"] = 5
    changed = set(expand(tiny).runs)
    tiny["experiments"]["E1"]["training"]["steps"] = 4
    assert before == set(expand(tiny).runs)
    assert not before & changed


def test_specs_are_complete_and_canonical(spec):
    assert spec["method"]["settings"]["hidden_width"] == 2
    assert "activation" in spec["method"]["settings"], "defaults are written out"
    assert spec["task"]["settings"]["noise"] == 0
    assert spec["training"]["schedule"] == "constant"
    shuffled = dict(reversed(list(spec.items())))
    assert canonical(shuffled) == canonical(spec)
    assert run_name(shuffled) == run_name(spec)
    assert json.loads(canonical(spec)) == spec


def test_every_planned_run_keeps_its_name_on_the_way_through_json():
    for name, run in plan.expand(config.load(paths.root() / "workflow/config/smoke.yaml")).runs.items():
        assert run_name(json.loads(run.text)) == name


def test_code_of_a_run_is_its_baseline_its_task_and_the_loop(tiny):
    planned = expand(tiny)
    name = next(name for name, run in planned.runs.items() if run.spec["method"]["name"] == "mlp")
    files = planned.made_by.files(planned.runs[name].spec)
    assert {"baselines/mlp/model.py", "baselines/mlp/baseline.yaml", "workflow/kanbench/training/loop.py"} <= set(files)
    assert not any("affine" in file or "report" in file or "metakan" in file for file in files)
    assert all((paths.root() / file).is_file() for file in files)


LOOP = {
    *(f"training/{name}.py" for name in ("analysis", "ensemble", "loop", "profile", "schedules", "stacking", "train")),
    "baselines/build.py",
    "base/seeds.py",
    "measurement/measure.py",
    "tasks/task.py",
}
LBFGS = {f"training/{name}.py" for name in ("compiled", "lbfgs", "line_search", "side_by_side")}
FEYNMAN = {f"tasks/{name}" for name in ("feynman.py", "feynman.yaml", "feynman_formulas.yaml")}
DIGITS = {"tasks/digits.yaml", "tasks/images.py", "data/augment.py", "data/datasets.py", "data/pictures.py"}
SYMBOLIC = {f"training/symbolic/{name}.py" for name in ("__init__", "equivalence", "extraction", "formula")}
DEPENDS = {
    ("feynman", "efficient_kan", ()): LOOP | LBFGS | FEYNMAN,
    ("digits", "mlp", ()): LOOP | DIGITS,
    ("feynman", "tiled_kan", ("symbolic",)): LOOP | LBFGS | FEYNMAN | SYMBOLIC | {"training/analyses/symbolic.py"},
}
"""What three kinds of runs depend on in the harness, by name: moving a file must not change what a digest covers."""


@pytest.mark.parametrize(("task", "method", "analyses"), DEPENDS)
def test_what_a_digest_covers_is_known_by_name(task, method, analyses):
    planned = plan.expand(config.load(paths.root() / "workflow/config/laptop.yaml"))
    key = (task, method, analyses)
    run = next(
        run
        for run in planned.runs.values()
        if key == (run.spec["task"]["name"], run.spec["method"]["name"], tuple(run.spec.get("analyses", ())))
    )
    harness = "workflow/kanbench/"
    files = planned.made_by.files(run.spec)
    assert {file.removeprefix(harness) for file in files if file.startswith(harness)} == DEPENDS[key]
    others = {file for file in files if not file.startswith(harness)}
    folder = f"baselines/{run.spec['method']['baseline']}"
    assert {f"{folder}/baseline.yaml", f"{folder}/model.py"} <= others
    assert all(file.startswith((folder, "metakan/")) for file in others)


def test_what_the_snakefile_imports_leaves_torch_alone():
    code = (
        "import sys; from kanbench.cli import parser; from kanbench.study import config, plan, resume, status;"
        "from kanbench.pages import recipes, render, report; from kanbench.records import collect;"
        "from kanbench.verdicts import claims; plan.expand(config.load());"
        "print([m for m in ('torch', 'seaborn', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=paths.root(), check=True)
    assert done.stdout.strip() == "[]"


def test_a_method_without_the_group_is_planned_as_if_nothing_were_said_of_it(tiny):
    plain = expand(tiny).runs
    groups = {"prompts": {"learning_rate": [0.1, 0.01]}, "meta_learners": {"schedule": "alternating"}}
    tiny["experiments"]["E1"]["training"]["groups"] = groups
    assert set(expand(tiny).runs) == set(plain)
    tiny["experiments"]["E1"]["methods"] = ["mlp", "metakan-relu"]
    runs = expand(tiny).runs.values()
    rates = [
        run.spec["training"]["groups"]["prompts"]["learning_rate"]
        for run in runs
        if run.spec["method"]["name"] == "metakan-relu"
    ]
    assert sorted(rates) == [0.01, 0.1]
    assert len(runs) == 3


def test_a_set_of_formulas_stands_for_its_members(tiny):
    experiment = tiny["experiments"]["E1"]
    for written, count in (("runnable", 30), ("core", 13), ("extended", 88), (["core", "product", "I.6.20"], 14)):
        experiment["tasks"] = [{"name": "feynman", "settings": {"formula": written}}]
        experiment["methods"] = ["affine"]
        formulas = [run.spec["task"]["settings"]["formula"] for run in expand(tiny).runs.values()]
        assert len(formulas) == len(set(formulas)) == count
    assert {"product", "I.6.20", "I.37.4"} <= set(formulas)


@pytest.mark.parametrize(
    ("task", "settings", "axes", "key", "found", "expected"),
    [
        ("poisson", {"dimension": 0}, {}, "dimension", "0", "at least 2"),
        ("poisson", {"dimension": 1}, {}, "dimension", "1", "at least 2"),
        ("allen_cahn", {"dimension": 1001}, {}, "dimension", "1001", "at most 1000"),
        ("poisson", {"dimension": 2.5}, {}, "dimension", "2.5", "integer"),
        ("poisson", {"dimension": "ten"}, {}, "dimension", "'ten'", "integer"),
        (
            "poisson",
            {"dimension": 3, "laplacian": "sampled", "sampled_dimensions": 4},
            {},
            "sampled_dimensions",
            "4",
            "at most dimension, which is 3",
        ),
        ("poisson", {"laplacian": "sampled", "sampled_dimensions": 0}, {}, "sampled_dimensions", "0", "at least 1"),
        ("poisson", {"test_points": 0}, {}, "test_points", "0", "at least 1"),
        ("feynman", {"train_samples": -5}, {}, "train_samples", "-5", "at least 1"),
        ("feynman", {"noise": -0.1}, {}, "noise", "-0.1", "at least 0"),
        ("feynman", {}, {"hidden_width": 0}, "hidden_width", "0", "at least 1"),
        ("feynman", {}, {"hidden_width": 2.5}, "hidden_width", "2.5", "integer"),
        ("feynman", {}, {"depth": -1}, "depth", "-1", "at least 0"),
        ("feynman", {}, {"grid_size": 0}, "grid_size", "0", "at least 1"),
        ("feynman", {}, {"prompt_dim": 0}, "prompt_dim", "0", "at least 1"),
        ("feynman", {}, {"hidden_dim": 0}, "hidden_dim", "0", "at least 1"),
        ("feynman", {}, {"num_clusters": 0}, "num_clusters", "0", "at least 1"),
        ("feynman", {}, {"depth": 1, "num_clusters": 3}, "num_clusters", "3", "at most depth + 1, which is 2"),
        ("feynman", {}, {"num_clusters": "each"}, "num_clusters", "'each'", "^per_layer$"),
    ],
)
def test_sizes_that_make_no_sense_are_refused_in_the_plan(tiny, task, settings, axes, key, found, expected):
    tiny["experiments"]["E1"].update(tasks=[{"name": task, "settings": settings}], axes=axes, methods=["metakan-relu"])
    with pytest.raises(InvalidInput) as caught:
        expand(tiny)
    (finding,) = caught.value.findings
    assert finding.file == "tiny.yaml"
    assert finding.key.startswith("experiments.E1.")
    assert finding.key.endswith(f".{key}")
    assert finding.found == found
    assert expected in finding.expected
    assert finding.next_step


def test_runs_are_grouped_by_cell_and_by_whether_they_are_there(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny["seeds"] = [0, 1, 2]
    tiny["experiments"]["E1"]["together"] = True
    planned = expand(tiny)
    assert sorted(len(names) for names in planned.cells.values()) == [3, 3]
    first = [name for name in planned.runs if planned.runs[name].spec["seed"] < 2]
    for name in first:
        done(planned, name)
    again = expand(tiny)
    assert again.runs.keys() == planned.runs.keys(), "company is no part of a run"
    groups = sorted([again.runs[name].spec["seed"] for name in names] for names in again.cells.values())
    assert groups == [[0, 1], [0, 1], [2], [2]]
    assert all(len({again.runs[name].spec["method"]["name"] for name in names}) == 1 for names in again.cells.values())
    together.write(planned.cells, tmp_path / planned.folder)
    follower = expand(tiny)
    follower.leading = False
    assert follower.cells == planned.cells, "a job on another machine keeps the grouping of the workflow"


def test_formulas_with_as_many_variables_are_one_cell_of_a_bounded_size(tiny, monkeypatch):
    experiment = tiny["experiments"]["E1"]
    tiny["seeds"] = [0, 1, 2]
    experiment.update(together=True, methods=["mlp"])
    formulas = ["I.6.20", "I.14.4", "I.6.20b"]  # of two, two and three variables
    experiment["tasks"][0]["settings"]["formula"] = formulas
    found = [[expand(tiny).runs[name].spec for name in names] for names in expand(tiny).cells.values()]
    assert sorted([each["task"]["settings"]["formula"] for each in specs] for specs in found) == sorted(
        [["I.6.20"] * 3 + ["I.14.4"] * 3, ["I.6.20b"] * 3]
    )
    monkeypatch.setattr(together, "MOST_RUNS", 4)
    assert sorted(len(names) for names in expand(tiny).cells.values()) == [3, 3, 3]
    experiment["tasks"].append({"name": "feynman", "settings": {"formula": "I.6.20", "train_samples": 33}})
    assert sorted(len(names) for names in expand(tiny).cells.values()) == [3, 3, 3, 3], "of another number of points"


def test_settings_of_an_analysis_are_swept(tiny):
    experiment = tiny["experiments"]["E1"]
    experiment["methods"] = ["tiled_kan"]
    experiment["analyses"] = {"symbolic": {"penalty": [0.1, 0.2], "weight_simple": [0.3, 0.4], "library": ["x", "sin"]}}
    found = [run.spec["analyses"]["symbolic"] for run in expand(tiny).runs.values()]
    assert sorted((each["penalty"], each["weight_simple"]) for each in found) == [
        (0.1, 0.3), (0.1, 0.4), (0.2, 0.3), (0.2, 0.4),
    ]  # fmt: skip
    assert all(each["library"] == ["x", "sin"] for each in found), "a list by itself is one value"
    experiment["analyses"]["symbolic"]["penalty"] = [0.1, "high"]
    with pytest.raises(InvalidInput, match="'high'"):
        expand(tiny)
