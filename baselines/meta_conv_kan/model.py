"""Convolutional KANs with generated weights (Zhao et al. 2025, zhao2025) through the package `metakan`.

As `conv_kan`, with the numbers of an edge function generated from its prompt, w = M_c(z): M_c is the meta-learner of
the layer's cluster. What surrounds the convolutions, and how it differs from the released code, stands in
`metakan.conv_network`. `prompt_layout: released` reads the generated numbers in the flat order of the released code:
with nine numbers a prompt then yields the 3x3 kernel of one basis function, not the numbers of one edge function.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import metakan
from metakan import PUBLISHED_STAGES, MetaConvKAN, annealed, assign_layers, published_channels, published_degree
from metakan.bases import Gram

PASSED_ON = (
    "prompt_dim", "hidden_dim", "grouping_seed", "meta_activation", "prompt_layout", "init", "norm", "dropout",
    "head_dropout", "mode",
)  # fmt: skip
FROM_DATA = ("activations", "coefficients")
"""Clusterings that a built network is given: by `prepare`, and by `adapt`. It is built with contiguous groups."""


def build(problem, settings) -> nn.Module:
    """Return the network: images (batch, channels, height, width) -> outputs (batch, outputs).

    Raises:
        ValueError: if the inputs are no images, or the layers cannot be clustered as asked.
    """
    if len(problem.input_shape) != 3:
        raise ValueError(f"inputs: found shape {problem.input_shape}, expected (channels, height, width)")
    basis, layers = settings["basis"], settings["layers"]
    order = settings["spline_order"]
    if basis in ("legendre", "gram", "chebyshev"):
        order = published_degree(basis, layers) if settings["degree"] == "published" else settings["degree"]
    stages = PUBLISHED_STAGES[basis if settings["stages"] == "published" else "bspline"]
    if basis == "gram" and settings["form"] == "released":
        basis = Gram(order, order + settings["grid_size"], form="released")
    network = MetaConvKAN(
        published_channels(layers, settings["width_factor"]),
        in_channels=problem.input_shape[0],
        num_classes=problem.outputs,
        grid_size=settings["grid_size"],
        spline_order=order,
        basis=basis,
        grid_range=problem.grid_range,
        num_clusters=_count(settings),
        clustering=_built_as(settings),
        **stages,
        **{name: settings[name] for name in PASSED_ON},
    )
    network.asked, network.annealing_steps = settings["clustering"], settings["annealing_steps"]
    return network


def declines(problem, settings) -> str | None:
    """Return why the layers cannot be grouped as asked, or None."""
    outs = published_channels(settings["layers"], settings["width_factor"])
    ins = [problem.input_shape[0], *outs[:-1]]
    try:
        assign_layers(outs, _count(settings), _built_as(settings), input_widths=ins)
    except ValueError as error:
        return str(error)
    return None


def _count(settings) -> int:
    return settings["layers"] if settings["num_clusters"] == "per_layer" else settings["num_clusters"]


def _built_as(settings) -> str:
    return "contiguous" if settings["clustering"] in FROM_DATA else settings["clustering"]


def prepare(model: nn.Module, batch) -> None:
    """Group the layers by what enters them for a probe batch, where that is asked for."""
    if model.asked == "activations":
        metakan.regroup_by_inputs(model, batch[0])
    elif model.asked == "coefficients":
        raise ValueError("clustering: coefficients needs a trained dense network (source, with adapt: oracle_groups)")


def adapt(model: nn.Module, state: dict[str, Tensor] | None, how: str) -> None:
    """Group the layers of a new network as a trained dense one suggests; none of its numbers is taken.

    Args:
        state: The state dict of the dense network.
        how: `oracle_groups`: layers whose coefficients are distributed alike share a meta-learner.
    """
    if how != "oracle_groups" or state is None:
        raise ValueError(f"adapt: found {how!r}, expected 'oracle_groups' with a trained dense network")
    metakan.regroup_by_numbers(model, state)
    model.asked = "given"


def after_step(model: nn.Module, step: int, batch) -> None:
    """Cool a learned assignment."""
    model.anneal(annealed(step / model.annealing_steps))


def idle_hooks(model: nn.Module) -> tuple[str, ...]:
    """Return the hooks that do nothing for a model."""
    return () if len(model.mixtures) else ("after_step",)


def parameter_groups(model: nn.Module, settings) -> list[dict]:
    """Return prompts and meta-learners apart, as the paper counts and trains them.

    Norms, head and the weights of a learned assignment are the rest.
    """
    return [
        {"name": "prompts", "params": [layer.prompts for layer in model.layers]},
        {"name": "meta_learners", "params": list(model.meta_learners.parameters())},
    ]


def prompts(model: nn.Module) -> list[Tensor]:
    """Return the prompts of every layer, each (output channels, input channels · taps, prompt_dim)."""
    return [layer.prompts.detach() for layer in model.layers]


def clusters(model: nn.Module) -> list[int]:
    """Return the meta-learner of each layer; of the largest weight where the assignment is learned."""
    return model.clusters


def coefficients(model: nn.Module) -> list[Tensor]:
    """Return the numbers of each layer's edge functions, free of its width: (edges, n_b)."""
    with torch.no_grad():
        return [metakan.unit_numbers(layer.numbers(), layer.basis) for layer in model.layers]


def describe(model: nn.Module) -> dict:
    """Return how the engine evaluated the network, and the meta-learner of each layer unless that is learned."""
    return {"mode": model.mode_used} | ({} if len(model.mixtures) else {"clusters": model.clusters})
