"""The closed form of the peak memory of a training step: from a baseline's counts to bytes.

A baseline offers `memory_terms(problem, settings, batch_size)` in its `model.py`:

    {"trainable": elements of all trainable tensors,
     "largest": elements of the largest one,
     "buffers": elements of everything else that the model holds (buffers, frozen parameters),
     "layers": [{"gradient": bytes of the layer's gradients,
                 "saved": bytes that its forward pass keeps for backward, the batch excluded,
                 "transient": most bytes that live beside them for a moment, in its forward or backward pass}, ...],
     "retained": bytes that the model itself keeps from one step to the next; may be left out}

Layers are in the order of the forward pass. Everything is float32. `metakan/MEMORY.md` writes the terms out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FLOAT = 4
LABEL = 8
STATES = 2
"""Numbers that Adam (Kingma and Ba, 2015) keeps for each parameter: the two moments."""
OPTIMISERS = ("adam", "adamw")
PARTS = ("parameter", "buffer", "gradient", "optimiser", "activation", "temporary", "other")


def predict(
    terms: Mapping[str, Any], problem: Any, batch_size: int, *, optimiser: str = "adam", device: str = "cpu"
) -> dict[str, int] | None:
    """Return the predicted peak of a step in bytes and its parts at that moment; None for an optimiser without one.

    Args:
        terms: What `memory_terms` returned.
        problem: The task's problem: its inputs, outputs and family give the bytes of the batch and of the loss.
        device: `cpu` or `cuda`; the two differ in the temporaries of the optimiser.

    Returns:
        Bytes by part (`PARTS`), their sum `total`, and `total_cpu`: the same step on a processor, which is what the
        simulation follows.
    """
    if optimiser not in OPTIMISERS:
        return None
    resident = {
        "parameter": FLOAT * terms["trainable"],
        "buffer": FLOAT * terms["buffers"],
        "optimiser": FLOAT * STATES * terms["trainable"],
        "other": batch_bytes(problem, batch_size),
    }
    moments = [{**resident, **moment} for moment in _backward_moments(terms, problem, batch_size)]

    def peak(kind: str) -> dict[str, int]:
        return max([{**resident, **_optimiser_moment(terms, kind)}, *moments], key=lambda parts: sum(parts.values()))

    parts = {name: int(size) for name, size in peak(device).items()}
    return {name: parts.get(name, 0) for name in PARTS} | {
        "total": sum(parts.values()),
        "total_cpu": int(sum(peak("cpu").values())),
    }


def batch_bytes(problem: Any, batch_size: int) -> int:
    """Return the bytes of a batch: float32 inputs, and class indices or float32 labels."""
    labels = LABEL if problem.family == "classification" else FLOAT * problem.outputs
    return batch_size * (FLOAT * problem.inputs + labels)


def _optimiser_moment(terms: Mapping[str, Any], device: str) -> dict[str, int]:
    """Return the gradients and temporaries of Adam's update.

    On a processor torch updates one tensor after another and holds two temporaries of its size (the root of the second
    moment, and that root after its bias correction). On a CUDA device it updates all tensors at once ("foreach") and
    holds the roots of all of them.
    """
    temporary = 2 * terms["largest"] if device == "cpu" else terms["trainable"]
    return {
        "gradient": FLOAT * terms["trainable"],
        "activation": terms.get("retained", 0),
        "temporary": FLOAT * temporary,
    }


def _backward_moments(
    terms: Mapping[str, Any], problem: Any, batch_size: int
) -> Sequence[dict[str, int]]:
    """Return, for the passage through each layer, what is saved up to it, the gradients behind it, its temporaries.

    The forward pass of a layer meets the same saved tensors and no gradients, so backward decides.
    """
    layers, loss = terms["layers"], 2 * FLOAT * batch_size * problem.outputs
    return [
        {
            "gradient": sum(later["gradient"] for later in layers[position + 1 :]),
            "activation": loss + sum(layer["saved"] for layer in layers[: position + 1]),
            "temporary": layers[position]["transient"],
        }
        for position in range(len(layers))
    ]
