"""The learned functions of the edges, sampled on the grid's interval, for drawing."""

from __future__ import annotations

from itertools import count

import torch

from kanbench.training.analysis import rounded

DEFAULTS = {"points": 101, "edges": 32}
REQUIRES = ("edge_functions",)


def finish(subject, settings) -> dict:
    """Return, layer by layer, the points `t`, the `edges` as [output, input], and their `values`, one list an edge.

    A layer with more than `edges` edges shows the first ones in the order of its outputs.
    """
    first = next(subject.model.parameters())
    points = torch.linspace(
        *subject.task.problem.grid_range, settings["points"], dtype=first.dtype, device=subject.device
    )
    layers = []
    for number in count():
        try:
            values = subject.capabilities["edge_functions"](number)(points)
        except IndexError:
            break
        chosen = [divmod(position, values.shape[1]) for position in range(values[..., 0].numel())][: settings["edges"]]
        layers.append(
            {
                "t": rounded(points),
                "edges": [list(edge) for edge in chosen],
                "values": [rounded(values[edge]) for edge in chosen],
            }
        )
    return {"layers": layers}
