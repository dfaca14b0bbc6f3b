"""MetaKAN as described (Zhao et al. 2025), with the tiled engine of the package `metakan`."""

from metakan import MetaKAN, MetaLearner
from torch import nn

OPTIONS = (
    "grid_size",
    "spline_order",
    "basis",
    "prompt_dim",
    "hidden_dim",
    "num_clusters",
    "clustering",
    "meta_activation",
    "mode",
)


def build(problem, settings):
    """Return a MetaKAN; inputs are flattened."""
    options = {name: settings[name] for name in OPTIONS}
    return nn.Sequential(nn.Flatten(), MetaKAN(problem.width(settings), grid_range=problem.grid_range, **options))


def parameter_groups(model, settings):
    """Return prompts and meta-learners apart, as the paper counts and trains them."""
    learners = [p for m in model.modules() if isinstance(m, MetaLearner) for p in m.parameters()]
    known = {id(parameter) for parameter in learners}
    prompts = [p for p in model.parameters() if id(p) not in known]
    return [{"name": "prompts", "params": prompts}, {"name": "meta_learners", "params": learners}]


def describe(model):
    """Return how the engine evaluates the network."""
    return {"mode": model[1].mode_used}
