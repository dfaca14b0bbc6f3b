"""The rules of the contract about what a baseline may touch: imports, names, hooks, files, global state."""

from __future__ import annotations

import ast
import difflib
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kanbench.base import paths
from kanbench.baselines import build
from kanbench.baselines.subject import Subject, require

FORBIDDEN = ("kanbench", "baselines", "paper_figures", "snakemake")
"""Packages that a baseline may not import: the harness, and other baselines."""
NEAR = 0.8
"""Likeness from which the name of a function counts as a misspelt one of the contract."""
BATCH = 6
SEEDS = (104729, 1299709)
"""Two that nobody pins."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGING = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "sqlite3.connect",
)
_STARTING = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec")
_SPARED = ("/dev/null", "/dev/tty", "/proc/")
_written: list[str] | None = None


def imports(subject: Subject) -> None:
    """No file of the folder imports the harness or another baseline."""
    folder = subject.method.baseline.path
    found = []
    for file in sorted(folder.rglob("*.py")):
        for line, name in _imported(ast.parse(file.read_text(encoding="utf-8"))):
            if name.partition(".")[0] in FORBIDDEN:
                found.append(f"{paths.relative(file)}, line {line}: imports {name}")
    require(not found, "; ".join(found))


def _imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of what a file imports, `importlib.import_module("name")` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def names(subject: Subject) -> None:
    """No function of model.py is called almost as one that the harness looks for."""
    check_names(subject.module, build.OFFERS)


def check_names(module: ModuleType, offers: Sequence[str]) -> None:
    """Raise Broken where a function of a module is called almost as one of `offers`."""
    known = {name.replace("_", ""): name for name in offers}
    found = []
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__ and not isinstance(value, type)
        if not own or not callable(value) or name.startswith("_") or name in offers:
            continue
        near = difflib.get_close_matches(name.replace("_", "").lower(), known, n=1, cutoff=NEAR)
        if near:
            found.append(f"'{name}' is never called (did you mean '{known[near[0]]}'?)")
    require(not found, "; ".join(found) + ": correct the name, or begin it with an underscore")


def penalty(subject: Subject) -> None:
    """`penalty(model)` returns one finite real number as a tensor of shape ()."""
    model = subject.model()
    offered = build.hooks(subject.module, model)["penalty"]
    if offered is None:
        return
    found = offered(model)
    require(torch.is_tensor(found), f"it returned a {type(found).__name__}; the loss is a tensor")
    require(found.ndim == 0, f"it has the shape {tuple(found.shape)}; the loss is a scalar, of shape ()")
    require(found.is_floating_point(), f"it is of {found.dtype}, which has no gradient")
    require(bool(torch.isfinite(found)), f"it is {found.item()} for a new model")


def hooks(subject: Subject) -> None:
    """`prepare` and `after_step` can be called as the harness calls them, and leave the batch as it is.

    With the full batch the tensors of a batch are those of the data set itself.
    """
    batch = subject.batch(BATCH)
    before = [part.clone() for part in batch]
    for name, act in _course(subject, batch):
        act()
        for what, part, original in zip(("inputs", "targets"), batch, before, strict=True):
            same = part.shape == original.shape and torch.equal(part, original)
            require(same, f"the {what} of the batch were changed in place: {name}")


def files(subject: Subject) -> None:
    """Building the model, its hooks and a training step write no file anywhere and start no process."""
    subject.module  # noqa: B018 - what importing a package writes, such as a cache of fonts, is not the baseline's
    with tempfile.TemporaryDirectory() as folder, written_in(Path(folder), subject) as shown:
        for _, act in _course(subject, subject.batch(BATCH)):
            act()
    require(not shown, f"written: {', '.join(sorted(shown))}")


@contextmanager
def written_in(folder: Path, subject: Subject) -> Iterator[set[str]]:
    """Collect, by the end of the block, what is written in it; home and temporary folder lie in `folder` meanwhile."""
    own, shown = subject.method.baseline.path, set()
    seen = _files(own)
    with _private(folder), _watched() as written:
        yield shown
        left = _files(folder) | {f"{paths.relative(own)}/{name}" for name in _files(own) - seen}
        shown |= {text.replace(f"{folder}/work/", "").replace(str(folder), "~") for text in written}
        shown |= {name for name in left if not any(name.rpartition("/")[2] in text for text in shown)}


def generators(subject: Subject) -> None:
    """A baseline draws from torch's global generator at most, reseeds none, and leaves torch's switches alone."""
    require(not subject.import_changes, f"importing model.py changes {subject.import_changes}")
    with build.contained_generators():
        drawn: list[dict[str, Tensor]] = []
        for seed in SEEDS:
            drawn.append({})
            for name, act in _course(subject, subject.batch(BATCH), contained=False):
                _seed_all(seed)
                states, switches = _states(), build.switches()
                try:
                    act()
                    changed = build.switched(switches)
                finally:
                    build.restore(switches)
                require(not changed, f"{name} changes {changed}")
                touched = [label for label, state in _states().items() if state != states[label]]
                require(not touched, f"{' and '.join(touched)} touched: {name}")
                drawn[-1][name] = torch.rand(4)
        fixed = [name for name in drawn[0] if torch.equal(drawn[0][name], drawn[1][name])]
        require(not fixed, f"torch's global generator is reseeded, so that all seeds go on alike: {', '.join(fixed)}")


def _seed_all(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - third-party code draws from it
    random.seed(seed)


def _states() -> dict[str, Any]:
    """Return the states of the global generators that a baseline may not draw from, by what a message calls them."""
    numpy = np.random.get_state()  # noqa: NPY002
    return {
        "NumPy's global generator is": (numpy[1].tolist(), numpy[2]),
        "the global generator of `random` is": random.getstate(),
    }


def _course(
    subject: Subject, batch: tuple[Tensor, Tensor], *, contained: bool = True
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield, one after another, the name of a part of a run and what does it: from building to an evaluation.

    Unless `contained`, models are built without protection of the global generators.
    """
    held: dict[str, nn.Module] = {}
    module = subject.module

    def built() -> None:
        if contained:
            held["model"] = subject.model()
        else:
            held["model"] = module.build(subject.problem, build.read_only(subject.settings))

    yield "build", built
    model = held["model"]
    if prepare := build.capability(module, "prepare"):
        yield "prepare", lambda: prepare(model, batch)
    offered: Mapping[str, Callable | None] = build.hooks(module, model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=1e-3)
    losses: list[Tensor] = []
    yield "a forward pass", lambda: losses.append(subject.loss(model, batch))
    if (penalise := offered["penalty"]) is not None:
        yield "penalty", lambda: losses.append(penalise(model))
    scalars = [loss for loss in losses if torch.is_tensor(loss) and loss.requires_grad]
    yield "a backward pass", lambda: sum(loss.sum() for loss in scalars).backward()
    optimiser.step()
    if (after := offered["after_step"]) is not None:
        yield "after_step", lambda: after(model, 1, batch)
    if describe := build.capability(module, "describe"):
        yield "describe", lambda: describe(model)
    yield "an evaluation", lambda: _evaluated(model, batch[0])


def _evaluated(model: nn.Module, x: Tensor) -> None:
    model.eval()
    with torch.no_grad():
        model(x)


@contextmanager
def _private(folder: Path) -> Iterator[None]:
    """Let the working directory, the home and the temporary folder lie in `folder` inside the block."""
    before, chosen = Path.cwd(), tempfile.tempdir
    places = {"HOME": "home", "XDG_CACHE_HOME": "home/.cache", "TMPDIR": "temporary"}
    kept = {name: os.environ.get(name) for name in places}
    for name in ("work", *places.values()):
        (folder / name).mkdir(exist_ok=True)
    os.environ.update({name: str(folder / place) for name, place in places.items()})
    os.chdir(folder / "work")
    tempfile.tempdir = None
    try:
        yield
    finally:
        os.chdir(before)
        tempfile.tempdir = chosen
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _watched() -> Iterator[list[str]]:
    """Collect what is written, made, removed or started through Python inside the block."""
    global _written
    if not getattr(sys, "_kanbench_audited", False):
        sys.addaudithook(_audit)  # it cannot be removed again, so there is one for all
        sys._kanbench_audited = True
    _written = found = []
    try:
        yield found
    finally:
        _written = None


def _audit(event: str, arguments: tuple) -> None:
    if _written is None:
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, int) or not (flags or 0) & _WRITING:
            return
        text = os.fsdecode(path)
    elif event in _CHANGING:
        text = str(arguments[0])
    elif event in _STARTING:
        text = f"the process {arguments[0]}"
    else:
        return
    if not text.startswith(_SPARED) and "__pycache__" not in text:
        _written.append(text)


def _files(folder: Path) -> set[str]:
    """Return the files below a folder; the empty folders of `_private` are none."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found if "__pycache__" not in path.parts}
