"""The template: a copy keeps the contract as it is, and takes no name that would not work."""

from __future__ import annotations

import pytest

from kanbench.base.errors import InvalidInput
from kanbench.baselines import check, discovery, scaffold


def test_a_new_baseline_keeps_the_contract_as_it_is(tmp_path):
    folder = scaffold.new_baseline("my_kan", tmp_path)
    assert folder == tmp_path / "my_kan"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my_kan"]
    assert sorted(path.name for path in folder.iterdir()) == ["baseline.yaml", "model.py"]
    results = check.check_baseline("my_kan", tmp_path)
    assert [result.rule for result in results] == ["schema", *check.RULES]
    assert [result for result in results if not result.ok] == []


def test_the_name_is_filled_in(tmp_path):
    scaffold.new_baseline("my_kan", tmp_path)
    found = discovery.discover(tmp_path)["my_kan"]
    assert (found.label, found.cite["key"]) == ("my_kan", "my_kan")
    for file in found.path.iterdir():
        text = file.read_text()
        assert "my_kan" in text
        assert scaffold.PLACEHOLDER not in text


def test_what_the_template_offers_in_comments_is_valid(tmp_path):
    file = scaffold.new_baseline("my_kan", tmp_path) / "baseline.yaml"
    required, optional, example = file.read_text().partition("# variants:")[0], file.read_text(), "# One small instance"
    commented = optional[len(required) : optional.index(example)]
    offered = "\n".join(line.removeprefix("# ") for line in commented.splitlines())
    file.write_text(required + offered + optional[optional.index(example) :])
    found = discovery.discover(tmp_path)["my_kan"]
    assert list(found.methods) == ["my_kan-smooth", "my_kan-saturating"]
    assert found.requires == ("some_package",)
    assert found.sources == ("metakan",)


def test_a_taken_name_is_refused(tmp_path):
    scaffold.new_baseline("my_kan", tmp_path)
    with pytest.raises(InvalidInput, match="exists already"):
        scaffold.new_baseline("my_kan", tmp_path)


@pytest.mark.parametrize("name", ["My_kan", "my-kan", "_hidden", "1kan", "", "import", "../escape", "a/b"])
def test_a_name_that_would_not_work_is_refused(tmp_path, name):
    with pytest.raises(InvalidInput, match="lower case letters"):
        scaffold.new_baseline(name, tmp_path)
    assert list(tmp_path.iterdir()) == []
