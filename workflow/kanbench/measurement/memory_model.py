"""The closed form of the peak memory of a training step: from a baseline's counts to bytes.

A baseline offers `memory_terms(problem, settings, batch_size)` in its `model.py`:

    {"tensors": elements of each trainable tensor, in the order in which the optimiser updates them,
     "buffers": elements of everything else that the model holds (buffers, frozen parameters),
     "layers": [{"gradient": bytes of the layer's gradients,
                 "saved": bytes that its forward pass keeps for backward, the batch excluded,
                 "transient": most bytes that live beside them for a moment, in its forward or backward pass,
                 "retained": those of the saved bytes that outlive the backward pass; may be left out}, ...]}

or None where it has no closed form. Layers are in the order of the forward pass. Everything is float32.
`metakan/MEMORY.md` writes the terms out.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    trainable = sum(terms["tensors"])
    resident = {
        "parameter": FLOAT * trainable,
        "buffer": FLOAT * terms["buffers"],
        "optimiser": FLOAT * STATES * trainable,
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

    On a processor torch updates one tensor after another. It holds two temporaries of its size (the root of the second
    moment, and that root after its bias correction) and still the last one of the tensor before it. On a CUDA device
    it updates all tensors at once ("foreach") and holds the roots of all of them.
    """
    sizes = terms["tensors"]
    one_by_one = max(2 * size + before for before, size in zip([0, *sizes[:-1]], sizes, strict=True))
    return {
        "gradient": FLOAT * sum(sizes),
        "activation": sum(layer.get("retained", 0) for layer in terms["layers"]),
        "temporary": FLOAT * (one_by_one if device == "cpu" else sum(sizes)),
    }


def _backward_moments(terms: Mapping[str, Any], problem: Any, batch_size: int) -> list[dict[str, int]]:
    """Return, for the loss and the passage through each layer: what is saved, the gradients so far, the temporaries.

    The forward pass of a layer meets the same saved tensors and no gradients, so backward decides. The loss holds
    the outputs, what it keeps of them (logarithms of probabilities) and the gradient of the outputs.
    """
    layers = terms["layers"]
    loss = {"temporary": 3 * FLOAT * batch_size * problem.outputs, "activation": sum(each["saved"] for each in layers)}
    moments = [loss]
    for position, layer in enumerate(layers):
        earlier, later = layers[: position + 1], layers[position + 1 :]
        kept = sum(each["saved"] for each in earlier) + sum(each.get("retained", 0) for each in later)
        gradient = sum(each["gradient"] for each in later)
        moments.append({"gradient": gradient, "activation": kept, "temporary": layer["transient"]})
    return moments
