"""Convolutional KANs with generated weights (Zhao et al. 2025, zhao2025) through the package `metakan`.

As `conv_kan`, with the numbers of an edge function generated from its prompt, w = M_c(z): M_c is the meta-learner of
the layer's cluster. What surrounds the convolutions, and how it differs from the released code, stands in
`metakan.conv_network`. `prompt_layout: released` reads the generated numbers in the flat order of the released code:
with nine numbers a prompt then yields the 3x3 kernel of one basis function, not the numbers of one edge function.
"""

from __future__ import annotations

from torch import Tensor, nn

from metakan import PUBLISHED_STAGES, MetaConvKAN, published_channels, published_degree

PASSED_ON = (
    "prompt_dim", "hidden_dim", "clustering", "meta_activation", "prompt_layout", "init", "norm", "dropout",
    "head_dropout", "mode",
)  # fmt: skip


def build(problem, settings) -> nn.Module:
    """Return the network: images (batch, channels, height, width) -> outputs (batch, outputs).

    Raises:
        ValueError: if the inputs are no images, or the layers cannot be clustered as asked.
    """
    if len(problem.input_shape) != 3:
        raise ValueError(f"inputs: found shape {problem.input_shape}, expected (channels, height, width)")
    basis, layers, clusters = settings["basis"], settings["layers"], settings["num_clusters"]
    order = settings["spline_order"]
    if basis in ("legendre", "gram", "chebyshev"):
        order = published_degree(basis, layers) if settings["degree"] == "published" else settings["degree"]
    return MetaConvKAN(
        published_channels(layers, settings["width_factor"]),
        in_channels=problem.input_shape[0],
        num_classes=problem.outputs,
        grid_size=settings["grid_size"],
        spline_order=order,
        basis=basis,
        grid_range=problem.grid_range,
        num_clusters=layers if clusters == "per_layer" else clusters,
        **PUBLISHED_STAGES[basis if settings["stages"] == "published" else "bspline"],
        **{name: settings[name] for name in PASSED_ON},
    )


def parameter_groups(model: nn.Module, settings) -> list[dict]:
    """Return prompts and meta-learners apart, as the paper counts and trains them; norms and head are the rest."""
    return [
        {"name": "prompts", "params": [layer.prompts for layer in model.layers]},
        {"name": "meta_learners", "params": list(model.meta_learners.parameters())},
    ]


def prompts(model: nn.Module) -> list[Tensor]:
    """Return the prompts of every layer, each (output channels, input channels · taps, prompt_dim)."""
    return [layer.prompts.detach() for layer in model.layers]


def describe(model: nn.Module) -> dict:
    """Return how the engine evaluated the network, and the meta-learner of each layer."""
    return {"mode": model.mode_used, "clusters": model.clusters}
