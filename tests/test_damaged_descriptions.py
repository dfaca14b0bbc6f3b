"""A thousand random changes each of studies, descriptions of baselines and claims: findings, or a valid file."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import yaml
from mutations import damaged

from kanbench.base.errors import InvalidInput
from kanbench.baselines import discovery
from kanbench.study import config, plan
from kanbench.verdicts import declared

ROOT = Path(__file__).resolve().parents[1]
COUNT = 1000
FAMILIES = ("function_fitting", "classification", "pde")


def outcomes(texts, file: Path, read) -> tuple[int, int]:
    """Return how many damaged files were refused and accepted; any other exception fails with what caused it."""
    refused = accepted = 0
    for text in texts:
        file.write_bytes(text)
        try:
            read()
            accepted += 1
        except InvalidInput as error:
            refused += bool(error.findings and str(error))
        except BaseException as error:
            error.add_note(text.decode("utf-8", "replace")[:20000])
            raise
    return refused, accepted


def study(tiny) -> bytes:
    """Return a small study that uses most keys there are."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text(encoding="utf-8"))
    return yaml.safe_dump({**smoke, "experiments": {**tiny["experiments"], "E9": _many_keys()}}).encode()


def _many_keys() -> dict:
    return {
        "title": "Many keys",
        "tasks": ["poisson", {"name": "digits", "settings": {"test_fraction": [0.1, 0.2]}}],
        "methods": [{"name": "metakan-relu", "settings": {"prompt_dim": [1, 2]}, "training": {"epochs": 2}}, "mlp"],
        "axes": {"grid_size": [3, 5], "hidden_width": 4},
        "training": {"steps": 3, "learning_rate": [0.1, 0.01], "groups": {"prompts": {"weight_decay": 0.1}}},
        "seeds": [0, 1],
        "analyses": {"prompts": {}},
        "source": {"experiment": "E1", "adapt": ["frozen"]},
    }


def test_damaged_studies_end_in_findings(tmp_path, tiny):
    file = tmp_path / "study.yaml"

    def read():
        for run in plan.expand(config.load(file)).runs.values():
            json.loads(run.text)

    refused, accepted = outcomes(damaged(study(tiny), COUNT, 1), file, read)
    assert refused + accepted == COUNT
    assert refused > COUNT / 2


def test_damaged_descriptions_end_in_findings(tmp_path):
    folder = tmp_path / "guest"
    folder.mkdir()
    (folder / "model.py").write_text("")
    files = sorted((ROOT / "baselines").glob("[!_]*/baseline.yaml"))

    def read():
        baseline, problems = discovery.read(folder)
        if problems:
            raise InvalidInput(problems)
        for method in baseline.methods.values():
            for family in FAMILIES:
                json.dumps(discovery.resolve(method, family, {}), allow_nan=False)
            json.dumps(discovery.resolve(method, baseline.example["problem"]["family"], baseline.example["settings"]))

    texts = (text for n, file in enumerate(files) for text in damaged(file.read_bytes(), COUNT // len(files) + 1, n))
    refused, accepted = outcomes(texts, folder / "baseline.yaml", read)
    assert refused + accepted >= COUNT
    assert refused > COUNT / 4


def test_damaged_claims_end_in_findings(tmp_path):
    content = yaml.safe_load((ROOT / "paper_figures/claims.yaml").read_text(encoding="utf-8"))
    content["claims"] = random.Random(0).sample(content["claims"], 12)
    file = tmp_path / "claims.yaml"
    texts = damaged(yaml.safe_dump(content, sort_keys=False).encode(), COUNT, 2)
    refused, accepted = outcomes(texts, file, lambda: declared.load(file))
    assert refused + accepted == COUNT
    assert refused > COUNT / 4


@pytest.mark.parametrize("seed", range(3))
def test_damage_is_the_same_every_time_and_changes_the_file(seed):
    content = (ROOT / "baselines/mlp/baseline.yaml").read_bytes()
    first = list(damaged(content, 20, seed))
    assert first == list(damaged(content, 20, seed))
    assert sum(text != content for text in first) >= 18
