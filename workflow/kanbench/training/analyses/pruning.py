"""How much of a trained network can be set to zero: edges by the size of their function, without training again."""

from __future__ import annotations

import torch

from kanbench.training.analysis import Skip

DEFAULTS = {"shares": [0.0, 0.25, 0.5, 0.75, 0.9]}
REQUIRES = ("dense_copy", "edge_functions")
POINTS = 101


def finish(subject, settings) -> dict:
    """Return the test and validation metrics with the given shares of each layer's edges removed.

    An edge's size is the standard deviation of its function over the grid's interval: a constant is not what makes a
    function matter, and removing it shifts the next layer's input, as pruning does in practice. `exact` says how far
    the dense copy is from the network before anything is removed (largest difference on the validation points' metric).
    """
    task = subject.task
    dense, numbers = subject.capabilities["dense_copy"]()
    if dense is None:
        raise Skip("no dense form of this network")
    first = next(subject.model.parameters())
    points = torch.linspace(*task.problem.grid_range, POINTS, dtype=first.dtype, device=subject.device)
    sizes = [subject.capabilities["edge_functions"](layer)(points).std(dim=-1) for layer in range(len(numbers))]
    metric = task.selection["metric"]
    whole = task.evaluate(subject.model, "validation")[metric]
    found, originals = [], [each.detach().clone() for each in numbers]
    for share in settings["shares"]:
        for layer, size, original in zip(numbers, sizes, originals, strict=True):
            removed = int(share * size.numel())
            keep = torch.ones(size.numel(), dtype=torch.bool, device=size.device)
            keep[size.flatten().argsort()[:removed]] = False
            with torch.no_grad():
                layer.copy_(original * keep.view(*size.shape, 1))
        metrics = {split: task.evaluate(dense, split) for split in ("validation", "test")}
        found.append({"share": share, **metrics})
    nothing = next((entry for entry in found if entry["share"] == 0), None)
    exact = abs(nothing["validation"][metric] - whole) if nothing else None
    return {"pruned": found, "exact": exact}
