"""What a prompt means: the edge functions that a meta-learner generates along the axis of its prompts."""

from __future__ import annotations

import torch

from kanbench.training.analysis import rounded

DEFAULTS = {"prompts": 9, "points": 81, "reach": 2.0}
REQUIRES = ("prompts", "along_prompts")


def finish(subject, settings) -> dict:
    """Return, layer by layer, prompt values `z`, points `t` and the functions' `values`, one list a prompt.

    The first coordinate of the prompt goes from `-reach` to `reach` standard deviations about the layer's mean prompt,
    the others stay at their means.
    """
    layers = []
    for number, prompts in enumerate(subject.capabilities["prompts"]()):
        flat = prompts.detach().flatten(0, -2)
        mean, deviation = flat.mean(dim=0), flat.std(dim=0)[0]
        steps = torch.linspace(-settings["reach"], settings["reach"], settings["prompts"]).to(flat)
        chosen = mean.repeat(len(steps), 1)
        chosen[:, 0] = mean[0] + steps * deviation
        points = torch.linspace(*subject.task.problem.grid_range, settings["points"]).to(flat)
        values = subject.capabilities["along_prompts"](number, chosen, points)
        layers.append(
            {
                "z": rounded(chosen[:, 0]),
                "t": rounded(points),
                "values": [rounded(row) for row in values],
            }
        )
    return {"layers": layers}
