"""My KAN (Author and Author, year): say in one sentence what the layer computes."""

from itertools import pairwise

from torch import nn


def build(problem, settings):
    """Return the model for a problem.

    `problem` has `inputs`, `outputs`, `input_shape`, `family`, `grid_range` and `width(settings)`, which is
    [inputs, hidden_width, …, outputs]. `settings` holds what baseline.yaml declares and cannot be changed.
    The model maps (batch, *input_shape) to (batch, outputs) and follows the dtype and device of its input.
    """
    layers = [nn.Flatten()]
    for inputs, outputs in pairwise(problem.width(settings)):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


# Optional, each found by its name: parameter_groups(model, settings), penalty(model), after_step(model, step, batch),
# describe(model), to_pykan(model), edge_functions(model, layer), prompts(model), adapt(model, what).
