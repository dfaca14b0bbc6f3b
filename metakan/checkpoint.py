"""Meta-learners in a file: tensors, sizes and provenance, without pickled code."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from . import checks
from .layer import MetaEdges
from .meta_learner import MetaLearner

FORMAT = "metakan.meta_learner"
VERSION = 2
"""Version 1 names no grid range and has no digest."""
MOST_BYTES = 2**28
SETTINGS = {"prompt_dim", "hidden_dim", "numbers", "activation", "init", "gains", "basis"}
"""Beside them there may be `separate`."""


def _learners(model: nn.Module) -> list[MetaLearner]:
    """Return the distinct meta-learners of a model, in the order of its modules."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"save_meta_learner: found a {type(model).__name__}, expected a MetaLearner or a model that has one"
        )
    found: dict[int, MetaLearner] = {}
    for module in model.modules():
        if isinstance(module, MetaLearner):
            found.setdefault(id(module), module)
        elif isinstance(module, MetaEdges):
            found.setdefault(id(module.meta_learner), module.meta_learner)
    if not found:
        raise ValueError(f"save_meta_learner: found no MetaLearner in {type(model).__name__}, expected at least one")
    return list(found.values())


def save_meta_learner(model: nn.Module, path: str | Path, provenance: Mapping[str, object] | None = None) -> None:
    """Save the meta-learners of a model: `MetaLearner`, `MetaKAN`, `MetaConvKAN`, one of their layers, or any
    module that contains them.

    The file holds tensors, sizes, activation, initialisation, gains, the description of the basis that the numbers
    belong to, and ``provenance``; prompts are not part of it.

    Args:
        model: what to take them from, in the order of its modules (that of ``MetaKAN.meta_learners``).
        path: file to write.
        provenance: where they come from (task, seed, steps, ...), of JSON's types, and numbers or arrays of NumPy.

    Raises:
        TypeError: if ``model`` is not a module, or ``provenance`` is not a mapping of JSON's types.
        ValueError: if the model has no meta-learner.
    """
    learners = _learners(model)
    if provenance is not None and not isinstance(provenance, Mapping):
        raise TypeError(f"provenance: found a {type(provenance).__name__}, expected a mapping such as a dict")
    try:
        origin = json.dumps(dict(provenance or {}), default=_plain)
    except TypeError as error:
        raise TypeError(f"provenance: {error}; expected values of JSON's types") from None
    entries = [
        {
            "settings": learner.describe(),
            "state": {name: value.detach().cpu().clone() for name, value in learner.named_parameters()},
        }
        for learner in learners
    ]
    content = {"format": FORMAT, "version": VERSION, "provenance": origin, "learners": entries}
    torch.save({**content, "digest": _digest(entries, origin)}, path)


def _plain(value: object) -> object:
    """Return an array or a number of NumPy or torch as JSON's types."""
    if not hasattr(value, "tolist"):
        raise TypeError(f"found a {type(value).__name__}")
    return value.tolist()


def load_meta_learner(
    path: str | Path, *, grid_range: tuple[float, float] | None = None
) -> MetaLearner | list[MetaLearner]:
    """Return the meta-learner in a file, or a list where it holds several (one a cluster), on the CPU.

    Use it as ``meta_learner`` of a layer or as ``meta_learners`` of a network. ``provenance`` on each holds what was
    saved with it. It is trainable; ``learner.requires_grad_(False)`` freezes it, so that prompts alone are trained.

    Args:
        path: file written by `save_meta_learner`. It is read without unpickling code, and not at all if it holds more
            than 256 MiB, far more than any meta-learner.
        grid_range: the interval of the splines or radial functions, which files of version 1 do not name and which is
            needed for them. A later file names it, and is refused if it is another one.

    Raises:
        OSError: if the file cannot be read; FileNotFoundError if there is none.
        ValueError: if it is not such a file, is damaged or incomplete, is of a later version, or does not agree with
            ``grid_range``.
    """
    with open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    try:
        entries, provenance = _read(data)
        learners = [_restored(_described(settings, grid_range), state) for settings, state in entries]
    except Exception as error:  # whatever a damaged or hostile file makes torch and json raise
        reason = str(error).strip().splitlines()
        raise ValueError(f"{path}: {reason[0] if reason else type(error).__name__}") from error
    for learner in learners:
        learner.provenance = dict(provenance)
    return learners[0] if len(learners) == 1 else learners


def _read(data: bytes) -> tuple[list[tuple[dict, dict[str, Tensor]]], dict]:
    """Return settings and tensors of each meta-learner, and the provenance; raise any exception for other content."""
    _check_archive(data)
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # its message advises to load what cannot be trusted
        raise ValueError(
            f"not a file of save_meta_learner, or damaged ({type(error).__name__} of torch.load)"
        ) from error
    found = content.get("format") if isinstance(content, dict) else type(content).__name__
    if found != FORMAT:
        raise ValueError(f"found the format {found!r}, expected {FORMAT!r} (a file of save_meta_learner)")
    version = checks.integer("version", content.get("version"))
    if version > VERSION:
        raise ValueError(f"found version {version}, expected at most {VERSION}: this metakan is older")
    expected = {"format", "version", "provenance", "learners"} | ({"digest"} if version > 1 else set())
    if content.keys() != expected:
        raise ValueError(f"found the entries {', '.join(map(str, content))}, expected {', '.join(sorted(expected))}")
    provenance = json.loads(content["provenance"])
    if not isinstance(provenance, dict) or not isinstance(content["learners"], list) or not content["learners"]:
        raise ValueError("found no meta-learner or no provenance, expected a list of one or more, and a mapping")
    entries = [_checked(entry) for entry in content["learners"]]
    if version > 1 and content["digest"] != _digest(content["learners"], content["provenance"]):
        raise ValueError("found other content than was saved (its digest differs): the file is damaged")
    return entries, provenance


def _check_archive(data: bytes) -> None:
    """Raise ValueError unless the bytes are an intact ZIP archive of uncompressed entries, as torch writes them."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"found more than {MOST_BYTES} bytes, expected a meta-learner")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("found compressed entries, expected none")
            if sum(entry.file_size for entry in entries) > len(data):
                raise ValueError("found entries larger than the file")
            damaged = archive.testzip()
    except Exception as error:  # zipfile's own and, for damaged structures, others
        raise ValueError(f"not a file of save_meta_learner, or damaged ({type(error).__name__}: {error})") from error
    if damaged is not None:
        raise ValueError(f"not a file of save_meta_learner, or damaged (checksum of {damaged!r})")


def _checked(entry: object) -> tuple[dict, dict[str, Tensor]]:
    """Return settings and tensors of an entry whose tensors are plain and of the sizes that the settings say."""
    if not isinstance(entry, dict) or entry.keys() != {"settings", "state"}:
        raise ValueError("found an entry without settings or state, expected both")
    settings, state = entry["settings"], entry["state"]
    if not isinstance(settings, dict) or settings.keys() - {"separate"} != SETTINGS:
        raise ValueError(f"found settings {settings!r:.200}, expected {', '.join(sorted(SETTINGS))}")
    inner, numbers = (checks.integer(name, settings[name]) for name in ("prompt_dim", "numbers"))
    hidden = checks.integer("hidden_dim", settings["hidden_dim"], 0)
    shapes = {
        "hidden.weight": (hidden, 1 if settings.get("separate") else inner),
        "hidden.bias": (hidden,),
        "output.weight": (numbers, hidden),
        "output.bias": (numbers,),
    }
    if not hidden:
        shapes = {"output.weight": (numbers, inner)}
    tensors = {name: value for name, value in state.items() if name != "_extra_state"}
    if tensors.keys() != shapes.keys():
        raise ValueError(f"found the tensors {', '.join(map(str, state))}, expected {', '.join(shapes)}")
    for name, value in tensors.items():
        if not (isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"):
            raise ValueError(f"{name}: found something else than a plain tensor")
        if tuple(value.shape) != shapes[name] or not value.is_contiguous() or not value.is_floating_point():
            raise ValueError(
                f"{name}: found shape {tuple(value.shape)} and dtype {value.dtype}, "
                f"expected floating-point numbers of shape {shapes[name]}"
            )
    if len({value.dtype for value in tensors.values()}) > 1:
        raise ValueError("found tensors of several dtypes, expected one")
    return settings, tensors


def _described(settings: dict, grid_range: tuple[float, float] | None) -> dict:
    """Return settings whose basis names its grid range, where it has one."""
    basis = settings["basis"]
    if basis is not None and (not isinstance(basis, dict) or not isinstance(basis.get("name"), str)):
        raise ValueError(f"basis: found {basis!r:.200}, expected a description")
    if basis is None or basis["name"] not in ("bspline", "rbf"):
        return settings
    given = None if grid_range is None else list(checks.interval("grid_range", grid_range))
    named = basis.get("grid_range", given)
    if named is None:
        raise ValueError(
            "found version 1, which does not say on which interval its grid lies; name it: "
            "load_meta_learner(path, grid_range=(-1, 1)) if it was trained with the default"
        )
    named = list(checks.interval("grid_range", named))
    if given not in (None, named):
        raise ValueError(f"grid_range: found {named} in the file, expected {given}")
    return {**settings, "basis": {**basis, "grid_range": named}}


def _digest(entries: Sequence[Mapping], provenance: str) -> str:
    """Return the SHA-256 of all that a file holds, tensors by dtype and bytes."""
    digest = hashlib.sha256()
    for part in [provenance, *(json.dumps(entry["settings"], sort_keys=True) for entry in entries)]:
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    for entry in entries:
        for name in sorted(entry["state"]):
            tensor = entry["state"][name].contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
            digest.update(bytes(tensor.view(torch.uint8).flatten().tolist()))
    return digest.hexdigest()


def _restored(settings: dict, state: dict[str, Tensor]) -> MetaLearner:
    with torch.random.fork_rng(devices=[]):  # the random start is overwritten
        learner = MetaLearner(
            settings["prompt_dim"],
            settings["hidden_dim"],
            settings["numbers"],
            settings["activation"],
            init=settings["init"],
            gains=tuple(settings["gains"]),
            basis=settings["basis"],
            separate=settings.get("separate", False),
        )
    learner.to(state["output.weight"].dtype)
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            parameter.copy_(state[name])
    return learner
