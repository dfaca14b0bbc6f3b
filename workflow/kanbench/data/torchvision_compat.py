"""The one place that imports torchvision.

Its wheel on PyPI is built for CUDA; beside a CPU-only torch its compiled operators cannot load and the import fails
with "operator torchvision::nms does not exist". Data sets need none of those operators: declaring them is enough.
"""

from __future__ import annotations

import torch

_DECLARED: list[torch.library.Library] = []
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def import_datasets():
    """Return `torchvision.datasets`."""
    try:
        import torchvision.datasets
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        _forget()
        _declare()
        import torchvision.datasets
    return torchvision.datasets


def import_functional():
    """Return `torchvision.transforms.v2.functional`."""
    import_datasets()
    from torchvision.transforms.v2 import functional

    return functional


def _declare() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS.values():
        library.define(schema)
    _DECLARED.append(library)  # a library that is collected takes its operators with it


def _forget() -> None:
    """Drop the half-imported package, which would shadow the second attempt."""
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
