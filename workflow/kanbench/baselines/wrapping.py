"""Writes a baseline around a class of an installed package: a torch.nn.Module that takes a list of widths."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import yaml
from torch import nn

from kanbench.base.errors import Finding, InvalidInput
from kanbench.baselines import build, check, depends, scaffold

TRIED = [3, 4, 2]
"""Widths that a class is tried with."""
EXAMPLE = {"family": "classification", "inputs": 784, "outputs": 10}
ALIASES = {
    "grid_size": ("grid_size", "grid", "num_grids", "grid_num", "num_grid", "n_grid"),
    "spline_order": ("spline_order", "k", "order"),
}
"""Standard axes, and what packages call them."""
LEFT_OUT = ("device", "dtype", "seed", "random_state", "generator")
"""Parameters that are not the method's: the harness sets device and dtype, and seeds by the global generators."""
SEEDS = ("seed", "random_state")
SKIPPABLE = {"second_derivatives": "pde"}
"""Rules that only a family of tasks needs; where one is broken the family is skipped, with what was found."""
MOST_CLASSES = 60


@dataclass
class Wrapped:
    """A class that takes widths. `settings` has the plain defaults of its parameters, `arguments` its call."""

    package: str
    kind: type[nn.Module]
    settings: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    axes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def new_baseline(name: str, origin: str, folder: Path | None = None, requirements: str = "") -> Path:
    """Write a baseline around `package` or `package:Class`; return its folder.

    Args:
        name: Of the baseline.
        origin: An importable package, and the class where it has several that take widths.
        folder: Where baselines are; default `baselines/` of the suite.
        requirements: Text of a requirements file, where its runs need an environment of their own.

    Raises:
        InvalidInput: the package cannot be imported, or none of its classes takes widths; the name is refused.
    """
    package, _, chosen = origin.partition(":")
    found = _described(package, _class(package, chosen))

    def fill(draft: Path) -> None:
        draft.mkdir()
        if requirements:
            (draft / "requirements.txt").write_text(requirements, encoding="utf-8")
        (draft / "model.py").write_text(_model(name, found), encoding="utf-8")
        _settle(name, draft, found, bool(requirements))

    return scaffold.place(name, folder, fill)


def _settle(name: str, draft: Path, found: Wrapped, own_environment: bool) -> None:
    """Write the description, and write it again without what the contract finds to be untrue."""
    file = draft / "baseline.yaml"
    file.write_text(_description(name, found, own_environment), encoding="utf-8")
    for result in check.check_baseline(name, draft.parent):
        if result.ok is not False:
            continue
        if result.rule in SKIPPABLE:
            found.skipped[SKIPPABLE[result.rule]] = result.message.splitlines()[0][:120]
        elif result.rule == "axes":
            idle = result.message.partition(" changes nothing")[0].split(", ")
            found.axes = [axis for axis in found.axes if axis not in idle]
    file.write_text(_description(name, found, own_environment), encoding="utf-8")


def _class(package: str, chosen: str) -> type[nn.Module]:
    """Return the class of a package that takes widths, the first of several: those of the package itself come first."""
    module = _imported(package)
    tried = {}
    for kind in _classes(module):
        if chosen in ("", kind.__name__):
            tried[kind] = _refusal(kind)
            if not tried[kind]:
                return kind
    reasons = "; ".join(f"{kind.__name__}: {reason}" for kind, reason in list(tried.items())[:5])
    expected = f"a torch.nn.Module built from widths, such as Class({TRIED}), that maps (batch, 3) to (batch, 2)"
    step = "name it as package:Class, or start from the template and write build() by hand"
    raise InvalidInput([Finding(package, chosen, reasons or "no such class", expected, step)])


def _imported(package: str) -> ModuleType:
    try:
        with build.contained_generators():
            return importlib.import_module(package)
    except Exception as error:
        step = f"install it beside the suite (pip install {package}), or give it an environment with --requirements"
        found = f"{type(error).__name__}: {error}"
        raise InvalidInput([Finding("--from", package, found, "a package that can be imported", step)]) from None


def _classes(module: ModuleType) -> Iterator[type[nn.Module]]:
    """Yield the networks of a package: those that it exports, then those of its modules; names with KAN first."""
    modules = [module]
    for entry in pkgutil.iter_modules(getattr(module, "__path__", [])):
        if not entry.name.startswith(("_", "test")):
            try:
                modules.append(importlib.import_module(f"{module.__name__}.{entry.name}"))
            except Exception:
                continue
    found: dict[type[nn.Module], int] = {}
    for place, each in enumerate(modules):
        for kind in vars(each).values():
            inside = inspect.isclass(kind) and kind.__module__.partition(".")[0] == module.__name__.partition(".")[0]
            if inside and issubclass(kind, nn.Module):
                found.setdefault(kind, place)
    ranked = sorted(found, key=lambda kind: (found[kind] > 0, "kan" not in kind.__name__.lower(), kind.__name__))
    yield from ranked[:MOST_CLASSES]


def _refusal(kind: type[nn.Module], **further: Any) -> str:
    """Return why a class does not take widths, with `further` arguments; nothing where it does."""
    try:
        with build.contained_generators():
            model = kind(list(TRIED), **_quiet(kind), **further)
            outputs = model(torch.rand(7, TRIED[0]) * 2 - 1)
            shape = tuple(outputs.shape)
            if shape != (7, TRIED[-1]):
                return f"outputs of the shape {shape}"
            outputs.sum().backward()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:100]}"
    return ""


def _parameters(kind: type[nn.Module]) -> list[inspect.Parameter]:
    """Return the parameters of a constructor after the widths."""
    named = [each for each in inspect.signature(kind).parameters.values() if each.kind is not each.VAR_POSITIONAL]
    return [each for each in named[1:] if each.kind is not each.VAR_KEYWORD]


def _quiet(kind: type[nn.Module]) -> dict[str, Any]:
    """Return arguments that keep a constructor from compiling anything."""
    return {each.name: False for each in _parameters(kind) if "compile" in each.name and each.default is True}


def _described(package: str, kind: type[nn.Module]) -> Wrapped:
    found = Wrapped(package, kind, {"hidden_width": 32, "depth": 1}, {}, ["hidden_width", "depth"])
    quiet = _quiet(kind)
    for each in _parameters(kind):
        axis = next((axis for axis, names in ALIASES.items() if each.name in names), each.name)
        if each.name in SEEDS and each.default is not each.empty:
            found.arguments[each.name] = "int(torch.randint(2**31 - 1, ()))"
        elif each.name == "grid_range" and isinstance(each.default, (list, tuple)):
            found.arguments[each.name] = f"{type(each.default).__name__}(problem.grid_range)"
        elif each.name not in LEFT_OUT and type(each.default) in (bool, int, float, str) and _plain(axis):
            found.settings[axis] = quiet.get(each.name, each.default)
            found.arguments[each.name] = f'settings["{axis}"]'
            if axis in ALIASES and not _refusal(kind, **{each.name: each.default + 1}):
                found.axes.append(axis)
    return found


def _plain(name: str) -> bool:
    return bool(re.fullmatch(r"[a-z][a-z0-9_]*", name)) and name not in ("hidden_width", "depth")


def _model(name: str, found: Wrapped) -> str:
    version = depends.version(found.package) or "without a version"
    lines = [f"        {key}={value}," for key, value in found.arguments.items()]
    imports = "import torch\n" if any("torch." in line for line in lines) else ""
    return (
        f'"""{found.package} {version} ({name}): say in a sentence what it computes."""\n\n'
        f"{imports}from {found.kind.__module__} import {found.kind.__name__}\nfrom torch import nn\n\n\n"
        "def build(problem, settings) -> nn.Module:\n"
        '    """Return the network: inputs (batch, *problem.input_shape) -> outputs (batch, problem.outputs)."""\n'
        f"    network = {found.kind.__name__}(\n        list(problem.width(settings)),\n"
        + "".join(f"{line}\n" for line in lines)
        + "    )\n    return nn.Sequential(nn.Flatten(), network)\n\n\n"
        "def describe(model: nn.Module) -> dict[str, str]:\n"
        '    """Return which package ran."""\n'
        f'    return {{"implementation": "{found.package} {version}, upstream package"}}\n'
    )


def _description(name: str, found: Wrapped, own_environment: bool) -> str:
    tasks: dict[str, Any] = {"function_fitting": {"settings": {"hidden_width": 5, "depth": 3}}}
    tasks["pde"] = {"settings": {"hidden_width": 128, "depth": 3}}
    tasks |= {family: {"skip": reason} for family, reason in found.skipped.items()}
    content = {
        "label": found.kind.__name__ if found.kind.__name__ != "KAN" else found.package,
        "cite": _citation(name, found.package),
        "axes": found.axes,
        "settings": found.settings,
        "tasks": tasks,
        "requires": [found.package.partition(".")[0]],
        **({"environment": "requirements.txt"} if own_environment else {}),
        "example": {"problem": EXAMPLE, "settings": {}, "trainable_parameters": _count(found)},
    }
    head = f"# {found.package}: correct label and citation, then see `baselines/_template` for what else.\n"
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _count(found: Wrapped) -> int:
    """Return the trainable parameters of the example, counted."""
    given = {}
    for key, text in found.arguments.items():
        setting = re.fullmatch(r'settings\["(\w+)"\]', text)
        if setting:
            given[key] = found.settings[setting[1]]
    with build.contained_generators():
        model = found.kind([EXAMPLE["inputs"], found.settings["hidden_width"], EXAMPLE["outputs"]], **given)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _citation(name: str, package: str) -> dict[str, str]:
    """Return key, address and licence as the package declares them."""
    declared: Mapping[str, Any] = {}
    for distribution in metadata.packages_distributions().get(package.partition(".")[0], ()):
        declared = metadata.metadata(distribution).json
    pages = [entry.partition(", ")[2] for entry in declared.get("project_url", ())]
    page = next((url for url in (declared.get("home_page"), *pages) if url and url.startswith("http")), None)
    licence = str(declared.get("license_expression") or declared.get("license") or "").partition("\n")[0]
    return {
        "key": name,
        "url": page or "https://example.org",
        **({"licence": licence} if 0 < len(licence) < 40 else {}),
    }
