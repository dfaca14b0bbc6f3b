"""Discovery: what is a baseline, what is refused and in which words, and how settings are resolved."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from kanbench.base import paths
from kanbench.base.errors import InvalidInput
from kanbench.baselines import depends, discovery

GOOD = {
    "label": "Good",
    "cite": {"key": "someone2020", "url": "https://example.org"},
    "axes": ["hidden_width", "depth"],
    "settings": {
        "hidden_width": 8,
        "depth": 1,
        "rate": 0.5,
        "kind": {"default": "a", "schema": {"enum": ["a", "b"]}, "help": "which"},
    },
    "variants": {"one": {"label": "One", "settings": {}}, "two": {"label": "Two", "settings": {"kind": "b"}}},
    "tasks": {"function_fitting": {"settings": {"hidden_width": 3}}, "pde": {"skip": "not smooth"}},
    "example": {
        "problem": {"family": "classification", "inputs": 4, "outputs": 2},
        "settings": {},
        "trainable_parameters": 5,
    },
}


@pytest.fixture
def good() -> dict:
    return copy.deepcopy(GOOD)


def write(folder: Path, content, name: str = "good", model: bool = True) -> Path:
    target = folder / name
    target.mkdir(parents=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (target / "baseline.yaml").write_text(text)
    if model:
        (target / "model.py").write_text("")
    return folder


def refusal(folder: Path) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        discovery.discover(folder)
    return caught.value


def refused(folder: Path, content, **options) -> dict[str, object]:
    """Return the findings by key."""
    return {finding.key: finding for finding in refusal(write(folder, content, **options)).findings}


def test_the_suite_has_its_baselines_and_methods():
    found = discovery.discover()
    assert set(found) >= {"mlp", "affine", "pykan", "efficient_kan", "metakan", "metakan_released", "tiled_kan"}
    assert list(found) == sorted(found)
    assert not any(name.startswith("_") for name in found)
    methods = [method for baseline in found.values() for method in baseline.methods.values()]
    assert {"mlp", "metakan-relu", "metakan-linear", "pykan-default", "pykan-fast"} <= {m.name for m in methods}
    assert len({method.label for method in methods}) == len(methods), "two rows of a table would have one name"


def test_a_variant_is_a_method_of_its_own(tmp_path, good):
    found = discovery.discover(write(tmp_path, good))["good"]
    assert list(found.methods) == ["good-one", "good-two"]
    method = found.methods["good-two"]
    assert (method.baseline, method.variant, method.label) == (found, "two", "Two")
    assert method.settings == {"hidden_width": 8, "depth": 1, "rate": 0.5, "kind": "b"}
    assert (method.axes, method.cite["key"]) == (("hidden_width", "depth"), "someone2020")
    assert method.skip_reason("pde") == "not smooth"
    assert method.skip_reason("classification") is None
    assert found.help == {"kind": "which"}


def test_a_baseline_without_variants_is_one_method(tmp_path, good):
    del good["variants"]
    assert list(discovery.discover(write(tmp_path, good))["good"].methods) == ["good"]


def test_folders_that_are_no_baselines_are_passed_over(tmp_path, good):
    write(tmp_path, good)
    write(tmp_path, "label: 3", name="_draft")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").write_text("")
    assert list(discovery.discover(tmp_path)) == ["good"]
    assert discovery.discover(tmp_path / "absent") == {}


def test_an_edited_description_is_read_again(tmp_path, good):
    write(tmp_path, good)
    first = discovery.discover(tmp_path)["good"]
    assert discovery.discover(tmp_path)["good"] is first
    (tmp_path / "good/baseline.yaml").write_text(yaml.safe_dump({**good, "label": "Longer name"}))
    assert discovery.discover(tmp_path)["good"].label == "Longer name"


def test_misspelt_keys_name_the_nearest_one(tmp_path, good):
    good["sorces"] = ["metakan"]
    good["cite"]["licens"] = "MIT"
    good["variants"]["one"]["lable"] = "?"
    good["tasks"]["pdes"] = {"skip": "?"}
    good["settings"]["kind"]["defualt"] = "a"
    found = refused(tmp_path, good)
    for key, near in (
        ("sorces", "sources"),
        ("cite.licens", "licence"),
        ("variants.one.lable", "label"),
        ("tasks.pdes", "pde"),
        ("settings.kind.defualt", "default"),
    ):
        assert f"did you mean '{near}'?" in found[key].expected, key
        assert found[key].next_step == "rename or remove the key"
    assert len(found) == 5


def test_unknown_names_name_the_nearest_one(tmp_path, good):
    good["axes"].append("grid_sise")
    good["variants"]["two"]["settings"]["knid"] = "b"
    good["tasks"]["function_fitting"]["settings"]["hiden_width"] = 3
    good["example"]["settings"]["dpth"] = 1
    good["example"]["variants"] = {"tow": 3}
    good["example"]["problem"]["family"] = "clasification"
    good["sources"] = ["metakann"]
    found = refused(tmp_path, good)
    for key, near in (
        ("axes.2", "grid_size"),
        ("variants.two.settings.knid", "kind"),
        ("tasks.function_fitting.settings.hiden_width", "hidden_width"),
        ("example.settings.dpth", "depth"),
        ("example.variants.tow", "two"),
        ("example.problem.family", "classification"),
        ("sources", "metakan"),
    ):
        assert f"did you mean '{near}'?" in found[key].expected, key
    assert len(found) == 7


def test_values_that_do_not_fit_say_what_would(tmp_path, good):
    good["settings"]["kind"]["default"] = "c"
    good["settings"]["depth"] = -1
    good["variants"]["two"]["settings"].update(hidden_width="wide", rate=True)
    good["tasks"]["classification"] = {"settings": {"hidden_width": 0}}
    found = refused(tmp_path, good)
    expected = {
        "settings.kind": "one of a, b",
        "settings.depth": "at least 0",
        "variants.two.settings.hidden_width": "a value of type integer",
        "variants.two.settings.rate": "a value of type number",
        "tasks.classification.settings.hidden_width": "at least 1",
    }
    assert {key: finding.expected for key, finding in found.items()} == expected


def test_an_axis_needs_a_setting(tmp_path, good):
    good["axes"].append("grid_size")
    finding = refused(tmp_path, good)["axes"]
    assert finding.found == "'grid_size' is no setting"
    assert finding.next_step == "add 'grid_size' to settings, or remove it from axes"


def test_an_example_needs_its_count(tmp_path, good):
    del good["example"]["trainable_parameters"]
    assert refused(tmp_path, good)["example"].found == "no key 'trainable_parameters'"


def test_a_family_is_either_set_or_skipped(tmp_path, good):
    good["tasks"]["pde"]["settings"] = {}
    assert list(refused(tmp_path, good)) == ["tasks.pde"]


def test_a_bad_schema_of_a_setting_is_reported(tmp_path, good):
    good["settings"]["kind"]["schema"] = {"type": "txt"}
    assert refused(tmp_path, good)["settings.kind.schema"].expected == "a JSON Schema"


def test_model_and_description_belong_together(tmp_path, good):
    write(tmp_path, good, model=False)
    (tmp_path / "half").mkdir()
    (tmp_path / "half/model.py").write_text("")
    (tmp_path / "half/baseline.yml").write_text("label: x")
    findings = refusal(tmp_path).findings
    assert [(Path(f.file).name, f.found) for f in findings] == [
        ("model.py", "no such file"),
        ("baseline.yaml", "no such file, but baseline.yml"),
    ]


@pytest.mark.parametrize("name", ["Upper", "with-dash", "class", "9lives"])
def test_names_that_would_not_work_are_refused(tmp_path, good, name):
    (finding,) = refusal(write(tmp_path, good, name=name)).findings
    assert finding.found == f"the name '{name}'"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("label: [1, 2", "did not find expected ',' or ']'"),
        ("label: a\nlabel: b\n", "the key 'label' is written twice"),
        ("", "None"),
        ("- label", "['label']"),
    ],
)
def test_text_that_is_no_mapping_is_refused(tmp_path, text, found):
    (finding,) = refusal(write(tmp_path, text)).findings
    assert finding.found == found


def test_wrong_types_everywhere_are_reported_without_a_crash(tmp_path):
    content = {key: 3 for key in GOOD}
    found = refused(tmp_path, content)
    assert set(found) == set(GOOD)
    assert found["settings"].expected == "a value of type object"
    assert found["axes"].expected == "a value of type array"


def test_all_problems_of_all_folders_come_together(tmp_path, good):
    broken = copy.deepcopy(good)
    broken["lable"] = broken.pop("label")
    broken["variants"]["one"]["settings"] = {"knid": "a"}
    write(tmp_path, broken, name="first")
    write(tmp_path, broken, name="second", model=False)
    error = refusal(tmp_path)
    assert len(error.findings) == 7
    assert str(error).startswith("7 problems found:")
    for text in ("first/baseline.yaml: lable", "second/baseline.yaml: lable", "no key 'label'", "second/model.py"):
        assert text in str(error)
    assert all(f.file and f.found and f.expected and f.next_step for f in error.findings)


def test_settings_resolve_from_default_over_variant_and_family_to_override(tmp_path, good):
    method = discovery.discover(write(tmp_path, good))["good"].methods["good-two"]
    assert discovery.resolve(method, "classification", {})["hidden_width"] == 8
    assert discovery.resolve(method, "function_fitting", {})["hidden_width"] == 3
    resolved = discovery.resolve(method, "function_fitting", {"hidden_width": 6, "kind": "a", "grid_size": 5})
    assert resolved == {"hidden_width": 6, "depth": 1, "rate": 0.5, "kind": "a"}, (
        "an axis that does not apply is dropped"
    )


def test_equal_numbers_resolve_to_equal_settings(tmp_path, good):
    method = discovery.discover(write(tmp_path, good))["good"].methods["good-one"]
    resolved = discovery.resolve(method, "classification", {"rate": 1, "depth": 2.0})
    assert (repr(resolved["rate"]), repr(resolved["depth"])) == ("1.0", "2")


def test_unknown_and_bad_overrides_are_refused_together(tmp_path, good):
    method = discovery.discover(write(tmp_path, good))["good"].methods["good-one"]
    with pytest.raises(InvalidInput) as caught:
        discovery.resolve(method, "classification", {"knd": "a", "kind": "c", "depth": 1.5})
    found = {finding.key: finding.expected for finding in caught.value.findings}
    assert found == {
        "knd": "one of depth, hidden_width, kind, rate (did you mean 'kind'?)",
        "kind": "one of a, b",
        "depth": "a value of type integer",
    }


def test_a_limit_is_refused_where_it_applies(tmp_path, good):
    good["limits"] = [
        {"setting": "depth", "at_most": 2, "when": {"kind": "b"}, "reason": "two rows"},
        {"setting": "hidden_width", "at_most": "depth", "when": {"rate": 0.1}},
    ]
    methods = discovery.discover(write(tmp_path, good))["good"].methods
    assert discovery.resolve(methods["good-one"], "classification", {"depth": 3})["depth"] == 3
    with pytest.raises(InvalidInput) as caught:
        discovery.resolve(methods["good-two"], "classification", {"depth": 3, "rate": 0.1})
    assert [(f.key, f.found, f.expected) for f in caught.value.findings] == [
        ("depth", "3", "at most 2 where kind is b (two rows)"),
        ("hidden_width", "8", "at most depth, which is 3 where rate is 0.1"),
    ]


def test_one_meta_learner_a_layer_can_be_asked_for():
    method = discovery.discover()["metakan"].methods["metakan-relu"]
    assert discovery.resolve(method, "classification", {"num_clusters": "per_layer"})["num_clusters"] == "per_layer"
    with pytest.raises(InvalidInput, match=r"per_layr"):
        discovery.resolve(method, "classification", {"num_clusters": "per_layr"})


def test_code_files_are_the_folder_and_the_python_files_of_the_sources():
    found = discovery.discover()
    names = [paths.relative(path) for path in depends.code_files(found["metakan"])]
    assert names == sorted(names)
    assert {"baselines/metakan/baseline.yaml", "baselines/metakan/model.py", "metakan/__init__.py"} <= set(names)
    assert not any("__pycache__" in name or name.endswith(".pyc") for name in names)
    mlp = [paths.relative(path) for path in depends.code_files(found["mlp"])]
    assert mlp == ["baselines/mlp/baseline.yaml", "baselines/mlp/model.py"]


def test_limits_between_settings_hold_and_name_settings(tmp_path, good):
    good["limits"] = [{"setting": "hidden_width", "at_most": "depth", "plus": 2}]
    method = discovery.discover(write(tmp_path / "first", good))["good"].methods["good-one"]
    assert discovery.resolve(method, "classification", {"depth": 6})["hidden_width"] == 8
    with pytest.raises(InvalidInput) as caught:
        discovery.resolve(method, "classification", {"depth": 5})
    (finding,) = caught.value.findings
    assert (finding.key, finding.found, finding.expected) == ("hidden_width", "8", "at most depth + 2, which is 7")
    good["limits"] += [{"setting": "depth", "at_least": 2, "when": {"kind": "b"}}]
    method = discovery.discover(write(tmp_path / "least", good))["good"].methods["good-two"]
    with pytest.raises(InvalidInput) as caught:
        discovery.resolve(method, "classification", {"depth": 1, "hidden_width": 3})
    (finding,) = caught.value.findings
    assert (finding.key, finding.found, finding.expected) == ("depth", "1", "at least 2 where kind is b")
    assert finding.next_step == "raise depth"
    assert discovery.resolve(method, "classification", {"depth": 2, "hidden_width": 3})["depth"] == 2
    good["limits"].append({"setting": "hidden_wide", "at_most": "depth", "when": {"knd": "b"}})
    found = refused(tmp_path / "second", good)
    assert "hidden_width" in found["limits.2.setting"].expected
    assert "'kind'" in found["limits.2.when.knd"].expected
