"""What is refused before a study starts although only its last steps need it."""

from __future__ import annotations

import pytest
import yaml

from kanbench.base.errors import InvalidInput
from kanbench.pages import recipes
from kanbench.study import early
from kanbench.verdicts import declared


def test_claims_without_their_keys_are_refused_before_the_study(tmp_path):
    content = yaml.safe_load(recipes.claims_file().read_text())
    (tmp_path / "whole.yaml").write_text(yaml.safe_dump(content))
    early.refuse_bad_claims(tmp_path / "whole.yaml")
    claim = next(each for each in content["claims"] if "expect" in each["criterion"])
    del claim["criterion"]["expect"]
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InvalidInput) as refused:
        early.refuse_bad_claims(tmp_path / "bad.yaml")
    with pytest.raises(InvalidInput) as later:
        declared.load(tmp_path / "bad.yaml")
    assert str(refused.value) == str(later.value)
    assert "expect" in str(refused.value)
