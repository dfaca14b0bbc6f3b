"""What a study is expected to take: sizes by hand, corrections by records, totals, and the closed form of memory."""

from __future__ import annotations

import copy
import hashlib
import math
import subprocess
import sys

import pytest

from kanbench.base import paths
from kanbench.cli.parser import main
from kanbench.study import config, cost, cost_memory, plan
from kanbench.tasks import taskinfo
from kanbench.training import profile

SMOKE = paths.root() / "workflow/config/smoke.yaml"


def runs_of(content) -> dict:
    return plan.expand(config.from_content(content, "tiny.yaml")).runs


@pytest.fixture(scope="module")
def smoke() -> plan.Plan:
    return plan.expand(config.load(SMOKE))


def one(tiny, method: str, task: str = "feynman", axes=None, training=None, **settings) -> dict:
    experiment = tiny["experiments"]["E1"]
    experiment.update(tasks=[{"name": task, "settings": settings}], methods=[method], axes=axes or {})
    experiment["training"].update(training or {})
    (run,) = runs_of(tiny).values()
    return copy.deepcopy(run.spec)


def recorded(spec, seconds: float, **changes) -> dict:
    return {"run": "x", "spec": spec, "status": "ok", "time": {"train_seconds": seconds}, **changes}


def law(spec) -> float:
    """Seconds that the model does not know of: another power of the work, and a factor and noise of its own."""
    found = cost.size(spec)
    words = spec["method"]["name"], spec["task"]["name"], spec["seed"]
    draws = [int(hashlib.sha256(repr(part).encode()).hexdigest()[:8], 16) / 2**32 for part in (words[0], words)]
    step = found.calls * (1 + found.directions) * (3e-4 + 1e-9 * found.forward(found.samples) ** 0.9)
    return (0.02 + found.steps * step) * 10 ** draws[0] * (0.8 + 0.4 * draws[1])


def test_the_size_of_a_fully_connected_run_is_that_of_its_layers(tiny):
    training = {"batch_size": 1024, "epochs": 20}
    tiny["experiments"]["E1"]["training"].pop("steps")
    found = cost.size(one(tiny, "efficient_kan", "mnist", {"hidden_width": 32, "depth": 1, "grid_size": 5}, training))
    assert found.layers == ((784 * 32, 1, 784), (32 * 10, 1, 32))
    assert (found.edges, found.numbers, found.parameters) == (25_408, 9, 25_408 * 9)
    assert (found.samples, found.evaluated) == (1024, 6_000 + 10_000)
    assert found.steps == 20 * math.ceil(54_000 / 1024)
    assert found.forward(10) == 10 * (2 * 25_408 * 9 + cost.ELEMENTWISE * 9 * (784 + 32))


def test_generated_weights_cost_the_same_for_every_batch_and_train_prompts_only(tiny):
    axes = {"hidden_width": 32, "depth": 1, "grid_size": 5, "prompt_dim": 2, "hidden_dim": 16}
    spec = one(tiny, "metakan-relu", "digits", axes)
    found = cost.size(spec)
    assert found.edges == 64 * 32 + 32 * 10
    assert found.parameters == 2 * found.edges
    assert found.generated == 16 * (2 + 9)
    assert found.forward(0) == 2 * 16 * 11 * found.edges
    assert found.samples == round(1797 * 0.75 * 0.85), "the full batch"


def test_a_residual_counts_its_second_derivatives_and_a_line_search_its_calls(tiny):
    axes = {"hidden_width": 8, "depth": 1}
    exact = cost.size(one(tiny, "mlp", "poisson", axes, dimension=10))
    sampled = cost.size(one(tiny, "mlp", "poisson", axes, dimension=10, laplacian="sampled", sampled_dimensions=3))
    assert (exact.directions, sampled.directions) == (10, 3)
    assert exact.checked == sampled.checked == 10, "selection takes the exact Laplacian"
    assert (exact.samples, exact.steps, exact.calls) == (100, 4, 1)
    assert cost.size(one(tiny, "mlp", axes=axes, training={"optimiser": "lbfgs"})).calls == cost.LBFGS_CALLS


def test_the_size_of_a_convolutional_run_is_that_of_the_published_geometry(tiny):
    found = cost.size(one(tiny, "conv_kan-bspline", "mnist"))
    assert found.edges == 9 * (32 + 32 * 64 + 64 * 128 + 128 * 256) + 256 * 10
    assert [rows for _, rows, _ in found.layers] == [28 * 28, 14 * 14, 7 * 7, 7 * 7, 1]


def test_totals_add_up_and_a_shared_run_counts_once(tiny):
    tiny["experiments"]["E2"] = copy.deepcopy(tiny["experiments"]["E1"]) | {"methods": ["mlp", "efficient_kan"]}
    tiny["seeds"] = [0, 1, 2]
    runs = runs_of(tiny)
    *parts, total = cost.rows(runs, cost.Calibration([]), lambda spec: (1.0, "guess"))
    assert [(row.name, row.runs) for row in parts] == [("E1", 6), ("E2", 3)]
    assert total.runs == len(runs) == 9
    for part in ("value", "low", "high"):
        assert sum(getattr(row.seconds, part) for row in parts) == pytest.approx(getattr(total.seconds, part))
    assert len(total.memory) == 9
    assert total.seconds.low < total.seconds.value < total.seconds.high


def test_measured_experiments_are_predicted_within_a_factor_of_two(smoke):
    records = [recorded(run.spec, law(run.spec)) for run in smoke.runs.values() if run.spec["seed"] == 0]
    calibration = cost.Calibration(records)
    for name in smoke.study.experiments:
        runs = [run for run in smoke.runs.values() if name in run.experiments]
        found = [calibration.estimate(run.spec) for run in runs]
        expected = sum(law(run.spec) for run in runs)
        assert 0.5 < sum(each.value for each in found) / expected < 2, name
        assert sum(each.low for each in found) < expected < sum(each.high for each in found), name
        assert {each.level for each in found} == {0}


def test_a_cell_without_records_takes_the_correction_of_its_method(smoke, tiny):
    records = [recorded(run.spec, 7.0 * cost.model_seconds(run.spec)) for run in smoke.runs.values()]
    spec = one(tiny, "mlp", "digits", {"hidden_width": 100, "depth": 2}, {"batch_size": 64, "steps": 33})
    found = cost.Calibration(records).estimate(spec)
    assert found.level == cost.LEVELS.index("its method and task")
    assert found.value == pytest.approx(7.0 * cost.model_seconds(spec))
    assert (found.low, found.high) == pytest.approx((found.value / cost.FLOOR[1], found.value * cost.FLOOR[1]))
    moved = {**spec, "device": "cuda"}
    found = cost.Calibration(records).estimate(moved)
    assert found.level == cost.LEVELS.index("its method on another device")
    assert found.value == pytest.approx(7.0 * cost.model_seconds(moved))


def test_the_nearest_records_count_and_their_spread_is_the_range(tiny):
    specs = [
        one(copy.deepcopy(tiny), "mlp", "digits", {"hidden_width": width, "depth": 1}, {"batch_size": 64})
        for width in (8, 16, 32, 64, 128, 256, 512)
    ]
    factors = (1.0, 2.0, 2.0, 2.0, 2.0, 4.0, 50.0)
    records = [recorded(s, f * cost.model_seconds(s)) for s, f in zip(specs, factors, strict=True)]
    spec = one(tiny, "mlp", "digits", {"hidden_width": 40, "depth": 1}, {"batch_size": 64})
    found = cost.Calibration(records).estimate(spec)
    expected = 2.0 * cost.model_seconds(spec)
    assert found.value == pytest.approx(expected)
    assert found.high == pytest.approx(2.0 * expected), "the farthest two do not count"


def test_without_records_the_range_says_how_little_is_known(tiny):
    spec = one(tiny, "mlp")
    records = [recorded(spec, 1.0) | {"status": "diverged"}, recorded(spec, None)]
    found = cost.Calibration(records).estimate(spec)
    assert found.level == len(cost.LEVELS) - 1
    assert found.high / found.low == pytest.approx(cost.FLOOR[-1] ** 2)


def test_a_time_limit_ends_a_run(tiny):
    tiny["experiments"]["E1"]["training"].update(steps=10**7, timeout_seconds=60)
    (row, total) = cost.rows(runs_of(tiny), cost.Calibration([]))
    assert total.seconds.value == row.seconds.value <= 2 * (60 + cost.DEVICES["cpu"][2])


def test_runs_of_one_process_share_its_start_and_others_do_not(tiny):
    experiment = tiny["experiments"]["E1"]
    experiment.update(methods=["mlp"], together=True)
    tiny["seeds"] = list(range(40))  # two processes of twenty
    runs = runs_of(tiny)
    spec = next(iter(runs.values())).spec
    trained, start = cost.Calibration([]).estimate(spec).value, cost.DEVICES["cpu"][2]
    *_, total = cost.rows(runs, cost.Calibration([]))
    assert total.seconds.value == pytest.approx(40 * trained + 2 * start)
    experiment["together"] = False
    *_, total = cost.rows(runs_of(tiny), cost.Calibration([]))
    assert total.seconds.value == pytest.approx(40 * (trained + start))


def test_the_share_of_each_source_is_of_the_seconds(tiny):
    experiment = tiny["experiments"]["E1"]
    experiment["methods"] = ["mlp"]
    (run,) = runs_of(tiny).values()
    experiment["methods"] = ["mlp", "affine"]
    records = [recorded(run.spec, 3.0 * cost.model_seconds(run.spec))]
    *_, total = cost.rows(runs_of(tiny), cost.Calibration(records))
    assert total.share(cost.MEASURED) == pytest.approx(total.by_level[0] / sum(total.by_level.values()))
    assert 0 < total.share(cost.MEASURED) < 1
    assert total.share(cost.SCALED) == 0, "another method is no measurement of this one"


@pytest.mark.parametrize("method", ["mlp", "efficient_kan", "metakan-relu", "pykan-fast"])
def test_the_closed_form_is_the_one_that_the_profile_records(tiny, method):
    spec = one(tiny, method, "step_cost", {"hidden_width": 16, "depth": 1, "grid_size": 3}, inputs=20, batch_size=32)
    known = plan.expand(config.from_content(tiny, "tiny.yaml")).methods[method]
    assert cost_memory.closed_form(spec, known) == profile.run(spec)["memory"]["predicted"]["total"]


def test_memory_without_a_closed_form_is_scaled_from_records(tiny):
    axes = {"hidden_width": 8, "depth": 1}
    spec = one(tiny, "mlp", "poisson", axes, dimension=4)
    methods = plan.expand(config.from_content(tiny, "tiny.yaml")).methods
    record = recorded(spec, 1.0, memory={"peak_allocated_bytes": None, "simulated_peak_bytes": 1000})
    larger = one(tiny, "mlp", "poisson", axes, dimension=8)
    peak = cost_memory.estimator([record], methods)
    assert peak(spec) == (pytest.approx(1000), cost_memory.RECORDS)
    size, source = peak(larger)
    assert size == pytest.approx(1000 * cost_memory.model_bytes(larger) / cost_memory.model_bytes(spec))
    assert source == cost_memory.RECORDS
    assert peak({**larger, "device": "cuda"}) == (pytest.approx(size), cost_memory.RECORDS)
    assert cost_memory.estimator([], methods)(spec)[1] == cost_memory.GUESS


def test_the_verb_prints_experiments_their_total_and_what_it_rests_on(capsys, smoke, tmp_path):
    (tmp_path / "records.jsonl").write_text("")
    assert main(["plan", "--cost", "--configfile", str(SMOKE), "--records", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    last = 1 + len(smoke.study.experiments)
    assert [line.split()[0] for line in lines[1 : last + 1]] == [*smoke.study.experiments, "total"]
    assert lines[last].split()[1] == str(len(smoke.runs))
    assert "guess 100%" in lines[last]
    assert any("runs beyond 24 GiB" in line for line in lines)


def test_every_task_has_a_size_and_no_torch_is_needed():
    code = "import sys; from kanbench.study import cost; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    for name, info in taskinfo.discover().items():
        inputs, outputs, _ = cost.features(info, taskinfo.resolve(name, {}))
        assert inputs >= 1, name
        assert outputs >= 1, name


def test_a_family_of_formulas_is_as_many_networks(tiny):
    single = cost.size(one(tiny, "mlp", "feynman_family", {"hidden_width": 5, "depth": 1}, max_formulas=1))
    several = cost.size(one(tiny, "mlp", "feynman_family", {"hidden_width": 5, "depth": 1}, max_formulas=3))
    assert several.edges == 3 * single.edges
    assert single.layers == ((20, 1, 4), (5, 1, 5))


def test_sizes_are_written_in_the_unit_that_suits_them():
    assert [cost.size_text(value) for value in (0, 512, 2**20, 1.5 * 2**30, 2**50)] == [
        "0 B",
        "512 B",
        "1 MiB",
        "1.5 GiB",
        "1.02e+03 TiB",
    ]
