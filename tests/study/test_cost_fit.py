"""The constants of the cost model come from records: they are recovered, and carry from small runs to large ones."""

from __future__ import annotations

import copy

import pytest

from kanbench.study import config, cost, cost_fit, plan

OVERHEAD, PER_FLOP = 7e-4, 4e-11


def spec_of(tiny, method: str, width: int, batch: int = 64) -> dict:
    content = copy.deepcopy(tiny)
    training = {"optimiser": "adam", "learning_rate": 0.01, "steps": 100, "batch_size": batch}
    content["experiments"]["E1"].update(
        tasks=["digits"], methods=[method], axes={"hidden_width": width, "depth": 1}, training=training
    )
    (run,) = plan.expand(config.from_content(content, "tiny.yaml")).runs.values()
    return run.spec


def record(spec: dict, seconds: float, cpu: str = "A processor") -> dict:
    return {"spec": spec, "status": "ok", "time": {"train_seconds": seconds}, "environment": {"cpu": cpu}}


def seconds(spec: dict) -> float:
    layers, flop = cost.model_terms(spec)
    return OVERHEAD * layers + PER_FLOP * flop


@pytest.fixture
def records(tiny):
    specs = [spec_of(tiny, "mlp", width) for width in (4, 8, 16, 32, 2048, 4096)]
    return [record(spec, seconds(spec)) for spec in specs for _ in range(6)]


def test_both_constants_are_recovered(records, tiny):
    overhead, per_flop = cost_fit.Constants(records).of(spec_of(tiny, "mlp", 64))
    assert overhead == pytest.approx(OVERHEAD, rel=0.05)
    assert per_flop == pytest.approx(PER_FLOP, rel=0.1)


def test_they_carry_from_small_and_large_to_what_nobody_ran(records, tiny):
    constants = cost_fit.Constants(records)
    calibration = cost.Calibration(records, constants.seconds, reach=cost.REACH)
    for width, batch in ((256, 64), (1024, 512), (8192, 1024)):
        spec = spec_of(tiny, "mlp", width, batch)
        assert 1 / 1.5 < calibration.estimate(spec).value / seconds(spec) < 1.5
    small = [each for each in records if each["spec"]["method"]["settings"]["hidden_width"] < 64]
    spec = spec_of(tiny, "mlp", 8192, 1024)
    far = cost.Calibration(small).estimate(spec).value / seconds(spec)
    assert far > 1.5, "a correction of overheads alone does not carry"


def test_a_run_that_others_slowed_changes_little(records, tiny):
    spec = spec_of(tiny, "mlp", 64)
    plain = cost_fit.Constants(records).seconds(spec)
    slowed = cost_fit.Constants([*records, record(records[0]["spec"], 100 * seconds(records[0]["spec"]))])
    assert slowed.seconds(spec) == pytest.approx(plain, rel=0.1)


def test_a_method_without_records_leans_on_its_baseline_and_that_on_all(records, tiny):
    constants = cost_fit.Constants(records)
    assert constants.of(spec_of(tiny, "efficient_kan", 16)) == constants.of(spec_of(tiny, "tiled_kan", 16))
    overhead, throughput, _ = cost.DEVICES["cpu"]
    assert cost_fit.Constants([]).of(records[0]["spec"]) == (overhead, 1 / throughput)


def test_the_basis_is_named(records):
    other = [record(records[0]["spec"], 1.0, "Another"), record(records[0]["spec"], 0.0)]
    assert cost_fit.Constants([*records, *other]).basis == (
        "constants fitted on 37 records (36 on A processor, 1 on Another)"
    )
    assert "no records" in cost_fit.Constants([]).basis
