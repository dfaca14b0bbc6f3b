"""The weights that a run leaves beside its record, for the runs that start from them. No pickle is involved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kanbench.base.atomic import write_bytes
from kanbench.base.errors import MissingData
from kanbench.base.spec import run_name

if TYPE_CHECKING:
    import torch

SUFFIX = ".safetensors"


def path(runs: Path, spec: Mapping[str, Any]) -> Path:
    """Return where the run of a spec leaves its weights below the folder `runs`."""
    return runs / f"{run_name(spec)}{SUFFIX}"


def write(model: torch.nn.Module | None, record: Mapping[str, Any], file: Path) -> dict[str, str]:
    """Write a model's state and return the record's `artifacts`; a run that failed leaves a file without tensors."""
    if model is not None and record["status"] == "ok":
        from safetensors.torch import save

        state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    else:  # free of torch: a run that left nothing is recorded from outside
        from safetensors.numpy import save

        state = {}
    content = _ordered(save(state, metadata={"run": record["run"], "status": record["status"]}))
    write_bytes(file, content)
    return {"model": file.name, "model_sha256": hashlib.sha256(content).hexdigest()}


def _ordered(content: bytes) -> bytes:
    """Return a safetensors file with its metadata sorted: the library writes them in another order every time.

    So equal weights are equal files, and have one digest.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def read(runs: Path, spec: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], str]:
    """Return the state that the run of a spec left, and the run's status.

    Raises:
        MissingData: there is no such file, or it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    file = path(runs, spec)
    if not file.is_file():
        raise MissingData(
            f"no weights of the run {run_name(spec)}\n  looked for: {file}\n"
            "  next: train that run first (`snakemake` does so by itself), or name its folder with --runs"
        )
    try:
        with safe_open(file, framework="pt") as content:
            return {name: content.get_tensor(name) for name in content.keys()}, content.metadata()["status"]  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise MissingData(
            f"the weights of the run {run_name(spec)} are damaged: {error}\n  looked at: {file}\n"
            "  next: the same command of the workflow trains that run again; by hand, delete the file and train it"
        ) from None
