"""The KAN authors' own package, pykan 0.2.8 (Liu et al. 2024), with its side effects contained.

Its constructor reseeds three global generators, rewrites the list of widths it is given and creates a folder. It also leaves
parameters trainable that never receive a gradient: the symbolic branch, which is off here, and the affine maps of the nodes,
which it hides behind a flag. They are frozen, so that the count of trainable parameters is the count of parameters that train.
"""

import random
import tempfile

import numpy as np
import torch
from torch import nn


class PyKAN(nn.Module):
    """A `kan.KAN` that takes flattened inputs and follows `.to(device)`."""

    def __init__(self, width, grid_size, spline_order, grid_range, keep_activations):
        super().__init__()
        self.network = construct(width, grid_size, spline_order, grid_range)
        self.network.save_act = keep_activations
        for name, parameter in self.network.named_parameters():
            layer, _, rest = name.partition(".")
            trains = layer == "act_fun" and rest.rpartition(".")[2] in ("coef", "scale_base", "scale_sp")
            parameter.requires_grad_(trains)

    def forward(self, x):
        x = x.flatten(1)
        if self.network.device != x.device:
            self.network.to(x.device)  # moves what is not registered, too
        return self.network(x)


def construct(width, grid_size, spline_order, grid_range):
    """Return a `kan.KAN` whose weights follow the global torch generator, which is left as one draw would leave it."""
    from kan import KAN

    seed = int(torch.randint(2**31, (1,)))
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        with tempfile.TemporaryDirectory() as folder:
            return KAN(
                width=list(width),
                grid=grid_size,
                k=spline_order,
                grid_range=list(grid_range),
                seed=seed,
                auto_save=False,
                symbolic_enabled=False,
                ckpt_path=folder,
            )
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


def build(problem, settings):
    """Return the wrapped network. `keep_activations` is pykan's default; without it (its `speed()`) it takes less memory."""
    return PyKAN(
        problem.width(settings),
        settings["grid_size"],
        settings["spline_order"],
        problem.grid_range,
        settings["keep_activations"],
    )


def to_pykan(model):
    """Return the `kan.KAN` inside."""
    return model.network
