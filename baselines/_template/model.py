"""my_baseline (author and year, BibTeX key): say in a sentence what it computes."""

from itertools import pairwise

from torch import nn


def build(problem, settings):
    """Return the network: inputs (batch, *problem.input_shape) -> outputs (batch, problem.outputs).

    problem: family, inputs, outputs, input_shape, grid_range, width(settings) = [inputs, hidden_width, …, outputs].
    settings: everything that baseline.yaml declares, read-only.
    """
    activation = {"silu": nn.SiLU, "tanh": nn.Tanh}[settings["activation"]]
    layers = [nn.Flatten()]
    for inputs, outputs in pairwise(problem.width(settings)):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


# Optional, found by name: parameter_groups(model, settings) -> [{"name", "params", "lr_scale"?, "weight_decay"?}, …],
# penalty(model) -> scalar added to the loss, after_step(model, step, batch), describe(model) -> dict for the record,
# idle_hooks(model) -> names of the two before that do nothing for this model, prepare(model, batch) -> None (before
# training, with a probe batch), declines(problem, settings) -> reason or None, adapt(model, state, how),
# to_pykan(model), edge_functions(model, layer), prompts(model), clusters(model), coefficients(model).
