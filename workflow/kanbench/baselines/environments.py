"""Environments of their own for baselines whose packages do not go with those of the suite.

A baseline names a file of requirements (`environment` in `baseline.yaml`). `build` makes a virtual environment that has
them beside the packages of the suite, which it sees and which it can shadow; its place is named after what is asked
for, so that a changed file is another environment. Runs of the baseline are made by its Python. Free of torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from kanbench.base import paths
from kanbench.base.atomic import write_text
from kanbench.base.errors import Finding, InvalidInput, Unavailable
from kanbench.baselines.discovery import Baseline

FOLDER = "results/environments"
INSTALLED = "installed.json"
"""What an environment says of itself, written last: one without it is not finished."""
LAST_LINES = 4


def place(requirements: str) -> Path:
    """Return where the environment of a requirements text is, for this version of Python."""
    asked = f"{sys.version_info.major}.{sys.version_info.minor}\n{requirements}"
    return paths.root() / FOLDER / hashlib.sha256(asked.encode()).hexdigest()[:12]


def requirements(baseline: Baseline) -> str:
    """Return the text of a baseline's requirements. Raises InvalidInput where the file cannot be read."""
    file = baseline.path / baseline.environment
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        step = f"write it, or remove `environment` from {baseline.file}"
        found = Finding(paths.relative(file), "", str(error), "requirements, one a line", step)
        raise InvalidInput([found]) from None


def of(baseline: Baseline) -> Path | None:
    """Return where the environment of a baseline is or will be; None where it has none of its own."""
    return place(requirements(baseline)) if baseline.environment else None


def python(environment: Path) -> Path:
    """Return the interpreter of an environment."""
    return environment / "bin" / "python"


def command(baseline: Baseline) -> str:
    """Return the Python of the workflow's rules that makes the runs of a baseline."""
    own = of(baseline)
    return "python" if own is None else f"{FOLDER}/{own.name}/bin/python"


def proof(baseline: Baseline) -> list[str]:
    """Return the file that the workflow has where the environment of a baseline is built; none without one."""
    own = of(baseline)
    return [] if own is None else [f"{FOLDER}/{own.name}.txt"]


def installed(environment: Path) -> dict[str, str] | None:
    """Return the versions of what an environment has beside the suite, by name; None where it is not finished."""
    try:
        return json.loads((environment / INSTALLED).read_text(encoding="utf-8"))["installed"]
    except (OSError, ValueError, LookupError):
        return None


def site(environment: Path) -> Path:
    """Return the folder of packages of an environment."""
    scheme = {"base": str(environment), "platbase": str(environment)}
    return Path(sysconfig.get_path("purelib", "venv" if os.name == "posix" else None, vars=scheme))


def build(text: str, *, label: str) -> Path:
    """Make the environment of a requirements text, where it is not there; return its folder.

    Args:
        text: As pip reads it.
        label: What messages call the requirements.

    Raises:
        InvalidInput: pip cannot install them; the message has its last lines.
    """
    target = place(text)
    if installed(target) is not None:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as temporary:
        draft = Path(temporary) / target.name
        _run([sys.executable, "-m", "venv", str(draft)], label)
        packages = site(draft)
        (packages / "of_the_suite.pth").write_text("".join(f"{line}\n" for line in _suite()), encoding="utf-8")
        file = Path(temporary) / "requirements.txt"
        file.write_text(text, encoding="utf-8")
        options = ["--disable-pip-version-check", "--no-input", "--quiet", "--requirement", str(file)]
        _run([str(python(draft)), "-m", "pip", "install", *options], label)
        own = sorted((each.name, each.version) for each in metadata.distributions(path=[str(packages)]))
        found = {name: version for name, version in own if name not in ("pip", "setuptools")}
        content = {"requirements": text.splitlines(), "installed": found}
        write_text(draft / INSTALLED, json.dumps(content, indent=1, sort_keys=True) + "\n")
        if target.exists():
            shutil.rmtree(target)
        draft.rename(target)
    return target


def _suite() -> Iterable[str]:
    """Return the lines that let an environment see the packages of this one, after its own."""
    for folder in dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")):
        yield f"import site; site.addsitedir({folder!r})"
    for folder in sys.path:
        if folder.endswith(("site-packages", "dist-packages")) and Path(folder).is_dir():
            yield folder


def _run(command: list[str], label: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""})
    if done.returncode:
        last = " | ".join((done.stderr or done.stdout).strip().splitlines()[-LAST_LINES:])
        step = "correct the requirements; the registry must be within reach"
        raise InvalidInput([Finding(label, "", last, "requirements that pip can install", step)])


def enter(baseline: Baseline, arguments: list[str]) -> None:
    """Go on in the environment of a baseline with `python -m kanbench <arguments>`, unless this is it.

    Raises:
        Unavailable: it has not been built.
    """
    environment = of(baseline)
    if environment is None or Path(sys.prefix).resolve() == environment.resolve():
        return
    if installed(environment) is None:
        step = f"python -m kanbench environment {baseline.name}"
        raise Unavailable(f"{baseline.name} has an environment of its own, which is not built\n  next: {step}")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(python(environment), [str(python(environment)), "-m", "kanbench", *arguments])


def noted(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record that names what the environment of this process has beside the suite, if it is one."""
    found = installed(Path(sys.prefix))
    if found is not None and record["environment"] is not None:
        record["environment"] = {**record["environment"], "installed": found}
    return record
