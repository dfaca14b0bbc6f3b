"""Axes and limits of a variant alone, and one bad description among good ones."""

from __future__ import annotations

import copy
import shutil
import sys

import pytest
from test_discovery import GOOD, refused, write

from kanbench.base import paths
from kanbench.base.errors import InvalidInput
from kanbench.baselines import discovery
from kanbench.study import config, plan


@pytest.fixture
def good() -> dict:
    content = copy.deepcopy(GOOD)
    content["settings"]["grid_size"] = 5
    content["axes"] = ["hidden_width", "grid_size"]
    content["variants"]["two"] |= {"axes": ["hidden_width"], "limits": [{"setting": "hidden_width", "at_most": 9}]}
    return content


def test_a_variant_can_declare_axes_of_its_own(tmp_path, good):
    methods = discovery.discover(write(tmp_path, good))["good"].methods
    one, two = methods["good-one"], methods["good-two"]
    assert (one.axes, two.axes) == (("hidden_width", "grid_size"), ("hidden_width",))
    wide = {"hidden_width": 4, "grid_size": 9}
    assert discovery.resolve(one, "classification", wide)["grid_size"] == 9
    assert discovery.resolve(two, "classification", wide)["grid_size"] == 5


def test_limits_of_a_variant_count_beside_those_of_the_baseline(tmp_path, good):
    good["limits"] = [{"setting": "hidden_width", "at_most": 20}]
    methods = discovery.discover(write(tmp_path, good))["good"].methods
    assert discovery.resolve(methods["good-one"], "classification", {"hidden_width": 10})["hidden_width"] == 10
    for name, width, bound in (("good-two", 10, "at most 9"), ("good-one", 21, "at most 20"), ("good-two", 21, "20")):
        with pytest.raises(InvalidInput, match=bound):
            discovery.resolve(methods[name], "classification", {"hidden_width": width})


def test_what_a_variant_declares_is_checked_too(tmp_path, good):
    good["variants"]["two"] = {
        "label": "Two",
        "settings": {},
        "axes": ["prompt_dim"],
        "limits": [{"setting": "hiden_width", "at_most": 3}],
    }
    found = refused(tmp_path, good)
    assert found["variants.two.axes"].found == "'prompt_dim' is no setting"
    assert "did you mean 'hidden_width'?" in found["variants.two.limits.0.setting"].expected


def test_a_polynomial_convolution_is_planned_once_for_two_grid_sizes(tiny):
    tiny["experiments"]["E1"] |= {
        "tasks": ["digits"],
        "architecture": "convolutional",
        "methods": ["conv_kan", "meta_conv_kan"],
        "axes": {"grid_size": [3, 5]},
    }
    runs = plan.expand(config.from_content(tiny, "tiny.yaml")).runs.values()
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.spec["method"]["name"]] = counts.get(run.spec["method"]["name"], 0) + 1
    expected = {"bspline": 2, "rbf": 2, "legendre": 1, "gram": 1, "chebyshev": 1}
    assert counts == {f"{name}-{v}": n for name in ("conv_kan", "meta_conv_kan") for v, n in expected.items()} | {
        "meta_conv_kan-released": 2,
        "meta_conv_kan-gram_released": 1,
        "conv_kan-gram_released": 1,
        "conv_kan-chebyshev_released": 1,
    }


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A suite of the MLP, the affine floor and a folder whose description is refused."""
    for name in ("Snakefile", "workflow", "paper_figures"):
        (tmp_path / name).symlink_to(paths.root() / name)
    for name in ("mlp", "affine"):
        shutil.copytree(paths.root() / "baselines" / name, tmp_path / "baselines" / name)
    bad = {**GOOD, "colour": "x", "architecture": "convolutional"}
    write(tmp_path / "baselines", bad, name="broken")
    monkeypatch.setenv("KANBENCH_ROOT", str(tmp_path))
    return tmp_path


def expand(tiny, *methods, **changes):
    tiny["experiments"]["E1"] |= {"methods": list(methods), **changes}
    return plan.expand(config.from_content(tiny, "tiny.yaml"))


@pytest.mark.parametrize("methods", [("mlp", "affine"), ("all",)])
def test_a_bad_description_does_not_block_studies_without_it(beside, tiny, capsys, methods):
    planned = expand(tiny, *methods)
    assert len(planned.runs) == 2
    discovery.warn(planned.refused)
    warned = capsys.readouterr().err
    assert "warning: 'broken' is left out" in warned
    assert "broken/baseline.yaml: colour" in warned


@pytest.mark.parametrize("name", ["broken", "broken-one", "all"])
def test_a_bad_description_blocks_studies_that_use_it(beside, tiny, name):
    changes = {"architecture": "convolutional", "tasks": ["digits"], "axes": {}} if name == "all" else {}
    with pytest.raises(InvalidInput) as caught:
        expand(tiny, "mlp", name, **changes)
    assert [finding.key for finding in caught.value.findings] == ["colour"]


def test_a_description_that_is_no_yaml_blocks_what_it_may_stand_for(beside, tiny):
    (beside / "baselines/broken/baseline.yaml").write_text("label: [")
    with pytest.raises(InvalidInput, match=r"broken/baseline.yaml: line 2"):
        expand(tiny, "all")
    assert len(expand(tiny, "mlp").runs) == 1


def test_verbs_name_the_bad_description_and_go_on(beside, run):
    listed = run([sys.executable, "-m", "kanbench", "list", "methods"], beside)
    assert listed.returncode == 0, listed.stderr
    assert "mlp" in listed.stdout
    assert "broken/baseline.yaml: colour" in listed.stderr
    checked = run([sys.executable, "-m", "kanbench", "check-baseline", "broken"], beside)
    assert checked.returncode == 1
    assert "schema is BROKEN" in checked.stdout
