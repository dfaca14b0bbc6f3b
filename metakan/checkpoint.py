"""Meta-learners in a file: tensors, sizes and provenance, without pickled code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from .layer import MetaEdges
from .meta_learner import MetaLearner

FORMAT = "metakan.meta_learner"
VERSION = 1


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
        provenance: where they come from (task, seed, steps, ...), of JSON's types; kept as it is.

    Raises:
        TypeError: if ``model`` is not a module, or ``provenance`` is not a mapping of JSON's types.
        ValueError: if the model has no meta-learner.
    """
    learners = _learners(model)
    if provenance is not None and not isinstance(provenance, Mapping):
        raise TypeError(f"provenance: found a {type(provenance).__name__}, expected a mapping such as a dict")
    try:
        origin = json.dumps(dict(provenance or {}))
    except TypeError as error:
        raise TypeError(f"provenance: {error}; expected values of JSON's types") from None
    entries = [
        {
            "settings": learner.describe(),
            "state": {name: value.detach().cpu().contiguous() for name, value in learner.state_dict().items()},
        }
        for learner in learners
    ]
    torch.save({"format": FORMAT, "version": VERSION, "provenance": origin, "learners": entries}, path)


def load_meta_learner(path: str | Path) -> MetaLearner | list[MetaLearner]:
    """Return the meta-learner in a file, or a list where it holds several (one a cluster), on the CPU.

    Use it as ``meta_learner`` of a layer or as ``meta_learners`` of a network. ``provenance`` on each holds what was
    saved with it. It is trainable; ``learner.requires_grad_(False)`` freezes it, so that prompts alone are trained.

    Args:
        path: file written by `save_meta_learner`. It is read without unpickling code.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a file, or one of a later version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises many kinds for files that are not its own
        raise ValueError(f"{path}: not a file of save_meta_learner ({type(error).__name__}: {error})") from error
    found = content.get("format") if isinstance(content, dict) else type(content).__name__
    if found != FORMAT:
        raise ValueError(f"{path}: found the format {found!r}, expected {FORMAT!r} (a file of save_meta_learner)")
    if content["version"] > VERSION:
        raise ValueError(
            f"{path}: found version {content['version']}, expected at most {VERSION}: this metakan is older"
        )
    provenance = json.loads(content["provenance"])
    learners = [_restored(entry["settings"], entry["state"], provenance) for entry in content["learners"]]
    return learners[0] if len(learners) == 1 else learners


def _restored(settings: dict, state: dict, provenance: dict) -> MetaLearner:
    with torch.random.fork_rng(devices=[]):  # the random start is overwritten
        learner = MetaLearner(
            settings["prompt_dim"],
            settings["hidden_dim"],
            settings["numbers"],
            settings["activation"],
            init=settings["init"],
            gains=tuple(settings["gains"]),
            basis=settings["basis"],
        )
    learner.to(next(iter(state.values())).dtype).load_state_dict(state)
    learner.provenance = dict(provenance)
    return learner
