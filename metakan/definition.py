"""What the tensors of a state dict stand for, written beside them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

UNSAID = (
    "a state dict does not say what function the tensors of a {} stand for: it was saved before they did, or by other "
    "code. With strict=False they are taken for those of {}."
)


def encoded(definition: Mapping[str, object]) -> Tensor:
    """Return a mapping of JSON's types as a byte tensor, so that formats that hold tensors alone can hold it."""
    return torch.frombuffer(bytearray(json.dumps(definition, sort_keys=True), "utf-8"), dtype=torch.uint8)


def decoded(entry: object) -> dict[str, object]:
    """Return the mapping that `encoded` wrote; its bytes may have been moved to another device or dtype.

    Raises:
        ValueError: if it is not such an entry.
    """
    try:
        found = json.loads(bytes(entry.detach().to("cpu", torch.uint8).flatten().tolist()))
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"what it stands for cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"what it stands for cannot be read (found a {type(found).__name__})")
    return found


class Defined(nn.Module):
    """A module that says in its state dict what function its tensors stand for.

    The entry ``_extra_state`` holds `definition`. `load_state_dict` refuses a state of another definition, whose
    tensors would give another function here. A state without the entry, saved before there was one, lacks a key: it is
    refused, or taken with a warning if ``strict=False``.
    """

    def definition(self) -> dict[str, object]:
        """Return what defines the function beside the tensors and their shapes, of JSON's types."""
        return {}

    def get_extra_state(self) -> Tensor:
        return encoded(self.definition())

    def set_extra_state(self, state: object) -> None:
        """Do nothing: the entry is compared before any tensor is loaded."""

    def _differences(self, found: dict[str, object]) -> list[str]:
        """Return how a definition differs from this module's, a sentence each."""
        own = decoded(self.get_extra_state())
        return [
            f"found {name}={found.get(name)!r}, expected {own.get(name)!r}"
            for name in sorted(own.keys() | found.keys())
            if found.get(name) != own.get(name)
        ]

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors):
        entry, problems = state_dict.get(f"{prefix}_extra_state"), []
        if entry is None:  # the key is then among the missing ones, which strict=False forgives
            warnings.warn(UNSAID.format(type(self).__name__, json.dumps(self.definition())), stacklevel=2)
        else:
            try:
                problems = self._differences(decoded(entry))
            except ValueError as error:
                problems = [str(error)]
        if problems:
            name = f"{prefix[:-1]} ({type(self).__name__})" if prefix else type(self).__name__
            errors.append(f"{name}: {'; '.join(problems)}")
        else:
            super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)
