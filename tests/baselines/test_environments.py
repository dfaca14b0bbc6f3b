"""Environments of their own, from a wheel that the test writes: no registry is asked."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from kanbench.base.errors import InvalidInput, Unavailable
from kanbench.baselines import depends, discovery, environments

MODEL = "from toy_kan import Net\n\n\ndef build(problem, settings):\n    return Net(list(problem.width(settings)))\n"


CODE = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self, widths):
        super().__init__(nn.Linear(widths[0], widths[1]), nn.Tanh(), nn.Linear(widths[1], widths[-1]))
"""
INSIDE = """
import json, sys
from pathlib import Path
import torch, toy_kan
from kanbench.baselines import depends, discovery
baseline, _ = discovery.read(Path(sys.argv[1]))
print(json.dumps([torch.__version__, toy_kan.__file__, depends.packages(baseline)]))
"""
"""What a program in the environment sees."""


def wheel(place: Path, version: str = "1.0") -> Path:
    """Write a package with one network that takes widths; return the wheel."""
    file, info = place / f"toy_kan-{version}-py3-none-any.whl", f"toy_kan-{version}.dist-info"
    texts = {
        "METADATA": f"Metadata-Version: 2.1\nName: toy-kan\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "top_level.txt": "toy_kan\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("toy_kan/__init__.py", CODE)
        for name, text in texts.items():
            archive.writestr(f"{info}/{name}", text)
    return file


@pytest.fixture
def asking(tmp_path, monkeypatch) -> Path:
    """A suite of one baseline whose package is in a wheel; nothing of it is installed."""
    monkeypatch.setenv("KANBENCH_ROOT", str(tmp_path))
    place = tmp_path / "baselines/toy"
    place.mkdir(parents=True)
    content = {
        "label": "Toy",
        "cite": {"key": "hastie2009", "url": "https://example.org"},
        "axes": ["hidden_width"],
        "settings": {"hidden_width": 4, "depth": 1},
        "requires": ["toy_kan"],
        "environment": "requirements.txt",
        "example": {
            "problem": {"family": "function_fitting", "inputs": 2, "outputs": 1},
            "settings": {},
            "trainable_parameters": 17,
        },
    }
    (place / "baseline.yaml").write_text(yaml.safe_dump(content))
    (place / "model.py").write_text(MODEL)
    (place / "requirements.txt").write_text(f"toy-kan @ {wheel(tmp_path).as_uri()}\n")
    return place


@pytest.mark.slow
def test_an_environment_has_what_was_asked_for_beside_the_suite(asking):
    baseline = discovery.read(asking)[0]
    place = environments.of(baseline)
    assert depends.packages(baseline) == {"toy_kan": None}, "not built yet"
    with pytest.raises(Unavailable, match="python -m kanbench environment toy"):
        environments.enter(baseline, ["train"])
    built = environments.build(environments.requirements(baseline), label="requirements.txt")
    assert built == place
    assert environments.installed(place) == {"toy-kan": "1.0"}
    found = depends.packages(baseline)["toy_kan"]
    assert found["version"] == "1.0"
    line = [environments.python(place), "-c", INSIDE, asking]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    torch_version, file, inside = json.loads(done.stdout)
    import torch

    assert torch_version == torch.__version__, "torch is that of the suite"
    assert Path(file).is_relative_to(place)
    assert inside == {"toy_kan": found}, "the plan and the run see the same package"
    before = (place / environments.INSTALLED).stat().st_mtime_ns
    environments.build(environments.requirements(baseline), label="requirements.txt")
    assert (place / environments.INSTALLED).stat().st_mtime_ns == before, "it is built once"


def test_other_requirements_are_another_environment(asking, tmp_path):
    first = environments.of(discovery.read(asking)[0])
    (asking / "requirements.txt").write_text(f"toy-kan @ {wheel(tmp_path, '2.0').as_uri()}\n")
    assert environments.of(discovery.read(asking)[0]) != first
    (asking / "requirements.txt").unlink()
    (problem,) = discovery.read(asking)[1]
    assert (problem.key, problem.found) == ("environment", "no file requirements.txt")


@pytest.mark.slow
def test_what_pip_cannot_install_is_said_and_leaves_nothing(asking):
    text = "toy-kan @ file:///nowhere/toy_kan-1.0-py3-none-any.whl\n"
    with pytest.raises(InvalidInput, match="nowhere"):
        environments.build(text, label="baselines/toy/requirements.txt")
    assert not environments.place(text).exists()
    assert not any(environments.place(text).parent.iterdir())


def test_a_baseline_without_one_runs_in_the_python_of_the_workflow(asking):
    baseline = discovery.read(asking)[0]
    place = environments.of(baseline)
    assert environments.command(baseline) == f"results/environments/{place.name}/bin/python"
    assert environments.proof(baseline) == [f"results/environments/{place.name}.txt"]
    content = yaml.safe_load((asking / "baseline.yaml").read_text())
    del content["environment"]
    (asking / "baseline.yaml").write_text(yaml.safe_dump(content))
    plain = discovery.read(asking)[0]
    assert (environments.command(plain), environments.proof(plain), environments.of(plain)) == ("python", [], None)
    environments.enter(plain, ["train"])
