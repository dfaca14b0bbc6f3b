"""Dense KAN weights in the tiled engine of `metakan`: tells what recomputation saves from what the meta-learner saves."""

from metakan import KAN
from torch import nn


def build(problem, settings):
    """Return a dense KAN whose basis is recomputed in the backward pass."""
    options = {name: settings[name] for name in ("grid_size", "spline_order", "basis", "mode")}
    return nn.Sequential(nn.Flatten(), KAN(problem.width(settings), grid_range=problem.grid_range, **options))


def describe(model):
    """Return how the engine evaluates the network."""
    return {"mode": model[1].mode_used}
