"""Fixtures that every test may use."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["record_fixtures", "report_page"]

ROOT = Path(__file__).resolve().parents[1]
SUITE = (
    "Snakefile",
    "profiles",
    "workflow",
    "baselines",
    "metakan",
    "paper_figures",
    "environment.yml",
    "pyproject.toml",
)

TINY = {
    "study": "tiny",
    "published": False,
    "configuration": "controlled",
    "seeds": [0],
    "experiments": {
        "E1": {
            "title": "Function fitting",
            "tasks": [
                {
                    "name": "feynman",
                    "settings": {
                        "formula": "I.6.20a",
                        "train_samples": 32,
                        "validation_samples": 16,
                        "test_samples": 16,
                    },
                }
            ],
            "methods": ["mlp", "affine"],
            "axes": {"hidden_width": 2, "depth": 1},
            "training": {"optimiser": "adam", "learning_rate": 0.01, "steps": 4, "evaluations": 2},
        }
    },
}


def pytest_collection_modifyitems(items):
    import torch

    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="torch finds no GPU here; run `make test-gpu` where there is one"))


@pytest.fixture(autouse=True, scope="module")
def nothing_left_behind():
    """Fail where the tests of a file leave something new at the top of the repository."""
    before = {path.name for path in ROOT.iterdir()}
    yield
    left = {path.name for path in ROOT.iterdir()} - before - {".pytest_cache", ".snakemake", ".hypothesis", "results"}
    assert not left, f"left in the repository: {sorted(left)}"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """Work in a folder of the test's own; the suite is still the one of this checkout."""
    monkeypatch.setenv("KANBENCH_ROOT", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny() -> dict:
    """A valid study of two quick runs, free to be changed."""
    return copy.deepcopy(TINY)


@pytest.fixture
def spec(tiny) -> dict:
    """The spec of one quick run of the MLP."""
    from kanbench.study import config, plan

    runs = plan.expand(config.from_content(tiny, "tiny.yaml")).runs.values()
    return copy.deepcopy(next(run.spec for run in runs if run.spec["method"]["name"] == "mlp"))


def copied(folder: Path) -> Path:
    for name in SUITE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


@pytest.fixture
def suite(tmp_path) -> Path:
    """A copy of the suite's own files, to be changed and run in."""
    return copied(tmp_path)


@pytest.fixture(scope="session")
def shared_suite(tmp_path_factory) -> Path:
    """A copy of the suite's own files that is not to be changed, only planned in."""
    return copied(tmp_path_factory.mktemp("suite"))


@pytest.fixture
def run():
    """Run a command in a folder with the suite of that folder on the path; return the finished process.

    `packages` are further folders of the suite on Python's path.
    """

    def _run(command: list[str], folder: Path, packages=(), **options) -> subprocess.CompletedProcess:
        path = [folder, folder / "workflow", *(folder / each for each in packages)]
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "KANBENCH_ROOT": str(folder),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, **options)

    return _run
